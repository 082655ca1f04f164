import StreamCore
import Testing

@testable import Store

@Suite("The values that caused an alarm")
struct AlarmCausesTests {
  /// An event as a bus makes it: with the values of its own moment.
  private func event(
    _ change: AlarmChange, _ state: AlarmState, process: AlarmState? = nil, tilt: Int64, series: UInt16 = 3
  ) -> AlarmEvent {
    var event = AlarmEvent(alarm: 0, state: state, severity: .critical, at: .zero, since: .zero)
    event.change = change
    event.process = process ?? state
    event.add(AlarmCause(series: series, quality: .good, raw: tilt))
    event.add(AlarmCause(series: series + 1, quality: .uncertain, raw: tilt * 2))
    return event
  }

  private func causes(_ event: AlarmEvent?) -> [Int64] {
    guard let event else { return [] }
    return (0..<Int(event.causeCount)).flatMap { [Int64(event.cause($0).series), event.cause($0).raw] }
  }

  private func log(_ site: Site) async throws -> [AlarmEvent] { try await site.read().events.map(\.event) }
  private func state(_ site: Site) async -> AlarmEvent? {
    await withCheckedContinuation { done in site.store.alarms { done.resume(returning: $0.first?.event) } }
  }

  @Test("stay with it through acknowledgement, reminder, escalation, shelf and return, until it is over")
  func stay() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    await site.raise(event(.raised, .unacknowledged, tilt: 34))
    let later: [(AlarmChange, AlarmState, AlarmState)] = [
      (.reminded, .unacknowledged, .unacknowledged), (.escalated, .unacknowledged, .unacknowledged),
      (.shelved, .shelved, .unacknowledged), (.unshelved, .unacknowledged, .unacknowledged),
      (.returned, .returnedUnacknowledged, .returnedUnacknowledged), (.acknowledged, .normal, .normal),
    ]
    for (index, (change, state, process)) in later.enumerated() {
      await site.raise(event(change, state, process: process, tilt: Int64(index)))
    }
    try await site.flush()
    #expect(try await log(site).map(causes) == Array(repeating: [3, 34, 4, 68], count: 7))
    #expect(try await log(site).map(\.change) == [.raised] + later.map(\.0))
    #expect(causes(await state(site)) == [3, 34, 4, 68])
    // It is over: what is done to it now has the values of now, and so has the next raise.
    await site.raise(event(.shelved, .shelved, process: .normal, tilt: 5))
    await site.raise(event(.unshelved, .normal, tilt: 6))
    await site.raise(event(.raised, .unacknowledged, tilt: 40))
    await site.raise(event(.returned, .returnedUnacknowledged, tilt: 1))
    await site.raise(event(.raised, .unacknowledged, tilt: 50))
    await site.raise(event(.acknowledged, .acknowledged, tilt: 2))
    try await site.flush()
    #expect(try await log(site).dropFirst(7).map { causes($0)[1] } == [5, 6, 40, 40, 50, 50])
    site.stop()
  }

  @Test("outlive a stop; under another catalogue each where its series stands now, or not at all")
  func restart() async throws {
    let folder = Folder()
    let first = try Site(configuration(folder))
    await first.raise(event(.raised, .unacknowledged, tilt: 34))
    try await first.flush()
    first.stop()
    let same = try Site(configuration(folder))
    await same.raise(event(.acknowledged, .acknowledged, tilt: 1))
    try await same.flush()
    #expect(causes(await state(same)) == [3, 34, 4, 68])
    same.stop()
    var other = configuration(folder, catalogue: Array("second".utf8))
    other.seriesNow = { older, series in
      #expect(older == Array("first".utf8) && series == [3, 4])
      return [13, nil]
    }
    let moved = try Site(other)
    await moved.raise(event(.outOfService, .outOfService, process: .acknowledged, tilt: 2, series: 13))
    try await moved.flush()
    #expect(causes(await state(moved)) == [13, 34])
    moved.stop()
    // Nothing of it is there any more: what the event came with is better than nothing.
    let alien = try Site(configuration(folder, catalogue: Array("third".utf8)))
    await alien.raise(event(.inService, .acknowledged, tilt: 3, series: 20))
    try await alien.flush()
    #expect(causes(await state(alien)) == [20, 3, 21, 6])
    alien.stop()
  }
}
