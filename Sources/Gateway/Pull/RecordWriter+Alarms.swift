// The record of an alarm: what happened to it and when, what it is now, the values that caused it, who did
// it, its message filled in. Used wherever an alarm leaves the house.

import FieldBus
import Store
import StreamCore

extension AlarmState {
  package var word: String {
    switch self {
    case .normal: return "normal"
    case .unacknowledged: return "unacknowledged"
    case .acknowledged: return "acknowledged"
    case .returnedUnacknowledged: return "returned-unacknowledged"
    case .shelved: return "shelved"
    case .outOfService: return "out-of-service"
    }
  }
}

extension AlarmChange {
  package var word: String {
    switch self {
    case .raised: return "raised"
    case .returned: return "returned"
    case .acknowledged: return "acknowledged"
    case .reminded: return "reminded"
    case .escalated: return "escalated"
    case .shelved: return "shelved"
    case .unshelved: return "unshelved"
    case .outOfService: return "out-of-service"
    case .inService: return "in-service"
    case .revealed: return "revealed"
    case .commanded: return "commanded"
    }
  }
}

extension RecordWriter {
  /// `stored.event.alarm` is in the catalogue. `allows`: which values may be shown with it.
  package func write(_ stored: StoredEvent, allows: (Int) -> Bool, into writer: inout some RecordOutput) {
    let event = stored.event
    let alarm = catalogue.alarms[Int(event.alarm)]
    let causes = causes(of: event, allows)
    writer.object {
      $0.key("n")
      $0.string(joining: catalogue.gatewayID, "/", catalogue.alarmName(alarm))
      timeline.write(event.at, epoch: stored.epoch, into: &$0)
      $0.member("id", "\(stored.sequence)")
      $0.member("alarm", alarm.name)
      $0.member("event", event.change.word)
      $0.member("state", event.state.word)
      $0.member("active", event.process.isActive)
      $0.member("severity", event.severity.word)
      timeline.writeMember("since", event.since, epoch: stored.epoch, into: &$0)
      if event.until != .distantFuture {
        timeline.writeMember("until", event.until, epoch: stored.epoch, isPlanned: true, into: &$0)
      }
      if event.isSuppressed { $0.member("suppressed", true) }
      if event.isFlood { $0.member("flood", true) }
      if !stored.by.isEmpty { $0.member("by", String(decoding: stored.by, as: UTF8.self)) }
      if !stored.note.isEmpty { $0.member("note", String(decoding: stored.note, as: UTF8.self)) }
      let messages = alarm.message.keys.sorted().map { language in
        (language: language, text: filled(alarm.message[language] ?? "", alarm, causes))
      }
      if dialect == .senml {
        $0.member("vb", event.process.isActive)
        for (language, text) in messages { $0.member("message-\(language)", text) }
        for cause in causes {
          $0.key("\(cause.series.point)-value")
          writeNumber(cause.series, raw: cause.raw, into: &$0)
        }
        return
      }
      $0.key("message")
      $0.object { message in for (language, text) in messages { message.member(language, text) } }
      $0.key("values")
      $0.object {
        for cause in causes {
          $0.key(cause.series.point)
          writeNumber(cause.series, raw: cause.raw, into: &$0)
        }
      }
    }
  }

  /// A value that made the alarm, as it goes out and as a message shows it.
  private struct Cause {
    var series: CatalogueSeries
    var raw: Int64
    var json: [UInt8]
  }

  private func causes(of event: AlarmEvent, _ allows: (Int) -> Bool) -> [Cause] {
    var causes: [Cause] = []
    var written: Set<String> = []
    for index in 0..<Int(event.causeCount) {
      let cause = event.cause(index)
      let number = Int(cause.series)
      guard catalogue.series.indices.contains(number), allows(number), cause.quality != .bad,
        !catalogue.series[number].encoding.hasText, written.insert(catalogue.series[number].point).inserted
      else { continue }
      var value = JSONWriter()
      writeNumber(catalogue.series[number], raw: cause.raw, into: &value)
      causes.append(Cause(series: catalogue.series[number], raw: cause.raw, json: value.bytes))
    }
    return causes
  }

  /// `{device}`, `{bus}`, `{gateway}` and `{point}` filled in; "?" for a value that is not known or not
  /// for this reader.
  private func filled(_ template: String, _ alarm: CatalogueAlarm, _ causes: [Cause]) -> String {
    var text = ""
    var rest = template[...]
    while let open = rest.firstIndex(of: "{") {
      guard let close = rest[open...].firstIndex(of: "}") else { break }
      text += rest[..<open]
      let name = rest[rest.index(after: open)..<close]
      switch (name, alarm.owner) {
      case ("gateway", _): text += catalogue.gatewayID
      case ("device", .device(let device)): text += catalogue.devices[device].name
      case ("bus", .device(let device)): text += catalogue.devices[device].bus
      case ("bus", .bus(let bus)): text += bus
      default: text += causes.first { $0.series.point == name }.map { String(decoding: $0.json, as: UTF8.self) } ?? "?"
      }
      rest = rest[rest.index(after: close)...]
    }
    return text + rest
  }
}
