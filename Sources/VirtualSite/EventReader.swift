// One [[event]] table: what happens to a device or a line, when, and for how long.

import FieldBus
import StreamCore

struct EventReader {
  struct Known {
    var devices: [String]
    var lines: [String]
  }

  private let reader: TableReader
  private let site: SiteSpec
  private let known: Known

  init(_ reader: TableReader, site: SiteSpec, known: Known) {
    self.reader = reader
    self.site = site
    self.known = known
  }

  /// Nil: something was reported.
  func event(atIsRequired: Bool = true) -> SiteEvent? {
    if atIsRequired { reader.require("at") }
    let at = reader.duration("at", in: 0...Limits.intervalNsMax)
    let every = reader.duration("every", in: Limits.siteIntervalNsMin...Limits.intervalNsMax)
    let length = reader.duration("for", in: Limits.siteIntervalNsMin...Limits.intervalNsMax)
    if let every, let length, length >= every {
      reader.report("for", "lasts until it begins again: \"for\" must be shorter than \"every\"")
    }
    let made = reader.has("line") ? lineAction() : deviceAction()
    reader.finish()
    guard let made, at != nil || !atIsRequired else { return nil }
    return SiteEvent(
      place: reader.table.place, atNs: at ?? 0, everyNs: every, forNs: length, target: made.target, action: made.action)
  }

  private func lineAction() -> (target: String, action: SiteAction)? {
    reader.reject(["device", "point", "value", "raw"], because: "has no meaning for a line")
    reader.require("fault")
    guard let name = reader.string("line") else { return nil }
    if !known.lines.contains(name) { reader.report("line", TableReader.unknownWord(name, among: known.lines)) }
    guard let word = reader.string("fault") else { return nil }
    guard word == "unplugged" else {
      reader.report("fault", TableReader.unknownWord(word, among: ["unplugged"]) + " for a line")
      return nil
    }
    return known.lines.contains(name) ? (name, .lineUnplugged) : nil
  }

  private func deviceAction() -> (target: String, action: SiteAction)? {
    guard let name = reader.requiredString("device") else {
      reader.ignore("point", "value", "raw", "fault", "delay", "code", "bytes", "times")
      return nil
    }
    if !known.devices.contains(name) { reader.report("device", TableReader.unknownWord(name, among: known.devices)) }
    guard let device = site.devices.first(where: { $0.name == name }) else {
      reader.ignore("point", "value", "raw", "fault", "delay", "code", "bytes", "times")
      return nil
    }
    if reader.has("fault") {
      reader.reject(["point", "value", "raw"], because: "and \"fault\" exclude each other: write two events")
      if !device.profile.isAsked {
        reader.report("fault", "a device that sends lines of text has no faults of replies; unplug its line instead")
      }
      let fault = fault()
      if case .exception = fault?.kind, let frame = device.profile.frame, !frame.isMeter {
        reader.report(
          "fault", "a device that a [frame] describes has no exceptions; let it be \"unplugged\" or \"corrupted\"")
      }
      return fault.map { (name, .fault($0)) }
    }
    guard let pointName = reader.requiredString("point") else {
      reader.ignore("value", "raw")
      return nil
    }
    let points = device.profile.points
    guard let point = points.first(where: { $0.name == pointName }) else {
      reader.report("point", TableReader.unknownWord(pointName, among: points.map(\.name)))
      reader.ignore("value", "raw")
      return nil
    }
    return value(point).map { (name, .value(point: pointName, $0)) }
  }

  private func value(_ point: PointSpec) -> SiteValue? {
    if reader.has("raw") {
      reader.reject(["value"], because: "and \"raw\" exclude each other")
      if point.type.isText { reader.report("raw", "\"\(point.name)\" is a text: write value = \"…\"") }
      return reader.integer("raw", in: Int.min...Int.max).map { .raw(Int64($0)) }
    }
    reader.require("value")
    return reader.item("value").flatMap { SiteValue.checked($0, for: point, reader, "value") }
  }

  private func fault() -> Fault? {
    guard let word = reader.string("fault") else { return nil }
    let times = reader.integer("times", in: 1...1_000_000)
    func delay(_ usual: Int64) -> Int64 {
      reader.duration("delay", in: Limits.siteDelayNsMin...Limits.siteDelayNsMax) ?? usual
    }
    let kind: Fault.Kind
    switch word {
    case "unplugged": kind = .silent
    case "slow": kind = .late(ns: delay(Fault.slowNs))
    case "late": kind = .late(ns: delay(Fault.lateNsDefault))
    case "wrong-unit": kind = .wrongUnit
    case "exception": kind = .exception(UInt8(reader.integer("code", in: 1...11) ?? 4))
    case "truncated": kind = .truncated(bytes: reader.integer("bytes", in: 1...255) ?? 2)
    case "corrupted": kind = .corrupted
    case "wrong-function": kind = .wrongFunction
    case "wrong-count": kind = .wrongCount
    case "dripping": kind = .dripping(ns: delay(Fault.drippingNsDefault))
    case "echo": kind = .echo
    case "noise": kind = .noise
    case "alternate": kind = .alternate
    default:
      reader.report("fault", TableReader.unknownWord(word, among: Fault.names))
      return nil
    }
    return Fault(kind, times: times)
  }
}
