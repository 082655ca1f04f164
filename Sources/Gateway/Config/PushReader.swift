// The `[[push]]` tables: where the box sends what it has, and what of it.

import FieldBus
import StreamCore

extension ConfigurationReader {
  /// `names`: of everything that has a cursor in the store.
  mutating func readPushes(_ root: TableReader, _ names: inout UniqueNames) {
    for reader in root.tables("push") {
      let name = reader.name()
      if let name { names.claim(name, in: reader) }
      var consumer = ConsumerSpec(name: name ?? "", place: reader.table.place, tokenSHA256: "")
      scope(&consumer, reader)
      reader.require("kind")
      let kind: PushKind? = reader.choice("kind")
      if kind == .mqtt { reader.report("kind", "not supported yet") }
      reader.require("url")
      let address = address(reader, kind)
      var spec = PushSpec(
        consumer: consumer, kind: kind ?? .http,
        address: address
          ?? PushAddress(scheme: "https", isTLS: true, host: "", port: 443, path: "/"))
      common(&spec, reader)
      http(&spec, reader, kind)
      reader.finish()
      configuration.pushes.append(spec)
    }
  }

  private func common(_ spec: inout PushSpec, _ reader: TableReader) {
    spec.format = reader.choice("format") ?? .json
    spec.bodyBytesMax =
      reader.size("max_body", in: Limits.pushBodyBytesMin...Limits.pushBodyBytesMax)
      ?? Limits.pushBodyBytesDefault
    spec.spreadNs =
      reader.duration("spread", in: 0...Limits.pushSpreadNsMax) ?? Limits.pushSpreadNsDefault
    spec.rate = rate(reader)
    let insecure = reader.bool("insecure") ?? false
    if !spec.address.isTLS, !spec.address.isLocal, !spec.address.host.isEmpty, !insecure {
      let secure = spec.kind == .mqtt ? "mqtts" : "https"
      reader.report(
        "url",
        "\"\(spec.address.text)\" goes over the network in the clear: write \(secure)://, or accept it with "
          + "insecure = true")
    }
    trust(&spec, reader)
  }

  private func trust(_ spec: inout PushSpec, _ reader: TableReader) {
    spec.caFile = path("ca_file", reader)
    spec.certificate = path("certificate", reader)
    spec.key = path("key", reader)
    if !spec.address.isTLS {
      let secure = spec.kind == .mqtt ? "mqtts" : "https"
      for key in ["ca_file", "certificate", "key"] where reader.has(key) {
        reader.report(key, "has no meaning without TLS: write url = \"\(secure)://…\"")
      }
      return
    }
    for (name, other) in [("certificate", "key"), ("key", "certificate")]
    where reader.has(name) && !reader.has(other) {
      reader.report(name, "is given without `\(other)`: a certificate of the box needs both")
    }
    func look(_ part: () throws(CertificateFailure) -> Void) {
      do throws(CertificateFailure) { try part() } catch { reader.report(error.key, error.text) }
    }
    if let path = spec.caFile {
      look { () throws(CertificateFailure) in
        _ = try PullCertificate.certificates(path, key: "ca_file")
      }
    }
    guard let certificate = spec.certificate, let key = spec.key else { return }
    let files = CertificateFiles(
      certificate: certificate, key: key, place: reader.valuePlace("certificate"))
    for failure in PullCertificate.problems(files) { reader.report(failure.key, failure.text) }
  }

  private func http(_ spec: inout PushSpec, _ reader: TableReader, _ kind: PushKind?) {
    if kind == .mqtt { reader.reject(["token_file", "gzip"], because: "has no meaning for mqtt") }
    spec.gzip = reader.bool("gzip") ?? false
    if let path = path("token_file", reader) {
      do throws(SecretFile.Problem) { _ = try SecretFile.read(path) } catch {
        reader.report("token_file", error.text)
      }
      spec.tokenFile = path
    }
    if let text = reader.string("proxy") { spec.proxy = proxy(text, reader, kind) }
    if spec.proxy != nil, spec.kind == .http, spec.address.isTLS, !spec.address.isName {
      reader.report(
        "url",
        "through a proxy a certificate can only be held against a name: write the name instead of "
          + spec.address.host)
    }
  }

  private func proxy(_ text: String, _ reader: TableReader, _ kind: PushKind?) -> HostAndPort? {
    let scheme = kind == .mqtt ? "socks5" : "http"
    if text.hasPrefix("\(scheme)://"),
      let address = HostAndPort(String(text.dropFirst(scheme.utf8.count + 3)))
    {
      return address
    }
    reader.report(
      "proxy", "is not a proxy's address: write for example \"\(scheme)://proxy.example:3128\"")
    return nil
  }

  private func path(_ key: String, _ reader: TableReader) -> String? {
    guard let path = reader.string(key) else { return nil }
    if path.hasPrefix("/") { return path }
    reader.report(key, "\"\(path)\" is not an absolute path: it must begin with /")
    return nil
  }

  // MARK: Texts

  private func address(_ reader: TableReader, _ kind: PushKind?) -> PushAddress? {
    guard let text = reader.string("url") else { return nil }
    guard let kind else { return nil }
    let schemes: [(name: String, isTLS: Bool, port: Int)] =
      kind == .mqtt
      ? [("mqtts", true, 8_883), ("mqtt", false, 1_883)]
      : [("https", true, 443), ("http", false, 80)]
    let example = kind == .mqtt ? "mqtts://broker.example:8883" : "https://city.example/kerb"
    guard let scheme = schemes.first(where: { text.hasPrefix("\($0.name)://") }) else {
      reader.report(
        "url",
        "begins with neither \(schemes[0].name):// nor \(schemes[1].name)://: write for example "
          + "\"\(example)\"")
      return nil
    }
    let rest = text.dropFirst(scheme.name.utf8.count + 3)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    if authority.contains("@") {
      // Not the text itself: somebody has put a password here.
      reader.report(
        "url",
        "holds a name or a password: it has no place here; use "
          + (kind == .mqtt ? "username and password_file" : "token_file"))
      return nil
    }
    let path = String(rest.dropFirst(authority.utf8.count))
    let isPlain = path.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") }
    guard let address = HostAndPort(String(authority), usualPort: scheme.port), isPlain,
      text.utf8.count <= Limits.urlBytesMax, kind == .http || path.isEmpty || path == "/"
    else {
      reader.report("url", "is not an address: write for example \"\(example)\"")
      return nil
    }
    let whole = path.hasPrefix("/") ? path : "/\(path)"
    return PushAddress(
      scheme: scheme.name, isTLS: scheme.isTLS, host: address.host, port: address.port,
      path: kind == .http ? whole : "")
  }

  /// "20kB/s": bytes a second.
  private func rate(_ reader: TableReader) -> Int? {
    guard let text = reader.string("max_rate") else { return nil }
    let units: [(suffix: String, bytes: Int)] = [
      ("B/s", 1), ("kB/s", 1_000), ("KiB/s", 1_024), ("MB/s", 1_000_000), ("MiB/s", 1 << 20),
    ]
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let value = Int(digits),
      let unit = units.first(where: { $0.suffix == text.dropFirst(digits.count) })
    else {
      reader.report(
        "max_rate", "\"\(text)\" is not a rate: write for example \"20kB/s\", \"1MB/s\"")
      return nil
    }
    let (rate, isOver) = value.multipliedReportingOverflow(by: unit.bytes)
    guard !isOver, (Limits.pushRateMin...Limits.pushRateMax).contains(rate) else {
      reader.report("max_rate", "\"\(text)\" is out of range: allowed are 1kB/s to 1000MB/s")
      return nil
    }
    return rate
  }
}

extension PushAddress {
  /// Not an address of numbers.
  package var isName: Bool { !host.contains(":") && !host.allSatisfy { $0.isNumber || $0 == "." } }
}
