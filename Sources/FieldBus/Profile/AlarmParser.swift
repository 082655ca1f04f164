// One `[[alarm]]` table, of a profile or of a device. The conditions' text is taken as it stands: it is compiled where
// all points of the device are known.

import StreamCore

package enum AlarmParser {
  /// `points` are those that a message may name, `broken` those that were reported already; if not even their names are
  /// all known, the list is not complete.
  package static func alarms(
    of owner: TableReader, points: [PointSpec], broken: Set<String>, isComplete: Bool = true
  ) -> [AlarmSpec] {
    let known = KnownPoints(points: points, broken: broken, isComplete: isComplete)
    var result: [AlarmSpec] = []
    var names = UniqueNames()
    for reader in owner.tables("alarm") {
      let name = reader.name()
      if let name {
        names.claim(name, in: reader)
        if name == BuiltInAlarm.command {
          reader.report("name", "\"\(name)\" is what commands of platforms are told under: choose another name")
        }
        if BuiltInAlarm(rawValue: name) != nil {
          reader.report(
            "name", "\"\(name)\" is an alarm that every box has: change it in [alarms], or choose another name")
        }
      }
      let alarm = alarm(name: name ?? "", reader, known)
      reader.finish()
      if let alarm, name != nil { result.append(alarm) }
    }
    return result
  }

  private struct KnownPoints {
    var points: [PointSpec]
    var broken: Set<String>
    var isComplete: Bool
  }

  private static func alarm(name: String, _ reader: TableReader, _ known: KnownPoints) -> AlarmSpec? {
    let when = reader.requiredString("when")
    var alarm = AlarmSpec(
      name: name, place: reader.table.place, when: when ?? "", whenPlace: reader.valuePlace("when"))
    alarm.clear = reader.string("clear")
    if alarm.clear != nil { alarm.clearPlace = reader.valuePlace("clear") }
    behaviour(of: &alarm, reader)
    alarm.suppressedBy = reader.strings("suppressed_by") ?? []
    if !alarm.suppressedBy.isEmpty { alarm.suppressedByPlace = reader.valuePlace("suppressed_by") }
    if alarm.suppressedBy.count > Limits.suppressorsPerAlarmMax {
      reader.report(
        "suppressed_by", "names \(alarm.suppressedBy.count) alarms: allowed are \(Limits.suppressorsPerAlarmMax)")
    }
    for (language, text, place) in reader.translations("message") ?? [] {
      alarm.message[language] = text
      check(text, reader.keyPath("message.\(language)"), place, known, reader.diagnostics)
    }
    return when == nil ? nil : alarm
  }

  /// What every alarm may say, whoever tells its condition. A key that is left out leaves `alarm` as it is.
  package static func behaviour(of alarm: inout AlarmSpec, _ reader: TableReader) {
    if let span = reader.duration("for", in: 0...Limits.intervalNsMax) { alarm.forNs = span }
    if let span = reader.duration("clear_for", in: 0...Limits.intervalNsMax) { alarm.clearForNs = span }
    if let severity = reader.choice("severity", among: Severity.words) { alarm.severity = severity }
    if let span = reader.duration("remind", in: Limits.remindNsMin...Limits.intervalNsMax) { alarm.remindNs = span }
    if let latches = reader.bool("latch") { alarm.latches = latches }
    guard let escalation = reader.table("escalate") else { return }
    escalation.require("after")
    escalation.require("to")
    alarm.escalateNs = escalation.duration("after", in: Limits.escalateNsMin...Limits.intervalNsMax) ?? 0
    alarm.escalateTo = escalation.choice("to", among: Severity.words)
    if let to = alarm.escalateTo, to <= alarm.severity {
      escalation.warn("to", "is not above the alarm's own severity: it never escalates")
    }
    escalation.finish()
  }

  private static func check(
    _ text: String, _ key: String, _ place: SourcePlace, _ known: KnownPoints, _ diagnostics: Diagnostics
  ) {
    guard let template = MessageTemplate(text) else {
      diagnostics.report(place, key, "a brace has no partner: write {point}, {device} or {gateway}")
      return
    }
    let names = MessageTemplate.commonPlaceholders + known.points.map(\.name)
    for name in template.placeholders where !MessageTemplate.commonPlaceholders.contains(name) {
      if let point = known.points.first(where: { $0.name == name }) {
        if point.personal {
          diagnostics.report(place, key, "{\(name)} is personal: it can't be part of a message")
        }
      } else if known.isComplete, !known.broken.contains(name) {
        var message = "{\(name)} is not a point of this device"
        if let near = nearestMatch(to: name, among: names) {
          message += "; did you mean {\(near)}?"
        } else {
          message += "; known are \(names.map { "{\($0)}" }.joined(separator: " "))"
        }
        diagnostics.report(place, key, message)
      }
    }
  }
}

extension TableReader {
  /// Text by language: { en = "…", zh = "…" }.
  package func translations(_ key: String) -> [(language: String, text: String, place: SourcePlace)]? {
    guard let texts = placedTexts(key) else { return nil }
    var result: [(String, String, SourcePlace)] = []
    for (language, text, place) in texts {
      let path = "\(keyPath(key)).\(language)"
      let isLanguage =
        (2...8).contains(language.utf8.count)
        && language.utf8.allSatisfy { $0 == 0x2D || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) }
      if !isLanguage {
        diagnostics.report(place, path, "\"\(language)\" is not a language: write for example \"en\" or \"zh\"")
      } else if text.isEmpty || text.utf8.count > Limits.messageBytesMax {
        diagnostics.report(place, path, "has \(text.utf8.count) bytes: allowed are 1 to \(Limits.messageBytesMax)")
      } else {
        result.append((language, text, place))
      }
    }
    return result
  }
}
