import CLinux
import FieldBus
import Glibc
import StreamCore
import VirtualSite

/// The agent's own bus loop and libmodbus on one end of a real pty.
final class LineRig {
  let memory: UnsafeMutableRawPointer
  let board: BusBoard
  let channel: BatchChannel
  var loop: BusLoop<ModbusPort>
  var good = 0
  var wrong = 0
  /// The machine stopped for so long that a reply may have been later than any device makes it.
  private(set) var hasStalled = false
  /// Of a turn: beyond its reply's timeout, and of a wait: beyond its end.
  private static let stallNs: Int64 = 40_000_000
  private let turnNs: Int64

  init(link: String, devices: [DeviceSpec], change: (inout BusSpec) -> Void = { _ in }) {
    var spec = BusSpec(name: "b", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: link))
    spec.format.baud = 9_600
    spec.responseTimeoutNs = 60_000_000
    change(&spec)
    turnNs = spec.responseTimeoutNs + Self.stallNs
    let layout = BusLayout(spec: spec, bus: 0, devices: devices, numbering: Numbering(devices: devices))
    let bytes = layout.bytes + 8_192
    memory = .allocate(byteCount: bytes, alignment: 64)
    memset(memory, 0, bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    board = BusBoard(layout: layout, arena: &arena)
    loop = BusLoop(
      layout: layout, port: ModbusPort(spec), board: board, channel: channel,
      pseudonymKey: [UInt8](repeating: 0, count: 32), alarmsLeft: [], arena: &arena)
    loop.start()
  }

  deinit { memory.deallocate() }

  /// Turns until `isDone` or the deadline; every Good value is compared with its register's.
  func run(atMostMs: Int64, truth: [UInt16: ClosedRange<Int64>], until isDone: (LineRig) -> Bool = { _ in false }) {
    let deadline = kerb_monotonic_ns() + atMostMs * 1_000_000
    while kerb_monotonic_ns() < deadline, !isDone(self) {
      let began = kerb_monotonic_ns()
      let until = loop.step()
      if kerb_monotonic_ns() - began > turnNs { hasStalled = true }
      loop.handOver()
      while let batch = channel.next() {
        for index in 0..<batch.sampleCount {
          let sample = batch.sample(index)
          guard sample.quality == .good else { continue }
          good += 1
          if truth[sample.series]?.contains(sample.raw) != true { wrong += 1 }
        }
        channel.release()
      }
      let end = Swift.max(kerb_monotonic_ns(), Swift.min(until.nanoseconds, deadline))
      _ = kerb_poll_until(nil, 0, end)
      if kerb_monotonic_ns() - end > Self.stallNs { hasStalled = true }
    }
  }
}
