import FieldBus
import StreamCore
import Testing

@Suite("The memory of a bus")
struct LayoutMemoryTests {
  private static let place = SourcePlace(file: "test", line: 1, column: 1)

  /// Ten points each, every one with an alarm, and a window if there are statistics.
  private static func devices(_ count: Int, _ statistics: [Statistic]) -> [DeviceSpec] {
    (0..<count).map { number in
      var device = DeviceSpec(
        name: "d\(number)", place: place, bus: 0, address: number % 247 + 1, profile: "a/b", kind: "a")
      for index in 0..<10 {
        var point = PointSpec(name: "p\(index)", place: place, source: .register(.holding, address: index))
        if !statistics.isEmpty { point.windows = [WindowSpec(everyNs: 60_000_000_000, statistics: statistics)] }
        device.points.append(point)
        device.alarms.append(
          AlarmSpec(name: "a\(index)", place: place, when: "p\(index) > 15 and p0 > 2.5", whenPlace: place))
      }
      return device
    }
  }

  private static func layout(_ devices: [DeviceSpec]) -> BusLayout {
    let bus = BusSpec(name: "b", place: place, busProtocol: .modbusRTU, endpoint: .serialPort(path: "/dev/b"))
    return Field.layouts(buses: [bus], devices: devices)[0]
  }

  @Test("is at most 200 bytes a point with a window of five statistics and an alarm, and 2,500 more with quantiles")
  func bytesPerPoint() {
    let five: [Statistic] = [.min, .max, .mean, .last, .count]
    let plain = Self.layout(Self.devices(100, five)).size
    let sketched = Self.layout(Self.devices(100, five + [.p50, .p95, .p99])).size
    print("arena a point with an alarm: \(Double(plain.bytes) / 1_000) bytes")
    #expect(plain.points == 1_000 && plain.windows == 1_000 && plain.alarms == 1_000)
    #expect(plain.bytes <= 200_000)
    #expect(sketched.bytes - plain.bytes <= 2_500_000)
  }

  @Test("is accounted to each device and rule, but for what they share")
  func perDevice() {
    let devices = Self.devices(20, [.mean, .p95])
    let layout = Self.layout(devices)
    let memory = layout.deviceMemory
    #expect(memory.map(\.name) == devices.map(\.name))
    var shared = 0
    for part in RuleMemory.Part.allCases {
      let sum = layout.memory.first { $0.part == part.rawValue }?.bytes ?? 0
      let owned = memory.reduce(0) { $0 + $1.bytes(part) }
      #expect(sum >= owned, "\(part)")
      shared += sum - owned
    }
    // Rules of ten kinds of alarm, one point, one window; programs; rounding.
    #expect(shared < 2_048)
    // One device more costs what is said of it, and the rounding.
    let more = Self.layout(Self.devices(21, [.mean, .p95]))
    let parts = Set(RuleMemory.Part.allCases.map(\.rawValue))
    func total(_ layout: BusLayout) -> Int { layout.memory.reduce(0) { $0 + (parts.contains($1.part) ? $1.bytes : 0) } }
    let cost = total(more) - total(layout)
    #expect((cost - memory[0].bytes).magnitude <= 64 * 10)
    #expect(memory[0].rules.contains { $0.part == .quantiles && $0.name == "p3/1m" && $0.bytes == 2_480 })
  }
}
