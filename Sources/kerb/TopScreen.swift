// What `kerb top` shows of one look at the box, line by line. A value: answers of the agent in, lines out.

import Gateway

/// Where the person has drilled to.
enum TopView: Equatable {
  case box
  case bus(String)
  case device(String)
}

/// The agent's answers at one moment.
struct TopLook {
  var status = JSONValue.null
  var devices: [JSONValue] = []
  var alarms: [JSONValue] = []
  /// Of the device that is looked at.
  var points: [JSONValue] = []
  var seconds = 0.0
}

struct TopScreen {
  var look: TopLook
  /// The look before: what has changed between the two makes the rates.
  var before: TopLook?
  var view = TopView.box
  var chosen = 0

  // MARK: What can be chosen

  /// Names of buses, or of the devices of one.
  var choices: [String] {
    switch view {
    case .box: return buses.compactMap { $0["name"]?.string }
    case .bus(let name): return devices(of: name).compactMap { $0["name"]?.string }
    case .device: return []
    }
  }

  var next: TopView? {
    guard choices.indices.contains(chosen) else { return nil }
    switch view {
    case .box: return .bus(choices[chosen])
    case .bus: return .device(choices[chosen])
    case .device: return nil
    }
  }

  var back: TopView {
    guard case .device(let name) = view,
      let bus = look.devices.first(where: { $0["name"]?.string == name })?["bus"]?.string
    else { return .box }
    return .bus(bus)
  }

  private var buses: [JSONValue] { look.status["buses"]?.array ?? [] }
  private func devices(of bus: String) -> [JSONValue] { look.devices.filter { $0["bus"]?.string == bus } }

  // MARK: Lines

  /// Exactly `rows` lines, none wider than `columns`.
  func lines(columns: Int, rows: Int) -> [String] {
    var body: [String]
    switch view {
    case .box: body = box(columns: columns, rows: rows - 3)
    case .bus(let name): body = bus(name, columns: columns, rows: rows - 3)
    case .device(let name): body = device(name, columns: columns)
    }
    body = Array(body.prefix(max(0, rows - 3)))
    body += [String](repeating: "", count: max(0, rows - 3 - body.count))
    return [head, ""] + body + [Self.keys()]
  }

  private var head: String {
    let status = look.status
    let offline = status["devices"]?["offline"]?.integer ?? 0
    let active = status["alarms"]?["active"]?.integer ?? 0
    let text = Self.headLine(
      status["gateway"]?.string ?? "", Shown.span(seconds: status["uptime_s"]?.double ?? 0),
      Shown.integer(status["devices"]?["online"]), "\(offline)", "\(active)",
      Shown.bytes(status["memory"]?["private_bytes"]?.integer ?? 0))
    return (active > 0 ? Colour.red : offline > 0 ? .yellow : .bold).apply(text)
  }

  private func box(columns: Int, rows: Int) -> [String] {
    var table = Table(Self.busHead().split(separator: "|").map(String.init), rightAligned: [3, 4, 5, 6])
    for (index, bus) in buses.enumerated() {
      let state = bus["state"]?.string ?? ""
      let use = bus["utilisation"]?.double ?? 0
      table.rows.append([
        Cell("\(index == chosen ? ">" : " ")\(bus["name"]?.string ?? "")"),
        Cell(state, state == "running" ? .green : .red), Cell(Self.bar(use)), Cell(Shown.percent(use)),
        Cell("\(Int(min(bus["cycle_ms"]?.double ?? 0, 1e9)))ms"), Cell(rate(["good"], bus)),
        Cell(rate(["timeouts", "crc_errors", "exceptions"], bus)),
      ])
    }
    var lines = table.lines(width: columns)
    for bus in buses {
      guard let verdict = bus["verdict"], verdict["code"]?.string != "fine" else { continue }
      let text = "\(bus["name"]?.string ?? ""): \(verdict[Language.current.code]?.string ?? "")"
      lines.append(Colour.yellow.apply(Table.cut(text, to: columns)))
    }
    lines += [""] + worst(columns: columns) + [""]
    return lines + alarms(columns: columns, rows: max(2, rows - lines.count))
  }

  /// The slowest devices beside those that fail most.
  private func worst(columns: Int) -> [String] {
    let answering = look.devices.filter { ($0["latency_ms"]?.double ?? 0) > 0 }
    let slowest = answering.sorted { ($0["latency_ms"]?.double ?? 0) > ($1["latency_ms"]?.double ?? 0) }.prefix(4)
    let noisiest = look.devices.filter { Self.failed($0) > 0 }.sorted { Self.failed($0) > Self.failed($1) }.prefix(4)
    var table = Table(Self.worstHead().split(separator: "|").map(String.init), rightAligned: [1, 3])
    for index in 0..<max(slowest.count, noisiest.count) {
      let slow = index < slowest.count ? slowest[index] : nil
      let noisy = index < noisiest.count ? noisiest[index] : nil
      table.rows.append([
        Cell(slow?["name"]?.string ?? ""), Cell(slow.map { Shown.tenths(ms: $0["latency_ms"]) } ?? ""),
        Cell(noisy?["name"]?.string ?? ""), Cell(noisy.map { "\(Self.tenths(percent: Self.failed($0)))" } ?? ""),
      ])
    }
    return table.rows.isEmpty ? [] : table.lines(width: columns)
  }

  private func alarms(columns: Int, rows: Int) -> [String] {
    guard !look.alarms.isEmpty else { return [Messages.text(.noAlarms)] }
    var table = Table(Self.alarmHead().split(separator: "|").map(String.init))
    for alarm in look.alarms.prefix(rows - 1) {
      let severity = alarm["severity"]?.string ?? ""
      table.rows.append([
        Cell(severity, severity == "critical" || severity == "major" ? .red : .yellow),
        Cell(alarm["state"]?.string ?? ""),
        Cell(alarm["message"]?.string ?? alarm["n"]?.string ?? ""),
      ])
    }
    return table.lines(width: columns)
  }

  private func bus(_ name: String, columns: Int, rows: Int) -> [String] {
    var table = Table(Self.deviceHead().split(separator: "|").map(String.init), rightAligned: [2, 3, 4, 5, 6])
    // The chosen one stays in sight.
    let all = devices(of: name)
    let first = max(0, min(chosen - (rows - 3), all.count - (rows - 2)))
    for (index, device) in all.enumerated().dropFirst(first) {
      let state = device["state"]?.string ?? ""
      table.rows.append([
        Cell("\(index == chosen ? ">" : " ")\(device["name"]?.string ?? "")"),
        Cell(state, state == "online" ? .green : state == "offline" ? .red : .yellow),
        Cell(Self.thinks(device)), Cell(rate(["good"], device)),
        Cell(Shown.integer(device["timeouts"])), Cell(Shown.integer(device["crc_errors"])),
        Cell(Self.tenths(percent: Self.failed(device))), Cell(Shown.age(ms: device["age_ms"])),
      ])
    }
    return [Colour.bold.apply(name)] + table.lines(width: columns)
  }

  private func device(_ name: String, columns: Int) -> [String] {
    var table = Table(Messages.columns(.pointsHead), rightAligned: [1])
    for point in look.points {
      let quality = point["q"]?.string ?? ""
      let colour: Colour = quality == "good" ? .plain : quality == "uncertain" ? .yellow : .red
      table.rows.append([
        Cell(point["point"]?.string ?? ""), Cell(Points.value(point)), Cell(point["u"]?.string ?? ""),
        Cell(quality, colour), Cell(Shown.age(ms: point["age_ms"])),
      ])
    }
    return [Colour.bold.apply(name)] + table.lines(width: columns)
  }

  // MARK: Numbers

  /// A second, since the look before: of a bus or a device, by its name.
  private func rate(_ keys: [String], _ now: JSONValue) -> String {
    let span = look.seconds - (before?.seconds ?? look.seconds)
    let all = now["bus"] == nil ? before?.status["buses"]?.array : before?.devices
    guard span > 0, let then = all?.first(where: { $0["name"] == now["name"] }) else { return "-" }
    let change = keys.reduce(Int64(0)) { $0 + (now[$1]?.integer ?? 0) - (then[$1]?.integer ?? 0) }
    return Shown.tenths(Double(max(0, change)) / span)
  }

  /// The part of a device's transactions that went wrong.
  static func failed(_ device: JSONValue) -> Double {
    let wrong = ["timeouts", "crc_errors", "exceptions"].reduce(0) { $0 + (device[$1]?.integer ?? 0) }
    let all = device["transactions"]?.integer ?? 0
    return all > 0 ? Double(wrong) / Double(all) : 0
  }

  /// Of a device that never answered nothing is known.
  private static func thinks(_ device: JSONValue) -> String {
    (device["latency_ms"]?.double ?? 0) > 0 ? Shown.tenths(ms: device["latency_ms"]) : "-"
  }

  private static func tenths(percent part: Double) -> String { "\(Shown.tenths(part * 100))%" }

  static func bar(_ part: Double, cells: Int = 20) -> String {
    let full = Int((min(max(part, 0), 1) * Double(cells)).rounded())
    return String(repeating: "█", count: full) + String(repeating: "░", count: cells - full)
  }

  private static let headLine = Phrase(
    "{0}  up {1}  devices {2} online, {3} offline  alarms {4}  memory {5}",
    "{0}  已运行 {1}  设备 {2} 在线 {3} 离线  报警 {4}  内存 {5}")
  private static let busHead = Phrase("BUS|STATE|USE|    |CYCLE|GOOD/S|BAD/S", "总线|状态|占用|    |周期|正常/秒|失败/秒")
  private static let worstHead = Phrase("SLOWEST|THINKS|NOISIEST|FAILED", "最慢|应答|失败最多|比例")
  private static let alarmHead = Phrase("SEVERITY|STATE|ALARM", "级别|状态|报警")
  private static let deviceHead = Phrase(
    "DEVICE|STATE|THINKS|GOOD/S|TIMEOUTS|CRC|FAILED|SEEN", "设备|状态|应答|正常/秒|超时|校验|失败|最近")
  private static let keys = Phrase(
    "up/down choose  Enter look into  Esc back  q leave", "上/下 选择  回车 查看  Esc 返回  q 退出")
}
