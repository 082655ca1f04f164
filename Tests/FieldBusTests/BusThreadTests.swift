import CLinux
import FieldBus
import Glibc
import StreamCore
import Synchronization
import Testing

/// A bus's thread that does as it is told.
@Suite("A bus's thread")
struct BusThreadTests {
  /// What the test and the thread share.
  private final class Told: Sendable {
    let turns = Atomic<Int>(0)
    /// What came in on the line, once it is read.
    let bytes = Atomic<Int>(0)
    /// Monotonic nanoseconds; 0: hang until `isReleased`.
    let restUntil = Atomic<Int64>(.max)
    let isReleased = Atomic<Bool>(false)
    let listensOn: Int32
    init(listensOn: Int32 = -1) { self.listensOn = listensOn }
  }

  private struct Work: BusWork, ~Copyable {
    let told: Told
    mutating func start() {}
    mutating func step() -> Instant {
      told.turns.add(1, ordering: .sequentiallyConsistent)
      while told.restUntil.load(ordering: .acquiring) == 0, !told.isReleased.load(ordering: .acquiring) {
        sched_yield()
      }
      if told.listensOn >= 0 {
        var byte: UInt8 = 0
        if read(told.listensOn, &byte, 1) == 1 { told.bytes.add(1, ordering: .sequentiallyConsistent) }
      }
      return Instant(nanoseconds: told.restUntil.load(ordering: .acquiring))
    }
    var listensOn: Int32 { told.listensOn }
    mutating func handOver() {}
    mutating func takeHandedOver() -> Bool { false }
    mutating func stop() {}
  }

  private final class Rig {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 20, alignment: 64)
    let gate: OpaquePointer = kerb_gate_new()
    let board: BusBoard
    let control: BusControl
    private let thread = BusThread(name: "kerb-told")

    init(_ told: Told) {
      memory.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 20)
      var arena = Arena(memory: memory, capacityBytes: 1 << 20)
      let devices = [device(1, registers: [0])]
      let layout = BusLayout(spec: bus(), bus: 0, devices: devices, numbering: Numbering(devices: devices))
      board = BusBoard(layout: layout, arena: &arena)
      control = BusControl(board: board, storeGate: gate)
      thread.start(control: control) { Work(told: told) }
    }

    func end() {
      control.stop()
      thread.join()
    }

    deinit {
      kerb_gate_free(gate)
      memory.deallocate()
    }

    /// Waits for it, bounded.
    func reaches(_ condition: () -> Bool) -> Bool {
      let deadline = kerb_monotonic_ns() + 60 * second
      while !condition() {
        if kerb_monotonic_ns() > deadline { return false }
        sched_yield()
      }
      return true
    }

    var pulse: Int64 { board.bus[.pulse] }
  }

  @Test("that waits says until when, and is woken by a stop")
  func waits() {
    let told = Told()
    let until = kerb_monotonic_ns() + 3_600 * second
    told.restUntil.store(until, ordering: .releasing)
    let rig = Rig(told)
    #expect(rig.reaches { rig.pulse == until })
    #expect(told.turns.load(ordering: .acquiring) == 1)
    rig.end()
  }

  @Test("FAULTS 39: that hangs at work falls behind; its pulse does not move")
  func hangs() {
    let told = Told()
    told.restUntil.store(0, ordering: .releasing)
    let rig = Rig(told)
    #expect(rig.reaches { told.turns.load(ordering: .acquiring) == 1 })
    let pulse = rig.pulse
    let seen = kerb_monotonic_ns()
    #expect(pulse <= seen)
    #expect(rig.reaches { kerb_monotonic_ns() > seen + 50 * millisecond })
    #expect(rig.pulse == pulse)
    told.isReleased.store(true, ordering: .releasing)
    rig.end()
  }

  @Test("(1) is woken from its line by a byte on it, by a pause, a resumption and a stop, however often")
  func woken() throws {
    var master: Int32 = -1
    var path = [CChar](repeating: 0, count: 128)
    #expect(kerb_pty_open(&master, &path, 128) == 0)
    defer { close(master) }
    let slave = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    #expect(slave >= 0 && kerb_tty_raw(slave, 9_600, 0x4E, 1) == 0)
    defer { close(slave) }
    let told = Told(listensOn: slave)
    let rig = Rig(told)
    for round in 0..<200 {
      // Not only once it waits: also while it is about to. A turn already under way may be what reads the byte.
      var byte: UInt8 = 0x55
      #expect(write(master, &byte, 1) == 1)
      #expect(rig.reaches { told.bytes.load(ordering: .acquiring) > round }, "byte \(round)")
      rig.control.pause()
      #expect(rig.reaches { rig.control.isPaused }, "pause \(round)")
      rig.control.resume()
      #expect(rig.reaches { !rig.control.isPaused }, "resumption \(round)")
    }
    rig.end()
  }
}
