import CLinux
import StreamCore
import Testing

@testable import Store

@Suite("Faults 27 and 28: time in the store")
struct ClockTests {
  private static let year2026: Int64 = 1_780_000_000_000_000_000
  private static let tenYears: Int64 = 315_360_000_000_000_000

  private func offsets(_ site: Site) async throws -> [Int64?] { try await site.read().clocks.map { $0.offsetNs } }

  @Test("27 Records from before the clock was set have no time, and get it with the clock; ids and contents stay")
  func set() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    await site.put(numbered(1..<11))
    await site.raise(event(0, .unacknowledged, at: 5))
    try await site.flush()
    let before = try await site.readAll()
    #expect(try await offsets(site) == [nil])
    site.store.clockKnown(offsetNs: Self.year2026)
    #expect(try await offsets(site) == [Self.year2026])
    let after = try await site.readAll()
    #expect(after.samples.mapValues(\.raw) == before.samples.mapValues(\.raw))
    #expect(after.samples.mapValues(\.at) == before.samples.mapValues(\.at))
    #expect(after.epochs == before.epochs && after.events.keys == before.events.keys)
    site.stop()
    // It is known as soon as the same boot goes on, and not in another one.
    let again = try Site(configuration(folder))
    await again.put(numbered(11..<12))
    try await again.flush()
    #expect(try await offsets(again) == [Self.year2026, Self.year2026])
    again.stop()
  }

  @Test("28 Ten years forwards and an hour back: no interval, order or id changes; the epoch is dated anew as a whole")
  func steps() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    site.store.clockKnown(offsetNs: Self.year2026)
    await site.put(numbered(1..<21))
    site.store.clockKnown(offsetNs: Self.year2026 + Self.tenYears)
    await site.put(numbered(21..<41))
    site.store.clockKnown(offsetNs: Self.year2026 - 3_600_000_000_000)
    await site.put(numbered(41..<61))
    try await site.flush()
    let answer = try await site.read()
    #expect(answer.clocks.map { $0.offsetNs } == [Self.year2026 - 3_600_000_000_000])
    let samples = answer.batches.flatMap { $0.samples }
    #expect(samples.count == 60)
    for index in 1..<60 { #expect(samples[index].at - samples[index - 1].at == 100_000_000) }
    #expect(Set(answer.batches.map { $0.epoch }) == [site.opening.epoch])
    site.stop()
  }

  static let boot = "0b5d5f4e-3c1a-4b6e-9f00-0123456789ab"
  static let bare = "0b5d5f4e3c1a4b6e9f000123456789ab"

  @Test(
    "A boot's name is the kernel's, else what systemd tells, and nothing that is no name",
    arguments: [
      (boot, nil, boot),
      (boot, "0123456789abcdef0123456789abcdef", boot),
      (nil, bare, boot),
      (nil, "%b", ""), (nil, "0b5d5f4e3c1a4b6e9f000123456789a", ""), (nil, "0B5D5F4E3C1A4B6E9F000123456789AB", ""),
      (nil, "", ""), (nil, nil, ""), ("", bare, boot),
    ] as [(String?, String?, String)])
  func bootNames(_ kernel: String?, _ told: String?, _ expected: String) {
    #expect(bootID(kernel: kernel, told: told) == expected)
  }
}
