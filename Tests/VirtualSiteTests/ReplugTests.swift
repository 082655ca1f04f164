import CLinux
import FieldBus
import Glibc
import StreamCore
import Testing
import VirtualSite

/// An adapter that is pulled out and comes back, as its far end does it: the link leads to another pty then.
@Suite("An adapter that is pulled out", .serialized)
struct ReplugTests {
  @Test("FAULTS 11: is noticed at once, and its return under another name within two seconds")
  func replug() throws {
    var points = [point("p0", .holding, 0)]
    points[0].everyNs = 20_000_000
    let line = try RunningLine([SiteDevice(name: "d1", address: 1, profile: profile(points))])
    defer { line.end() }
    let first = TextFile.resolved(line.link)
    let spec = BusSpec(name: "l", place: .inCode, busProtocol: .modbusRTU, endpoint: .serialPort(path: line.link))
    var device = DeviceSpec(name: "d1", place: .inCode, bus: 0, address: 1, profile: "", kind: "k")
    device.points = points
    let field = Field(buses: [spec], devices: [device])
    let store: OpaquePointer = kerb_gate_new()
    defer { kerb_gate_free(store) }
    field.start(storeGate: store, pseudonymKey: [UInt8](repeating: 1, count: 32), alarmsLeft: [])
    defer { field.stop() }
    /// How long it took; nil: it did not come.
    func waits(atMostNs: Int64 = Patience.ns, for condition: () -> Bool) -> Int64? {
      let began = kerb_monotonic_ns()
      while !condition(), kerb_monotonic_ns() - began < atMostNs {
        kerb_gate_lock(store)
        _ = kerb_gate_wait_until(store, kerb_monotonic_ns() + 2_000_000)
        kerb_gate_unlock(store)
        for channel in field.channels { while channel.next() != nil { channel.release() } }
      }
      return condition() ? kerb_monotonic_ns() - began : nil
    }
    #expect(waits { field.device(0).state == .online } != nil)
    var others: [Int32] = []
    defer { for other in others { close(other) } }
    // What took too long once may be the machine's doing; each time, it is the bus's.
    var (round, slow) = (0, [String]())
    while round - slow.count < 2, slow.count < 6 {
      round += 1
      line.site.unplug(line: "line")
      let lost = try #require(waits { field.bus(0).state == .lost })
      // All of them follow in one turn of the bus, one after the other.
      #expect(waits { field.device(0).state == .offline } != nil)
      #expect(waits { field.point(0).quality == .stale } != nil)
      #expect(waits { !field.bus(0).problem.isEmpty } != nil)
      // Long enough that the tries have become rare.
      _ = waits(atMostNs: 3_000_000_000) { false }
      // Somebody else has its number meanwhile.
      var other: Int32 = -1
      var name = [CChar](repeating: 0, count: 128)
      #expect(kerb_pty_open(&other, &name, 128) == 0)
      others.append(other)
      line.site.plug(line: "line")
      let back = try #require(waits { field.device(0).state == .online })
      #expect(waits { field.point(0).quality == .good } != nil)
      if lost >= 500_000_000 || back >= 2_500_000_000 {
        slow.append("round \(round): lost after \(lost / 1_000_000) ms, back after \(back / 1_000_000) ms")
      }
    }
    #expect(round - slow.count == 2, "\(slow)")
    #expect(TextFile.resolved(line.link) != first)
  }
}
