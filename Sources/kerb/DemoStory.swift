// What the demo knows of what happens: joins what was done on the site with what the platform then got.

import CLinux
import FieldBus
import Gateway
import StreamCore

final class DemoStory {
  private let site: DemoSite
  private let show: DemoShow
  private let holdNs: [String: Int64]
  private var startedNs: Int64 = 0
  private var lineCount = 0
  private var touches = DemoTouches()
  private var states: [String: String] = [:]
  private var records = 0
  private var shownAtNs: Int64 = 0
  /// A platform that was killed may tell of an alarm twice.
  private var told: Set<String> = []
  private(set) var alarms: [DemoAlarm] = []
  /// What still happens while the parts are stopped is nobody's concern.
  var isOver = false

  private static let progressNs: Int64 = 5_000_000_000

  init(site: DemoSite, show: DemoShow) {
    self.site = site
    self.show = show
    let library = ProfileLibrary(searchPaths: [site.profiles])
    var holdNs: [String: Int64] = [:]
    for device in site.devices {
      let place = SourcePlace(file: "", line: 0, column: 0)
      let profile = library.load(device.profile, place: place, key: "", into: Diagnostics())
      let offline = BuiltInAlarm.deviceOffline.spec(at: place)
      for alarm in (profile?.alarms ?? []) + [offline] { holdNs["\(device.name)/\(alarm.name)"] = alarm.forNs }
    }
    self.holdNs = holdNs
  }

  /// Both buses and the card reader's line.
  var linesStand: Bool { lineCount == site.lines.count + 1 }

  // MARK: On the site

  func siteSaid(_ event: JSONValue) {
    if isOver { return }
    show.objectAsIs(event)
    guard let kind = event["event"]?.string else { return }
    if kind == "line" {
      lineCount += 1
      startedNs = event["started_ns"]?.integer ?? startedNs
      return
    }
    let at = event["at_ns"]?.integer ?? 0
    let device = event["device"]?.string ?? ""
    let point = event["point"]?.string ?? ""
    touches.note(device, at: at)
    switch (kind, device, point) {
    case ("value", DemoSite.coverDevice, "tilt"):
      let tilt = event["value"]?.double ?? 0
      show.line(at - startedNs, device, "somebody lifts the cover: tilt \(rounded(tilt)) deg", .trouble)
    case ("released", DemoSite.coverDevice, "tilt"):
      show.line(at - startedNs, device, "the cover lies in its place again")
    case ("value", DemoSite.lampDevice, "power"):
      show.line(at - startedNs, device, "the lamp fails: switched on, no power drawn", .trouble)
    case ("fault", _, _): show.line(at - startedNs, device, "somebody pulls it off the line", .trouble)
    case ("fault-over", _, _): show.line(at - startedNs, device, "is plugged in again")
    case ("spoke", _, _): show.line(at - startedNs, device, "sends \"\(event["text"]?.string ?? "")\"", .quiet)
    default: break
    }
  }

  // MARK: At the platform

  func platformSaid(_ event: JSONValue) {
    let at = event["received_ns"]?.integer ?? 0
    switch event["event"]?.string {
    case "answer": answer(event, at)
    case "alarm": if let record = event["record"] { alarm(record, at) }
    case "card": card(event, at)
    default: show.objectAsIs(event)
    }
  }

  private func answer(_ event: JSONValue, _ at: Int64) {
    show.objectAsIs(event)
    records += Int(event["records"]?.integer ?? 0)
    guard at - shownAtNs >= DemoStory.progressNs else { return }
    shownAtNs = at
    show.line(at - startedNs, "platform", "holds \(records) records", .quiet)
  }

  private func card(_ event: JSONValue, _ at: Int64) {
    show.objectAsIs(event)
    guard let pseudonym = event["record"]?["vs"]?.string else { return }
    show.line(at - startedNs, "platform", "got the card as \(pseudonym.prefix(16))…, never its number", .quiet)
  }

  private func alarm(_ record: JSONValue, _ at: Int64) {
    // "demo/manhole-03/cover-open"
    let parts = record["n"]?.string?.split(separator: "/").map(String.init) ?? []
    guard parts.count == 3, let state = record["state"]?.string else { return }
    let (device, name) = (parts[1], parts[2])
    guard told.insert("\(device)/\(name)/\(state)/\(record["t"]?.double ?? 0)").inserted else { return }
    let isNew = state == "unacknowledged"
    let holdNs = holdNs["\(device)/\(name)"] ?? 0
    let sinceReadNs = isNew ? sinceRead(record, at) : nil
    let entry = DemoAlarm(
      device: device, name: name, wireToClientNs: sinceReadNs,
      touchedToClientNs: isNew ? touches.span(of: device, until: at, sinceReadNs: sinceReadNs) : nil, forNs: holdNs)
    if isNew { alarms.append(entry) }
    show.object {
      $0.member("event", "alarm")
      $0.member("received_ns", at)
      $0.member("t", Double(at - startedNs) / 1e9)
      if let ns = entry.wireToClientNs { $0.member("wire_to_client_ms", rounded(Double(ns) / 1e6)) }
      if let ns = entry.touchedToClientNs { $0.member("touched_to_client_ms", rounded(Double(ns) / 1e6)) }
      $0.key("record")
      $0.value(record)
    }
    guard isNew else { return change(of: name, device, record, at) }
    show.line(at - startedNs, device, "ALARM \(name) is at the platform", .alarm)
    if let message = record["message"]?["en"]?.string { show.more(message) }
    if let text = show.way(entry) { show.more(text) }
  }

  private func change(of name: String, _ device: String, _ record: JSONValue, _ at: Int64) {
    switch record["event"]?.string {
    case "acknowledged":
      let by = record["by"]?.string ?? "somebody"
      show.line(at - startedNs, device, "alarm \(name) is acknowledged by \(by)", .good)
      if let note = record["note"]?.string { show.more(note) }
    case "returned":
      let rest = record["state"]?.string == "normal" ? "is over, and everything is normal" : "is over, unacknowledged"
      show.line(at - startedNs, device, "alarm \(name) \(rest)", .good)
    default: break
    }
  }

  /// From `since`, the end of the reply in which the condition was first read, to its receipt.
  private func sinceRead(_ record: JSONValue, _ at: Int64) -> Int64? {
    guard let since = record["since"]?.double else { return nil }
    return at + kerb_realtime_ns() - kerb_monotonic_ns() - Int64(since * 1e9)
  }

  // MARK: In the agent's eyes

  func devicesAre(_ devices: [JSONValue]) {
    for device in devices {
      guard let name = device["name"]?.string, let state = device["state"]?.string else { continue }
      let before = states.updateValue(state, forKey: name)
      guard let before, before != state, before != "unknown" || state == "offline" else { continue }
      let now = kerb_monotonic_ns()
      show.object {
        $0.member("event", "device")
        $0.member("t", Double(now - startedNs) / 1e9)
        $0.member("device", name)
        $0.member("state", state)
      }
      let after = touches.latest(of: name).map { " \(show.seconds(now - $0)) s later" } ?? ""
      if state == "offline" {
        show.line(now - startedNs, name, "the agent has noticed\(after): it does not answer", .alarm)
      } else {
        show.line(now - startedNs, name, "the agent has it back\(after)", .good)
      }
    }
  }
}
