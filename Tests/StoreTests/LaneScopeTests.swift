import StreamCore
import Testing

@testable import Store

@Suite("Consumers that may see one lane only")
struct LaneScopeTests {
  private let alarmsOnly = CursorOwner(name: "brigade", telemetry: false)
  private let telemetryOnly = CursorOwner(name: "meters", alarms: false)

  private func filled(_ folder: Folder, _ owners: [CursorOwner]) async throws -> Site {
    let site = try Site(configuration(folder, consumers: owners))
    await site.put(numbered(1..<101))
    await site.raise(event(0, .unacknowledged, at: 77))
    await site.raise(event(0, .acknowledged, at: 78))
    try await site.flush()
    return site
  }

  private func lags(_ report: StoreReport) -> [String: Int64] {
    Dictionary(uniqueKeysWithValues: report.consumers.map { ($0.name, $0.lagRecords) })
  }

  @Test("Nothing waits for a consumer on a lane that it may not see: running, started again and at rest")
  func lag() async throws {
    let folder = Folder()
    let owners: [CursorOwner] = [alarmsOnly, telemetryOnly, "city"]
    var site: Site? = try await filled(folder, owners)
    var report = try #require(await site?.report())
    #expect(lags(report) == ["brigade": 2, "meters": 100, "city": 102])
    #expect(report.consumers.map { $0.oldestUnread == nil } == [true, false, false])
    // A client's cursor stands where it began on the lane that it never gets.
    site?.store.acknowledge(Position(alarms: 2, telemetry: 0), by: "brigade", at: .zero)
    site?.store.acknowledge(Position(alarms: 0, telemetry: 100), by: "meters", at: .zero)
    report = try #require(await site?.report())
    #expect(lags(report) == ["brigade": 0, "meters": 0, "city": 102])
    #expect(report.consumers[0].held == Position(alarms: 2, telemetry: 0))
    site = nil
    #expect(lags(try StoreAtRest(configuration(folder, consumers: owners)).report()) == lags(report))
    let again = try Site(configuration(folder, consumers: owners))
    #expect(lags(await again.report()) == lags(report))
    again.stop()
  }

  @Test("One whose lanes are widened while the store runs gets what is stored from where it stood, gaps for the rest")
  func widened() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, consumers: [alarmsOnly], samplesPerBlock: 3))
    let slots = TelemetryRing.slots(bytes: 1 << 20)
    let count = (slots + 20) * 3
    for block in 0..<(slots + 20) {
      await site.put(numbered((block * 3 + 1)..<(block * 3 + 4)))
      try await site.flush()
    }
    #expect(lags(await site.report()) == ["brigade": 0])
    func serve(_ owners: [CursorOwner]) async -> StoreFailure? {
      await withCheckedContinuation { done in site.store.serve(owners) { done.resume(returning: $0) } }
    }
    #expect(await serve(["brigade"]) == nil)
    #expect(lags(await site.report()) == ["brigade": count])
    let held = try #require(await site.position(of: "brigade"))
    #expect(held.telemetry == 0)
    let answer = try await site.read(after: held, recordsMax: 1_000_000, for: "brigade")
    #expect(answer.telemetryGaps.map { [$0.from, $0.to] } == [[1, 60]])
    #expect(answer.batches.first?.firstSequence == 61)
    // And narrowed again: what it has not read waits no more.
    #expect(await serve([alarmsOnly]) == nil)
    #expect(lags(await site.report()) == ["brigade": 0])
    #expect(await site.position(of: "brigade") == held)
    site.stop()
  }

  @Test("Telemetry that no consumer may see is not thinned for anybody: it goes as what everybody has read goes")
  func thinning() async throws {
    func course(_ owners: [CursorOwner]) async throws -> StoreReport {
      let folder = Folder()
      let site = try Site(Worth.configuration(folder, consumers: owners))
      let slots = RingLayout(Worth.configuration(folder)).slots
      for block in 0..<(slots + 60) {
        await site.put(numbered((block * 64 + 1)..<(block * 64 + 65)))
        try await site.flush()
      }
      let report = await site.report()
      site.stop()
      return report
    }
    let narrow = try await course([alarmsOnly])
    #expect(narrow.losses.thinned == 0 && narrow.losses.evicted > 0)
    let wide = try await course(["brigade"])
    #expect(wide.losses.thinned > 0 && wide.losses.evicted < narrow.losses.evicted)
  }
}
