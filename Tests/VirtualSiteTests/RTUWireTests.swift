import FieldBus
import Testing
import VirtualSite

/// The wire's decisions in simulated time: 9600 8N1, a character is 1,041,666 ns, t3.5 is 3,645,831 ns.
@Suite("The wire")
struct RTUWireTests {
  static let character: Int64 = 1_041_666
  static let silence: Int64 = 3_645_831
  static let request: [UInt8] = [1, 3, 0, 0, 0, 1, 0x84, 0x0A]

  private func wire(paced: Bool = true, turnaroundNs: Int64 = 0) -> RTUWire {
    RTUWire(SiteLine(name: "l", end: .link(path: "l"), paced: paced, turnaroundNs: turnaroundNs))
  }

  @Test("takes a request when its last byte and t3.5 are through, and not before")
  func request() {
    var wire = wire()
    wire.received(Self.request, at: 1_000)
    let ended = 1_000 + 8 * Self.character + Self.silence
    #expect(wire.next(at: 1_000) == .wait(until: ended))
    #expect(wire.next(at: ended - 1) == .wait(until: ended))
    #expect(wire.next(at: ended + 77) == .answer(Self.request, endedAt: ended))
    #expect(wire.next(at: ended + 77) == .wait(until: .max))
  }

  @Test("joins the parts of a request that come within the silence")
  func parts() {
    var wire = wire()
    wire.received(Array(Self.request.prefix(3)), at: 0)
    wire.received(Array(Self.request.suffix(5)), at: 5_000_000)
    let ended = 5_000_000 + 5 * Self.character + Self.silence
    #expect(wire.next(at: 5_000_000) == .wait(until: ended))
    #expect(wire.next(at: ended) == .answer(Self.request, endedAt: ended))
  }

  @Test("has every byte of a reply due by the reply's begin alone, however late it is asked")
  func drift() {
    var wire = wire(turnaroundNs: 2_000_000)
    wire.plan([Emission(bytes: [1, 2, 3, 4])], endedAt: 0)
    let base: Int64 = 2_000_000
    #expect(wire.next(at: 0) == .wait(until: base))
    // Each wake-up comes late; none moves the next.
    #expect(wire.next(at: base + 300_000) == .wait(until: base + Self.character))
    #expect(wire.next(at: base + Self.character + 900_000) == .write([1]))
    #expect(wire.next(at: base + Self.character + 900_000) == .wait(until: base + 2 * Self.character))
    #expect(wire.next(at: base + 3 * Self.character) == .write([2, 3]))
    #expect(wire.next(at: base + 4 * Self.character - 1) == .wait(until: base + 4 * Self.character))
    #expect(wire.next(at: base + 4 * Self.character) == .write([4]))
  }

  @Test("ignores what begins before t3.5 after a reply, and what comes right behind it")
  func early() {
    var wire = wire()
    wire.plan([Emission(bytes: [9])], endedAt: 0)
    #expect(wire.next(at: Self.character) == .write([9]))
    let quiet = Self.character + Self.silence
    wire.received(Self.request, at: quiet - 1)
    let over = quiet - 1 + 8 * Self.character + Self.silence
    #expect(wire.next(at: over) == .wait(until: .max))
    #expect(wire.early == 1)
    wire.received(Self.request, at: over)
    #expect(wire.next(at: over + 8 * Self.character + Self.silence) != .wait(until: .max))
  }

  @Test("lets a late reply wait while the line goes on, and never mixes two")
  func late() {
    var wire = wire(paced: false)
    wire.plan([Emission(bytes: [1, 1], delayNs: 10_000)], endedAt: 0)
    wire.plan([Emission(bytes: [2, 2])], endedAt: 100)
    #expect(wire.next(at: 100) == .write([2, 2]))
    #expect(wire.next(at: 100) == .wait(until: 10_000))
    #expect(wire.next(at: 10_000) == .write([1, 1]))
  }

  @Test("without pace takes a request as soon as its length is there")
  func unpaced() {
    var wire = wire(paced: false)
    wire.received(Array(Self.request.prefix(7)), at: 0)
    #expect(wire.next(at: 0) == .wait(until: RTUWire.unpacedSilenceNs))
    wire.received(Array(Self.request.suffix(1)), at: 10)
    #expect(wire.next(at: 10) == .answer(Self.request, endedAt: 10))
  }

  @Test("knows the silence before a request: none while a reply is on its way, for ever before the first byte")
  func gap() {
    var wire = RTUWire(SiteLine(name: "l", end: .link(path: "l"), strict: false))
    wire.received(Self.request, at: 0)
    #expect(wire.gapNs == .max)
    let ended = 8 * Self.character + Self.silence
    #expect(wire.next(at: ended) == .answer(Self.request, endedAt: ended))
    wire.plan([Emission(bytes: [1, 2])], endedAt: ended)
    let through = ended + 2 * Self.character
    #expect(wire.next(at: through) == .write([1, 2]))
    wire.received(Self.request, at: through + 900_000)
    #expect(wire.gapNs == 900_000)
    let again = through + 900_000 + ended
    #expect(wire.next(at: again) == .answer(Self.request, endedAt: again))
    #expect(wire.gapNs == 900_000)
    wire.plan([Emission(bytes: [1, 2])], endedAt: again)
    #expect(wire.next(at: again) == .wait(until: again + Self.character))
    wire.received(Self.request, at: again + 1_000)
    #expect(wire.gapNs == 0)
  }
}
