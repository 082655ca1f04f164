// What the counts of a bus mean, in a form that a person can act on. Pure: reports in, a verdict out; the words
// are for whoever shows it.

import StreamCore

package enum Verdict: Sendable, Equatable {
  case fine
  /// The port can't be used: why, and what that asks for.
  case portLost(String, PortTrouble = .other)
  /// Every device is silent: A and B swapped, the wrong baud rate or parity, no power on the line.
  case allSilent
  /// These alone are silent: their power, or their address.
  case silent([String])
  /// Broken frames from everywhere: termination, bias, noise, or a second master.
  case noisy(percent: Int)
  /// Broken frames from these alone: their cable, or two devices with one address.
  case noisyDevices([String])
  /// The own requests come back: the adapter's receiver stays on while it sends. Kerb takes them off.
  case echo
  /// Somebody speaks who was not asked: a second master, or a device that babbles.
  case babble
  /// The intervals ask for more than the line gives: all stretched by this factor.
  case stretched(Double)

  /// Below so many transactions the counts say nothing yet.
  private static let transactionsMin: Int64 = 20
  private static let noisyPercent: Int64 = 2

  package init(_ bus: BusReport, _ devices: [DeviceReport]) {
    if !bus.problem.isEmpty {
      self = .portLost(bus.problem, bus.portTrouble)
      return
    }
    let known = devices.filter { $0.state != .unknown }
    let silent = known.filter { $0.state == .offline }
    if bus.hasEcho {
      self = .echo
    } else if !known.isEmpty, silent.count == known.count, known.count == devices.count,
      devices.count > 1 || bus.good == 0
    {
      self = .allSilent
    } else if let noise = Self.noise(bus, devices) {
      self = noise
    } else if bus.transactions >= Self.transactionsMin, bus.strayBytes > 4 * bus.transactions {
      self = .babble
    } else if !silent.isEmpty {
      self = .silent(silent.map(\.name))
    } else if bus.stretch >= 1.5 {
      self = .stretched(bus.stretch)
    } else {
      self = .fine
    }
  }

  private static func noise(_ bus: BusReport, _ devices: [DeviceReport]) -> Verdict? {
    let broken = bus.crcErrors + bus.otherErrors
    guard bus.transactions >= transactionsMin, broken * 100 >= noisyPercent * bus.transactions else { return nil }
    let affected = devices.filter {
      $0.transactions >= transactionsMin && $0.crcErrors * 100 >= noisyPercent * $0.transactions
    }
    if !affected.isEmpty, devices.count > 2, affected.count * 4 <= devices.count {
      return .noisyDevices(affected.map(\.name))
    }
    return .noisy(percent: Int(broken * 100 / bus.transactions))
  }

  /// A word that stays the same in every language: what `--json` prints.
  package var code: String {
    switch self {
    case .fine: "fine"
    case .portLost: "port-lost"
    case .allSilent: "all-silent"
    case .silent: "silent"
    case .noisy: "noisy"
    case .noisyDevices: "noisy-devices"
    case .echo: "echo"
    case .babble: "babble"
    case .stretched: "stretched"
    }
  }

  /// What to do, in English.
  package var text: String {
    switch self {
    case .fine: return "fine"
    case .portLost(let problem, let trouble): return "the port can't be used (\(problem)): \(trouble.step)"
    case .allSilent: return "all devices silent: A and B swapped, wrong baud rate or parity, or no power on the line"
    case .silent(let names): return "silent: \(Self.list(names)): power, or the wrong address"
    case .noisy(let percent):
      return "\(percent) % broken frames from everywhere: termination, noise, or a second master"
    case .noisyDevices(let names):
      return "broken frames from \(Self.list(names)) alone: its cable, or two devices with one address"
    case .echo: return "own requests come back: the adapter's receiver stays on while it sends (taken off here)"
    case .babble: return "bytes that nobody asked for: a second master, or a device that babbles"
    case .stretched(let factor):
      let tenths = Int((factor * 10).rounded())
      return "the line can't carry the intervals: all stretched \(tenths / 10).\(tenths % 10) times"
    }
  }

  /// The same in Chinese.
  package var chineseText: String {
    switch self {
    case .fine: return "正常"
    case .portLost(let problem, let trouble): return "端口不可用(\(problem)):\(trouble.chineseStep)"
    case .allSilent: return "所有设备无应答:A/B 接反、波特率或校验错误,或线路无电"
    case .silent(let names): return "无应答:\(Self.list(names)):检查电源或地址"
    case .noisy(let percent): return "\(percent)% 的帧损坏,遍及全线:检查终端电阻、干扰,或存在第二个主站"
    case .noisyDevices(let names): return "仅 \(Self.list(names)) 的帧损坏:检查其线缆,或两台设备地址相同"
    case .echo: return "收到自己的请求:适配器发送时接收器未关闭(已自动去除)"
    case .babble: return "有未经询问的字节:存在第二个主站,或某设备乱发"
    case .stretched(let factor):
      let tenths = Int((factor * 10).rounded())
      return "线路承载不了所设间隔:整体拉长 \(tenths / 10).\(tenths % 10) 倍"
    }
  }

  private static func list(_ names: [String]) -> String {
    names.count <= 3 ? names.joined(separator: ", ") : names.prefix(3).joined(separator: ", ") + " +\(names.count - 3)"
  }
}
