import Gateway
import Store
import StreamCore
import Testing

@Suite struct BodyNameTests {
  /// The keys and bodies that a run of the agent sends of a store, beginning anew.
  private func sent(
    by run: UInt32, _ adjust: (inout PushSpec) -> Void = { _ in }, _ fill: (PushFixture) -> Void
  ) throws -> [WireServer.Request] {
    let server = try WireServer { talk, _ in talk.takeAll() }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.store.change { $0.report.epoch = run }
    fill(fixture)
    fixture.office.admit([PushFixture.spec(port: server.port, adjust)])
    fixture.tell()
    #expect(eventually { fixture.report()?.state == .idle && fixture.cursor() == fixture.store.change { $0.durable } })
    return server.requests
  }

  @Test(
    "A key is that of the content: over a restart the same for the same, another one as soon as anything else is in it",
    arguments: [PushFormat.json, .senmlJSON])
  func keys(_ format: PushFormat) throws {
    func gap(_ from: Int64, _ to: Int64, _ reason: GapReason = .evicted) -> Gap {
      Gap(from: from, to: to, epoch: 3, start: nil, end: nil, reason: reason)
    }
    func keys(_ run: UInt32, _ gaps: [Gap] = [], _ counts: [Int]) throws -> [String] {
      try sent(by: run, { $0.format = format }) { fixture in
        fixture.store.change { $0.telemetryGaps = gaps }
        for (number, count) in counts.enumerated() { fixture.fill(count, from: 1 + 1_000 * number) }
      }.map(\.id)
    }
    let alone = try keys(4, [], [20])
    #expect(alone == ["\(PullFixture.storeID).3.telemetry.1-20"])
    #expect(try keys(5, [], [20]) == alone)
    let several = try keys(4, [], [20, 80])
    #expect(several.count == 1 && several[0].hasPrefix("\(PullFixture.storeID).3.telemetry.1-100."))
    #expect(several[0].split(separator: ".").last?.count == 2 * Limits.fingerprintBytes)
    #expect(try keys(5, [], [20, 80]) == several)
    // The same bounds, cut otherwise, or with a hole.
    #expect(try keys(4, [], [30, 70]) != several)
    let behind = try keys(4, [gap(1, 9)], [20])
    #expect(behind[0].hasPrefix("\(PullFixture.storeID).3.telemetry.10-29."))
    #expect(try keys(5, [gap(1, 9)], [20]) == behind)
    #expect(try keys(5, [gap(1, 9, .damaged)], [20]) != behind)
    let gapAlone = try keys(4, [gap(1, 9)], [])
    #expect(gapAlone.count == 1 && gapAlone[0].hasPrefix("\(PullFixture.storeID).gaps.telemetry.1-9."))
    #expect(try keys(5, [gap(1, 8)], []) != gapAlone)
  }
}
