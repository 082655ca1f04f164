// How the demo tells what happens: lines that a passer-by understands, 80 columns, coloured on a terminal only; or
// JSON.

import Gateway
import Glibc

struct DemoShow {
  enum Tone: String {
    case plain = ""
    case quiet = "2"
    case good = "32"
    case trouble = "33"
    case alarm = "1;31"
  }

  let json: Bool
  private let coloured: Bool

  init(json: Bool) {
    self.json = json
    coloured = !json && isatty(1) == 1 && getenv("NO_COLOR") == nil
  }

  /// "00:07  manhole-03     someone lifts the cover".
  func line(_ sinceStartNs: Int64, _ who: String, _ what: String, _ tone: Tone = .plain) {
    guard !json else { return }
    let name = who.count < 15 ? who + String(repeating: " ", count: 15 - who.count) : who + " "
    text("\(String(clock(sinceStartNs).prefix(5)))  \(name)\(what)", tone)
  }

  func more(_ what: String, _ tone: Tone = .plain) {
    text(String(repeating: " ", count: 22) + what, tone)
  }

  func text(_ line: String, _ tone: Tone = .plain) {
    guard !json else { return }
    let shown = coloured && tone != .plain ? "\u{1B}[\(tone.rawValue)m\(line)\u{1B}[0m" : line
    emit(Array((shown + "\n").utf8))
  }

  func object(_ members: (inout JSONWriter) -> Void) {
    guard json else { return }
    var writer = JSONWriter()
    writer.object(members)
    emit(writer.bytes + [0x0A])
  }

  /// What a part of the demo has said already.
  func objectAsIs(_ value: JSONValue) {
    guard json else { return }
    var writer = JSONWriter()
    writer.value(value)
    emit(writer.bytes + [0x0A])
  }

  private func emit(_ bytes: [UInt8]) { StandardOutput.write(bytes) }

  // MARK: Begin and end

  func introduction(_ site: DemoSite) {
    let buses = site.lines.count
    text("A community: \(site.devices.count) devices on \(buses) RS-485 lines at 9600 baud, and a card reader.")
    text("The lines are pseudo-terminals as slow as the real thing; the agent reads them")
    text("over Modbus RTU, and a platform pulls from it over HTTP. Pull it yourself:")
    text("")
    curl(site)
    text("")
  }

  func curl(_ site: DemoSite) {
    text("  curl -H \"Authorization: Bearer $(cat \(site.tokenPath))\" \\")
    text("    'http://127.0.0.1:\(site.port)/v1/batches?wait=10'")
  }

  func account(_ account: DemoAccount, _ site: DemoSite, isKept: Bool) {
    object {
      $0.member("event", "account")
      account.write(&$0)
    }
    text("")
    row("produced", account.produced, "by the agent: samples and alarm events")
    row("delivered", account.delivered, "to the platform, in \(account.batches) batches, each once")
    row("reported", account.reported, "to the platform as lost")
    row("stored", account.stored, "in the buffer, for the next pull")
    if account.duplicates + account.missing > 0 {
      row("twice", account.duplicates, "delivered again under the same id")
      row("missing", account.missing, "neither delivered nor reported")
    }
    let verdict = account.balanced ? "produced = delivered + reported + stored" : "THE ACCOUNT DOES NOT BALANCE"
    text("  \(verdict)", account.balanced ? .good : .alarm)
    text("")
    for alarm in account.alarms {
      guard let way = way(alarm) else { continue }
      text("  alarm  \(alarm.device) \(alarm.name)")
      text("         \(way)")
    }
    for bus in account.buses where bus.efficiency > 0 {
      let use = "\(percent(bus.utilisation)) of the wire in use"
      text("  bus    \(bus.name): \(use), efficiency \(percent(bus.efficiency))")
    }
    text("  memory \(mebibytes(account.privateBytes)) of its own, \(mebibytes(account.rssBytes)) in all")
    text("")
    text("While \(isKept ? "an agent runs on that folder" : "a demo runs"), the same is pulled with")
    curl(site)
  }

  private func row(_ name: String, _ count: Int64, _ what: String) {
    let digits = "\(count)"
    text("  \(name)\(pad(12 - name.count + 8 - digits.count))\(digits)   \(what)")
  }

  private func pad(_ count: Int) -> String { String(repeating: " ", count: Swift.max(1, count)) }

  /// "read after 0.631 s, held for 2 s, 12.4 ms later there". Nil: nobody caused it.
  func way(_ alarm: DemoAlarm) -> String? {
    guard let touchedNs = alarm.touchedToClientNs else { return nil }
    guard let ns = alarm.wireToClientNs else { return "\(seconds(touchedNs)) s later at the platform" }
    let held = alarm.forNs > 0 ? "held for \(alarm.forNs / 1_000_000_000) s, " : ""
    return "read after \(seconds(touchedNs - ns)) s, \(held)\(rounded(Double(ns - alarm.forNs) / 1e6)) ms later there"
  }

  func seconds(_ ns: Int64) -> String {
    let ms = Swift.max(0, ns) / 1_000_000
    let rest = "\(ms % 1_000)"
    return "\(ms / 1_000)." + String(repeating: "0", count: 3 - rest.count) + rest
  }

  private func percent(_ part: Double) -> String { "\(rounded(part * 100)) %" }
  private func mebibytes(_ bytes: Int64) -> String { "\(rounded(Double(bytes) / 1_048_576)) MiB" }
}
