// What others ask of the store, carried out on the store thread between two commits.

import CLinux
import CSQLite
import StreamCore

extension Buffer {
  /// Why something can't be had or done just now.
  var unavailable: StoreFailure { lastFailure ?? .io(code: SQLITE_IOERR) }

  func read(_ request: ReadRequest, for consumer: String?) -> Result<ReadAnswer, StoreFailure> {
    do throws(StoreFailure) {
      return .success(try answer(request, for: consumer))
    } catch {
      return .failure(error)
    }
  }

  private func answer(_ request: ReadRequest, for consumer: String?) throws(StoreFailure) -> ReadAnswer {
    var room = max(1, min(request.recordsMax, Limits.recordsPerAnswerMax))
    var answer = ReadAnswer()
    answer.storeID = storeID
    answer.epoch = epoch
    // A position that nobody was ever told is brought back to what there is.
    answer.next = Position(
      alarms: max(0, min(request.after.alarms, durable.alarms)),
      telemetry: max(0, min(request.after.telemetry, durable.telemetry)))
    if let since = request.sinceNs, request.telemetry {
      answer.next.telemetry = max(answer.next.telemetry, try sequence(before: since))
    }
    if request.alarms {
      let found = try readAlarms(after: answer.next.alarms, recordsMax: room)
      answer.alarmGaps = found.gaps
      answer.events = found.events
      answer.next.alarms = found.next
      answer.more = found.next < durable.alarms
      room -= found.records
    }
    if request.telemetry {
      if room > 0 {
        let found = try readTelemetry(
          after: answer.next.telemetry, recordsMax: room, wholeBlocks: request.wholeBlocks, for: consumer)
        answer.endsWhole = found.endsWhole
        answer.telemetryGaps = found.gaps
        answer.batches = found.batches
        answer.next.telemetry = found.next
      }
      answer.more = answer.more || answer.next.telemetry < durable.telemetry
    }
    if let consumer {
      cursors[consumer]?.told(alarmGaps: answer.alarmGaps, telemetryGaps: answer.telemetryGaps)
    }
    answer.clocks = try clocks(of: answer)
    return answer
  }

  /// The last sequence of the blocks that end before a time on the wall. Blocks of an epoch whose clock is not known
  /// count as not before it.
  private func sequence(before unixNs: Int64) throws(StoreFailure) -> Int64 {
    guard let ring else { return 0 }
    var before: Int64 = 0
    if let reserve = ring.reserve { before = try sequence(before: unixNs, in: reserve, reserve.numbers) }
    // Nothing of the reserve reaches it: the ring may.
    guard before >= ring.settledLast else { return before }
    return max(before, try sequence(before: unixNs, in: ring.ring, ring.numbers))
  }

  private func sequence(
    before unixNs: Int64, in table: BlockTable, _ numbers: ClosedRange<Int64>?
  ) throws(StoreFailure) -> Int64 {
    guard let log, let numbers else { return 0 }
    var before: Int64 = 0
    var low = numbers.lowerBound
    // Times go up within an epoch. Over epochs they need not: a clock may have been ten years off in one of them.
    while low <= numbers.upperBound {
      // A damaged block says nothing: from there on all is read.
      guard case .block(let first) = try table.info(low), let offset = try log.clock(of: first.epoch).offsetNs else {
        return before
      }
      var end = low
      let last = try lastBlock(in: low...numbers.upperBound, table) { $0.epoch == first.epoch }
      if let last { end = last.number }
      let passed = try lastBlock(in: low...end, table) { ($0.latest + offset).nanoseconds < unixNs }
      guard let passed else { return before }
      before = passed.last
      if passed.number < end { return before }
      low = end + 1
    }
    return before
  }

  /// The last of those at the beginning that are so.
  private func lastBlock(
    in numbers: ClosedRange<Int64>, _ table: BlockTable, where isSo: (BlockInfo) -> Bool
  ) throws(StoreFailure) -> BlockInfo? {
    var found: BlockInfo?
    var low = numbers.lowerBound
    var high = numbers.upperBound + 1
    while low < high {
      let middle = low + (high - low) / 2
      if case .block(let info) = try table.info(middle), isSo(info) {
        found = info
        low = middle + 1
      } else {
        high = middle
      }
    }
    return found
  }

  private func readAlarms(after: Int64, recordsMax: Int) throws(StoreFailure) -> AlarmAnswer {
    guard let log else { throw unavailable }
    do throws(StoreFailure) {
      return try log.read(after: after, recordsMax: recordsMax)
    } catch {
      logFailed(error)
      throw error
    }
  }

  private func readTelemetry(
    after: Int64, recordsMax: Int, wholeBlocks: Bool, for consumer: String?
  ) throws(StoreFailure) -> TelemetryAnswer {
    guard let ring else { throw unavailable }
    if ring.newest == nil, after < durable.telemetry {
      // The ring that held them is in quarantine, and nothing has come since.
      var next = after
      let others: GapReason = ring.losses.front.all.isEmpty ? .damaged : .evicted
      let gaps = ring.losses.front.pieces(after + 1, durable.telemetry, others: others).map { piece in
        defer { next = piece.to }
        return Gap(from: next + 1, to: piece.to, epoch: epoch, start: nil, end: nil, reason: piece.reason)
      }
      return TelemetryAnswer(gaps: gaps, next: durable.telemetry, records: gaps.count)
    }
    let isKnown = consumer.map { cursors[$0] != nil } ?? false
    var place = isKnown ? consumer.flatMap { cursors[$0]?.place } : anyonesPlace
    do throws(StoreFailure) {
      let rules = policy.retentionNs == nil ? nil : strideRules
      let answer = try ring.read(
        after: after, recordsMax: recordsMax, wholeBlocks: wholeBlocks, place: &place,
        isExpired: rules.map { rules in { rules.isExpired($0, $1) } })
      if isKnown, let consumer { cursors[consumer]?.place = place } else { anyonesPlace = place }
      return answer
    } catch {
      ringFailed(error)
      throw error
    }
  }

  private func clocks(of answer: ReadAnswer) throws(StoreFailure) -> [EpochClock] {
    var epochs = Set<UInt32>()
    for gap in answer.alarmGaps { epochs.insert(gap.epoch) }
    for gap in answer.telemetryGaps { epochs.insert(gap.epoch) }
    for event in answer.events { epochs.insert(event.epoch) }
    for batch in answer.batches { epochs.insert(batch.epoch) }
    guard !epochs.isEmpty else { return [] }
    guard let log else { throw unavailable }
    var clocks: [EpochClock] = []
    for epoch in epochs.sorted() { clocks.append(try log.clock(of: epoch)) }
    return clocks
  }

  func clocks(of epochs: [UInt32]) -> [EpochClock] { epochs.compactMap { try? log?.clock(of: $0) } }

  func acknowledge(_ position: Position, by consumer: String, at: Instant) {
    cursors[consumer]?.acknowledge(position, durable: durable, at: at)
  }

  func catalogue(_ version: UInt32) -> [UInt8]? { (try? log?.catalogue(version)) ?? nil }

  func log(_ events: [NewEvent]) -> Bool {
    guard intake.events.count + events.count <= Limits.eventsPendingMax else { return false }
    for event in events { _ = intake.take(event) }
    commit(all: false)
    return true
  }

  func alarms() -> [StoredAlarm] { (try? log?.states()) ?? [] }

  func report() -> StoreReport {
    var report = StoreReport()
    report.storeID = storeID
    report.epoch = epoch
    report.state = state
    report.durable = durable
    report.oldest = Position(alarms: durable.alarms + 1, telemetry: durable.telemetry + 1)
    if let log {
      report.oldest.alarms = log.oldestSequence
      report.storedEvents = log.newest - log.oldestSequence + 1
    }
    if let ring {
      report.losses = (try? ring.account()) ?? StoreLosses(ring.losses)
      report.losses.overflow = lostBefore + intake.lostSamples
      report.flashDays = ring.flash.days
      report.flashBytes = ring.flash.totalBytes
    }
    if let ring, let newest = ring.newest, let oldest = (try? ring.oldest()) ?? nil,
      let served = (try? ring.oldestOfRing()) ?? nil
    {
      report.oldest.telemetry = oldest.firstSequence
      let book = ring.losses
      report.reservedSamples = book.reserved
      report.storedSamples = newest.ordinal + Int64(newest.count) - served.ordinal - book.removed - book.damagedInRing
        + book.reserved
      report.oldestAt = oldest.earliest
      report.oldestEpoch = oldest.epoch
    }
    report.evictedSamples = report.losses.evicted
    report.pendingSamples = intake.pendingSamples
    report.acceptedSamples = intake.acceptedSamples
    report.acceptedEvents = intake.acceptedEvents
    report.lostSamples = intake.lostSamples
    report.isFlood = intake.isFlood(at: Instant(nanoseconds: kerb_monotonic_ns()))
    report.bytes = ((try? log?.bytes) ?? 0) + (ring?.bytes ?? 0)
    report.fileBytes = ((try? log?.bytes) ?? 0) + ((try? ring?.fileBytes) ?? 0)
    report.capacityBytes = Int64(configuration.telemetryBytes + configuration.alarmBytes)
    report.commits = commits
    report.failures = failures
    report.lastFailure = lastFailure?.description ?? ""
    report.isPrepared = isPrepared
    report.consumers = cursors.sorted { $0.key < $1.key }.map { name, cursor in
      let reach = cursor.reach(durable: durable)
      let lag = max(0, durable.alarms - reach.alarms) + max(0, durable.telemetry - reach.telemetry)
      var told = ConsumerReport(
        name: name, held: cursor.held, lagRecords: lag, gapRecords: cursor.gapRecords, lastSeen: cursor.lastSeen)
      told.oldestUnread = oldestUnread(after: reach.telemetry)
      return told
    }
    return report
  }

  private func oldestUnread(after held: Int64) -> (at: Instant, epoch: UInt32)? {
    guard let ring, held < durable.telemetry else { return nil }
    let isInReserve = held < ring.settledLast
    guard let table = isInReserve ? ring.reserve : ring.ring,
      let numbers = isInReserve ? table.numbers : ring.numbers,
      let number = try? table.first(from: held + 1, in: numbers), case .block(let info)? = try? table.info(number)
    else { return nil }
    return (info.earliest, info.epoch)
  }
}
