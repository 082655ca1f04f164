import CLinux
import FieldBus
import Glibc
import StreamCore
import Synchronization
import Testing

@testable import Store

/// A bus's own thread, loop and pipeline, on a line that answers at once, beside a store on a disk that does not.
@Suite("A bus beside its store", .serialized)
struct BusBesideStoreTests {
  private final class Polls: Sendable {
    let count = Atomic<Int64>(0)
    /// The longest time between two requests, ns.
    let longest = Atomic<Int64>(0)
  }

  /// Every register has another value each time.
  private struct Line: Port, ~Copyable {
    let polls: Polls
    private var lastNs: Int64 = 0
    init(_ polls: Polls) { self.polls = polls }

    var now: Instant { Instant(nanoseconds: kerb_monotonic_ns()) }
    var frame: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: nil, count: 0) }
    mutating func open() throws(PortFailure) {}
    mutating func close() {}
    mutating func drain() throws(ReadFailure) -> Int { 0 }
    mutating func reopen(as format: LineFormat) throws(PortFailure) {}
    mutating func exchange(
      _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64, into reply: UnsafeMutablePointer<UInt8>
    ) throws(ReadFailure) -> Int { throw .noReply }

    mutating func read(
      unit: Int, table: RegisterTable, address: Int, count: Int, timeoutNs: Int64,
      into words: UnsafeMutablePointer<UInt16>
    ) throws(ReadFailure) {
      let now = kerb_monotonic_ns()
      if lastNs != 0 { polls.longest.max(now - lastNs, ordering: .relaxed) }
      lastNs = now
      let turn = polls.count.add(1, ordering: .acquiringAndReleasing).newValue
      for index in 0..<count { words[index] = UInt16(truncatingIfNeeded: turn * 7 + Int64(index)) }
    }
  }

  private static func device() -> DeviceSpec {
    let here = SourcePlace(file: "test", line: 1, column: 1)
    var device = DeviceSpec(name: "d", place: here, bus: 0, address: 1, profile: "", kind: "test")
    for address in 0..<16 {
      var point = PointSpec(name: "p\(address)", place: here, source: .register(.holding, address: address))
      point.type = .u16
      point.everyNs = 10_000_000
      device.points.append(point)
    }
    return device
  }

  @Test("24 A sync that hangs does not keep a bus from its polls: over several hand-overs, as long as it hangs")
  func pollsOn() async throws {
    let folder = Folder()
    let disk = FaultDisk()
    let site = try Site(configuration(folder, vfs: disk.name))
    #expect(await eventually { await site.report().isPrepared })

    let here = SourcePlace(file: "test", line: 1, column: 1)
    let spec = BusSpec(
      name: "b", place: here, busProtocol: .modbusRTU, endpoint: .serialPort(path: "/dev/none"))
    let devices = [Self.device()]
    let layout = BusLayout(spec: spec, bus: 0, devices: devices, numbering: Numbering(devices: devices))
    let bytes = layout.bytes + 8_192
    nonisolated(unsafe) let memory = UnsafeMutableRawPointer.allocate(byteCount: 2 * bytes, alignment: 64)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: 2 * bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let board = BusBoard(layout: layout, arena: &arena)
    let control = BusControl(board: board, storeGate: site.store.wake)
    let polls = Polls()
    let channel = site.channels[0]
    let thread = BusThread(name: "kerb-test")
    thread.start(control: control) {
      var arena = Arena(memory: memory + bytes, capacityBytes: bytes)
      return BusLoop(
        layout: layout, port: Line(polls), board: board, channel: channel,
        pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [], arena: &arena)
    }
    #expect(await eventually { polls.count.load(ordering: .acquiring) > 20 })

    disk.hold(FaultDisk.syncs)
    let isTold = NewEvent(event: event(0, .unacknowledged, at: 1))
    site.store.log([isTold]) { _ in }
    #expect(disk.isHeld(within: 120_000_000_000), "no sync came")
    let (before, given) = (polls.count.load(ordering: .acquiring), channel.waiting)
    // 16 samples a poll: 160 polls are ten batches, more than fit between bus and store.
    #expect(
      await eventually { polls.count.load(ordering: .acquiring) >= before + 160 },
      "the bus stood still: \(polls.count.load(ordering: .acquiring) - before) polls")
    #expect(disk.isHeld(within: 0), "the sync has ended meanwhile: nothing was shown")
    #expect(channel.waiting > given, "nothing was handed over: nothing was shown")
    disk.release()
    #expect(await eventually { channel.waiting == 0 })
    control.stop()
    thread.join()
    await site.settle()
    try await site.flush()
    let account = try await site.readAll()
    #expect(account.events.count == 1)
    let made = 16 * polls.count.load(ordering: .acquiring)
    #expect(Int64(account.samples.count) + account.missing(.overflow) == made)
    site.stop()
  }
}
