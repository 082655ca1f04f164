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
      reader.require("url")
      let address = address(reader, kind)
      var spec = PushSpec(
        consumer: consumer, kind: kind ?? .http,
        address: address
          ?? PushAddress(scheme: "https", isTLS: true, host: "", port: 443, path: "/"))
      common(&spec, reader)
      http(&spec, reader, kind)
      mqtt(&spec, reader, kind)
      reader.finish()
      configuration.pushes.append(spec)
    }
    checkBrokers()
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
    spec.tokenFile = secret("token_file", reader)
    if let text = reader.string("proxy") { spec.proxy = proxy(text, reader, kind) }
    proxyLogin(&spec, reader)
    if spec.proxy != nil, spec.kind == .http, spec.address.isTLS, !spec.address.isName {
      reader.report(
        "url",
        "through a proxy a certificate can only be held against a name: write the name instead of "
          + spec.address.host)
    }
  }

  private func proxyLogin(_ spec: inout PushSpec, _ reader: TableReader) {
    let (name, file) = ("proxy_username", "proxy_password_file")
    spec.proxyUsername = reader.string(name)
    spec.proxyPasswordFile = secret(file, reader)
    for (key, other) in [(name, file), (file, name)] where reader.has(key) {
      if !reader.has("proxy") {
        reader.report(key, "is given without `proxy`")
      } else if !reader.has(other) {
        reader.report(key, "is given without `\(other)`: a proxy is told both")
      }
    }
    if let text = spec.proxyUsername {
      let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: ":") }
      if text.isEmpty || text.utf8.count > Limits.proxyLoginBytesMax || !isPlain {
        reader.report(
          name, "must be 1 to \(Limits.proxyLoginBytesMax) letters, digits and signs of ASCII, without a colon")
      }
    }
    guard spec.kind == .mqtt, let path = spec.proxyPasswordFile, let password = try? SecretFile.read(path)
    else { return }
    if password.utf8.count > Limits.proxyLoginBytesMax {
      reader.report(file, "\(path): a SOCKS proxy takes a password of at most \(Limits.proxyLoginBytesMax) bytes")
    }
  }

  /// The path of a file that can be read now, with a secret in it.
  private func secret(_ key: String, _ reader: TableReader) -> String? {
    guard let path = path(key, reader) else { return nil }
    do throws(SecretFile.Problem) { _ = try SecretFile.read(path) } catch { reader.report(key, error.text) }
    return path
  }

  private func mqtt(_ spec: inout PushSpec, _ reader: TableReader, _ kind: PushKind?) {
    let own = ["protocol", "topic", "status_topic", "client_id", "username", "password_file"]
    if kind == .http { reader.reject(own, because: "has no meaning for http") }
    spec.version = reader.choice("protocol") ?? .v3
    let gateway = configuration.gatewayID
    let names = [("gateway", gateway), ("push", spec.name)]
    let usual = "kerb/\(gateway)/{lane}" + (spec.packsGaps ? "/{id}" : "")
    spec.topic = topic("topic", reader, names, among: ["gateway", "push", "lane", "id"]) ?? usual
    if reader.has("topic"), spec.packsGaps, !spec.topic.contains("{id}") {
      reader.report(
        "topic",
        "must hold {id}, for in MQTT 3.1.1 nothing else can name a batch in SenML; or choose protocol = \"5\", or "
          + "format = \"json\"")
    }
    if reader.has("topic"), spec.consumer.lanes.count > 1, !spec.topic.contains("{lane}") {
      reader.report(
        "topic",
        "must hold {lane}, for alarms and telemetry both go there; or choose one with `lanes`")
    }
    spec.statusTopic =
      topic("status_topic", reader, names, among: ["gateway", "push"]) ?? "kerb/\(gateway)/status"
    spec.clientID =
      topic("client_id", reader, names, among: ["gateway", "push"])
      ?? "kerb-\(gateway)-\(spec.name)"
    spec.username = reader.string("username")
    spec.passwordFile = secret("password_file", reader)
    if reader.has("password_file"), spec.username == nil {
      reader.report("password_file", "is given without `username`")
    }
  }

  /// With its names filled in, but for {lane} and {id}. Empty is «none» for a status topic alone.
  private func topic(
    _ key: String, _ reader: TableReader, _ names: [(name: String, value: String)],
    among known: [String]
  ) -> String? {
    guard let text = reader.string(key) else { return nil }
    if text.isEmpty, key == "status_topic" { return text }
    let filled = PushSpec.filled(text, names)
    let longest: [(name: String, value: String)] = [
      ("lane", Lane.telemetry.name), ("id", String(repeating: "0", count: Limits.bodyNameBytesMax)),
    ]
    let whole = PushSpec.filled(filled, longest.filter { known.contains($0.name) })
    let isPlain = whole.unicodeScalars.allSatisfy {
      $0.value >= 0x20 && $0.value != 0x7F && !"+#{}".unicodeScalars.contains($0)
    }
    if !isPlain || whole.isEmpty || whole.utf8.count > Limits.topicBytesMax {
      let allowed = known.map { "{\($0)}" }.joined(separator: ", ")
      reader.report(
        key,
        "must be 1 to \(Limits.topicBytesMax) bytes without + and #, and in braces only \(allowed)")
    }
    return filled
  }

  /// Two that say the same on one broker contradict or chase each other.
  private func checkBrokers() {
    let all = configuration.pushes.filter { $0.kind == .mqtt }
    for (place, push) in all.enumerated() {
      for other in all[..<place] where other.address.authority == push.address.authority {
        let key = "push.\(push.name)"
        if push.clientID == other.clientID {
          diagnostics.report(
            push.consumer.place, "\(key).client_id", "is also that of push \"\(other.name)\"")
        }
        if push.statusTopic == other.statusTopic, !push.statusTopic.isEmpty {
          diagnostics.report(
            push.consumer.place, "\(key).status_topic",
            "is also that of push \"\(other.name)\" on the same broker: write status_topic = "
              + "\"kerb/{gateway}/{push}/status\", or \"\" for none")
        }
      }
    }
  }

  private func proxy(_ text: String, _ reader: TableReader, _ kind: PushKind?) -> HostAndPort? {
    let scheme = kind == .mqtt ? "socks5" : "http"
    if text.contains("@") {
      // Not the text itself: somebody has put a password here.
      reader.report(
        "proxy", "holds a name or a password: it has no place here; use proxy_username and proxy_password_file")
      return nil
    }
    if text.hasPrefix("\(scheme)://"),
      let address = HostAndPort(String(text.dropFirst(scheme.utf8.count + 3)))
    {
      return address
    }
    reader.report(
      "proxy",
      "is not a proxy's address: write for example \"\(scheme)://proxy.example:\(kind == .mqtt ? 1_080 : 3_128)\"")
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
