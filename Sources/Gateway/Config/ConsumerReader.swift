// The `[[consumer]]` tables: who may pull, and what each may see.

import FieldBus
import StreamCore

extension ConfigurationReader {
  /// `names`: of everything that has a cursor in the store.
  mutating func readConsumers(_ root: TableReader, _ names: inout UniqueNames) {
    var tokens: [String: SourcePlace] = [:]
    for reader in root.tables("consumer") {
      let name = reader.name()
      if let name { names.claim(name, in: reader) }
      let token = token(reader)
      if let token {
        if let first = tokens[token] {
          reader.report("token_sha256", "is also the token at \(first.text): give every consumer a token of its own")
        }
        tokens[token] = tokens[token] ?? reader.valuePlace("token_sha256")
      }
      var consumer = ConsumerSpec(name: name ?? "", place: reader.table.place, tokenSHA256: token ?? "")
      scope(&consumer, reader)
      consumer.commands = reader.bool("commands") ?? false
      consumer.metrics = reader.choice("metrics") ?? .own
      reader.finish()
      configuration.consumers.append(consumer)
    }
  }

  private func token(_ reader: TableReader) -> String? {
    guard let text = reader.requiredString("token_sha256") else { return nil }
    // Never the text itself: someone may have put the token here.
    guard text.utf8.count == 64, text.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
      reader.report(
        "token_sha256",
        "is not a SHA-256 in 64 hexadecimal digits (got \(text.utf8.count) bytes): `kerb consumer add` prints one")
      return nil
    }
    return text.lowercased()
  }

  /// What it may see, of one that pulls or of a push.
  func scope(_ consumer: inout ConsumerSpec, _ reader: TableReader) {
    let deviceNames = devices.map(\.spec.name).filter { !$0.isEmpty }
    consumer.devices = list("devices", reader) { name in
      deviceNames.contains(name) ? nil : unknown("device", name, deviceNames)
    }
    // A kind that the library knows may come to this box tomorrow.
    let kinds = Set(devices.map(\.spec.kind) + library.ids().map { String($0.prefix { $0 != "/" }) })
    consumer.kinds = list("kinds", reader) { kind in
      kinds.contains(kind) ? nil : unknown("kind", kind, kinds.sorted())
    }
    consumer.points = list("points", reader) { pointProblem($0, deviceNames) }
    let lanes = [Lane.alarms, Lane.telemetry]
    if reader.has("lanes") {
      let words = list("lanes", reader) { word in
        lanes.contains { $0.name == word } ? nil : TableReader.unknownWord(word, among: lanes.map(\.name))
      }
      consumer.lanes = lanes.filter { words.contains($0.name) }
    } else {
      _ = reader.item("lanes")
    }
    for (label, text, _) in reader.placedTexts("labels") ?? [] { consumer.labels[label] = text }
    consumer.severityMin = reader.choice("min_severity", among: Severity.words) ?? .notice
    consumer.personal = reader.choice("personal") ?? .omit
    consumer.pseudonymKey = reader.integer("pseudonym_key", in: 1...Limits.pseudonymKeysMax) ?? 1
  }

  /// A list of the scope. Left out it means «all»; empty it could be meant as «none».
  private func list(_ key: String, _ reader: TableReader, problem: (String) -> String?) -> [String] {
    guard let texts = reader.placedStrings(key) else { return [] }
    if texts.isEmpty { reader.report(key, "is empty: leave it out for all, or name what this consumer may see") }
    for (text, place) in texts {
      if isWhole, let problem = problem(text) { diagnostics.report(place, reader.keyPath(key), problem) }
    }
    return texts.map(\.text)
  }

  /// "point" of any device, or "device/point".
  private func pointProblem(_ text: String, _ deviceNames: [String]) -> String? {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard let point = parts.last, parts.count <= 2 else {
      return "\"\(text)\" is not a point: write \"point\" or \"device/point\""
    }
    var candidates = devices
    if parts.count == 2 {
      candidates = devices.filter { $0.spec.name == parts[0] }
      if candidates.isEmpty { return unknown("device", parts[0], deviceNames) }
    }
    if candidates.contains(where: { $0.hasPoint(point) || !$0.isComplete }) { return nil }
    return unknown("point", point, Set(candidates.flatMap { $0.spec.points.map(\.name) }).sorted())
  }

  private func unknown(_ what: String, _ name: String, _ known: [String]) -> String {
    var message = "there is no \(what) \"\(name)\""
    if let near = nearestMatch(to: name, among: known) { message += "; did you mean \"\(near)\"?" }
    return message
  }
}
