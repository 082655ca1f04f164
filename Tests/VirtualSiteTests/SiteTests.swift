import CLinux
import FieldBus
import Glibc
import StreamCore
import Synchronization
import Testing
import VirtualSite

@Suite("A site")
struct SiteTests {
  @Test("lets events happen in their time, and ends what has a length")
  func events() throws {
    let seen = Mutex<[SiteHappening]>([])
    let fault = Fault(.silent)
    let line = try RunningLine(
      [SiteDevice(name: "d", address: 1, profile: profile([point("p", .holding, 0)]))],
      events: [
        SiteEvent(atNs: 60_000_000, forNs: 60_000_000, target: "d", action: .fault(fault)),
        SiteEvent(atNs: 20_000_000, forNs: 20_000_000, target: "d", action: .value(point: "p", .number(7))),
      ],
      report: { happening in seen.withLock { $0.append(happening) } })
    defer { line.end() }
    #expect(eventually { seen.withLock { $0.count } >= 4 })
    let happenings = seen.withLock { $0 }
    #expect(
      happenings.map(\.what) == [
        .value(point: "p", .number(7)), .released(point: "p"), .fault(fault), .faultOver(fault),
      ])
    for (happening, dueMs) in zip(happenings, [20, 40, 60, 120] as [Int64]) {
      #expect(happening.sinceStartNs >= dueMs * 1_000_000)
    }
  }

  @Test("takes its link away at the end, and leaves what is not its own")
  func links() throws {
    let line = try RunningLine([])
    #expect(access(line.link, F_OK) == 0)
    line.site.stop()
    #expect(access(line.link, F_OK) != 0)

    let foreign = open(line.link, O_CREAT | O_WRONLY, 0o600)
    #expect(foreign >= 0)
    close(foreign)
    let again = try VirtualSite(line.site.spec)
    #expect(throws: SiteFailure.linkTaken(path: line.link)) { try again.start() }
    #expect(access(line.link, F_OK) == 0)
    unlink(line.link)

    symlink("/dev/pts/999999", line.link)
    let third = try VirtualSite(line.site.spec)
    try third.start()
    #expect(throws: SiteFailure.linkServed(path: line.link)) { try VirtualSite(line.site.spec).start() }
    #expect(access(line.link, F_OK) == 0)
    third.stop()
    rmdir(line.folder)
  }

  @Test("has a card reader that speaks by itself and when a card is shown")
  func cards() throws {
    var reader = Profile(id: "gate/reader", kind: "access-gate")
    reader.frame = .text(end: [13, 10], split: UInt8(ascii: ","))
    for (number, name) in ["record", "card", "direction"].enumerated() {
      var field = PointSpec(name: name, place: .inCode, source: .field(number + 1))
      field.type = .text(characters: 12)
      reader.points.append(field)
    }
    var device = SiteDevice(
      name: "reader", address: 0, profile: reader,
      signals: ["card": Signal(.constant(.text("1"))), "direction": Signal(.constant(.text("OUT")))])
    device.speaksEveryNs = 100_000_000
    let line = try RunningLine([device], busProtocol: .serial)
    defer { line.end() }
    let master = try #require(Master(link: line.link))
    let own = Array("CARD,1,OUT\r\n".utf8)
    #expect(master.line() == own)
    #expect(line.site.set("reader", "card", .text("0012345678")))
    let shown = Array("CARD,0012345678,OUT\r\n".utf8)
    // It may have spoken by itself once more before.
    var said = own
    while said == own { said = master.line() }
    #expect(said == shown)
  }

  @Test("is the same again for the same seed, and another for another")
  func seeds() {
    let walk = Signal(.walk(low: 0, high: 10, periodNs: 10_000_000_000), noise: 1)
    func course(_ seed: UInt64) -> [SiteValue] {
      stride(from: Int64(0), to: 60_000_000_000, by: 1_000_000_000).map {
        walk.value(atNs: $0, deviceSeed: seed, pointSeed: seed)
      }
    }
    #expect(course(4) == course(4))
    #expect(course(4) != course(5))
    for case .number(let value) in course(4) { #expect((-1...11).contains(value)) }
  }

  @Test("has elevators that stop before they open their door")
  func elevator() {
    func value(_ part: TravelPart, _ t: Int64) -> Double {
      let signal = Signal(.travel(part, floors: 12, floorNs: 1_000_000_000))
      guard case .number(let value) = signal.value(atNs: t, deviceSeed: 9, pointSeed: 1) else { return .nan }
      return value
    }
    var opened = 0
    var floor = value(.floor, 0)
    for t in stride(from: Int64(0), to: 600_000_000_000, by: 100_000_000) {
      let next = value(.floor, t)
      #expect(abs(next - floor) <= 1)
      #expect((1...12).contains(next))
      floor = next
      guard value(.door, t) == 1 else { continue }
      opened += 1
      for around in [t - 2_000_000_000, t, t + 2_000_000_000] { #expect(value(.speed, around) == 0) }
    }
    #expect(opened > 100)
  }
}
