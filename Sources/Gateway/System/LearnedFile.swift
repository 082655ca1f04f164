// STATE/learned.json: what the buses have learned of their devices, kept across restarts. Read once at start,
// written when it has changed and at the stop. It only saves time: a file that is missing or damaged is begun
// anew.

import FieldBus
import StreamCore

package struct LearnedFile {
  private let path: String
  private var written: [String: LearnedDevice] = [:]
  private static let bytesMax = 4 << 20

  package init(statePath: String) { path = "\(statePath)/learned.json" }

  /// By name of the device.
  package mutating func read() -> [String: LearnedDevice] {
    guard let text = try? TextFile.read(path, bytesMax: Self.bytesMax),
      let root = try? JSONParser.parse(Array(text.utf8)), let members = root["devices"]?.members
    else { return [:] }
    var devices: [String: LearnedDevice] = [:]
    for member in members { devices[member.name] = Self.device(member.value) }
    written = devices
    return devices
  }

  /// Writes if something is new since the last time. False: it can't be written.
  package mutating func write(_ devices: [String: LearnedDevice]) -> Bool {
    guard devices != written else { return true }
    var json = JSONWriter()
    json.object { root in
      root.key("devices")
      root.object { list in
        for (name, device) in devices.sorted(by: { $0.key < $1.key }) {
          list.key(name)
          list.object { Self.write(device, into: &$0) }
        }
      }
    }
    do { try TextFile.write(json.bytes, to: path) } catch { return false }
    written = devices
    return true
  }

  /// What is known of these devices is gone; false: it can't be written.
  package mutating func forget(_ names: [String]) -> Bool {
    var devices = read()
    for name in names { devices[name] = nil }
    return write(devices)
  }

  private static func write(_ device: LearnedDevice, into json: inout JSONWriter) {
    json.member("latency_mean_ns", device.latency.meanNs)
    json.member("latency_spread_ns", device.latency.spreadNs)
    json.member("latency_worst_ns", device.latency.worstNs)
    json.member("replies", Int64(device.latency.count))
    if device.silenceNs > 0 {
      json.member("silence_of_ns", device.silenceNs)
      json.member("silence_step", device.tolerance.step)
      json.member("silence_limit", device.tolerance.limit)
      json.member("silence_blames", device.tolerance.blames)
    }
    json.key("refused")
    json.array { list in
      for span in device.refused {
        list.object {
          $0.member("table", "\(span.table)")
          $0.member("address", span.address)
          $0.member("count", span.count)
        }
      }
    }
  }

  private static func device(_ value: JSONValue) -> LearnedDevice {
    var device = LearnedDevice()
    func positive(_ key: String) -> Int64 { Swift.max(0, value[key]?.integer ?? 0) }
    device.latency.meanNs = Swift.min(positive("latency_mean_ns"), Limits.responseTimeoutNsMax)
    device.latency.spreadNs = Swift.min(positive("latency_spread_ns"), Limits.responseTimeoutNsMax)
    device.latency.worstNs = Swift.min(positive("latency_worst_ns"), Limits.responseTimeoutNsMax)
    device.latency.count = UInt32(clamping: positive("replies"))
    device.silenceNs = positive("silence_of_ns")
    if device.silenceNs > 0 {
      device.tolerance = Tolerance(
        step: Int(clamping: positive("silence_step")), limit: Int(clamping: positive("silence_limit")),
        blames: Int(clamping: positive("silence_blames")))
    }
    for span in value["refused"]?.array ?? [] {
      guard let word = span["table"]?.string, let table = RegisterTable.allCases.first(where: { "\($0)" == word }),
        let address = span["address"]?.integer, let count = span["count"]?.integer,
        (0..<65_536).contains(address), (1...Int64(Limits.bitsPerReadMax)).contains(count)
      else { continue }
      device.refused.append(RefusedSpan(table: table, address: Int(address), count: Int(count)))
    }
    return device
  }
}
