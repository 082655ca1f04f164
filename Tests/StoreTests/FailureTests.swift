import CLinux
import Glibc
import StreamCore
import Testing

@testable import Store

@Suite("When storage fails, and after a cut")
struct FailureTests {
  @Test(
    "A cut at any moment loses nothing durable: the copy of the files goes on under a new epoch",
    arguments: 1...6 as ClosedRange<UInt64>)
  func cut(seed: UInt64) async throws {
    var random = Seeded(seed)
    let folder = Folder()
    let site = try Site(configuration(folder))
    var copies: [(Folder, Position, UInt32)] = []
    var next: Int64 = 1
    for step in 0..<30 {
      let count = Int64.random(in: 1...40, using: &random)
      await site.put(numbered(next..<(next + count)))
      next += count
      if Bool.random(using: &random) { try await site.flush() }
      if step % 4 == 3 { await site.raise(event(0, .unacknowledged, at: Int64(step))) }
      if step % 7 == 6 {
        let copy = Folder()
        let report = await site.copyFiles(from: folder, to: copy)
        copies.append((copy, report.durable, report.epoch))
      }
    }
    for (copy, durable, epoch) in copies {
      let after = try Site(configuration(copy))
      #expect(after.opening.storeID == site.opening.storeID)
      #expect(after.opening.epoch > epoch)
      let before = try await after.readAll()
      #expect(Int64(before.samples.count) >= durable.telemetry)
      #expect(Int64(before.events.count) >= durable.alarms)
      #expect(before.gaps.isEmpty && before.alarmGaps.isEmpty)
      for (sequence, sample) in before.samples { #expect(isRight(sample, sequence)) }
      let stored = Int64(before.samples.count)
      await after.put(numbered((stored + 1)..<(stored + 30)))
      try await after.flush()
      let all = try await after.readAll()
      #expect(Int64(all.samples.count) == stored + 29)
      #expect(all.epochs[stored] == epoch)
      #expect(all.epochs[stored + 1] == after.opening.epoch)
    }
  }

  @Test(
    "Conservation: accepted + lost = stored + evicted, and a reader sees each once or in a gap",
    arguments: 1...8 as ClosedRange<UInt64>)
  func conservation(seed: UInt64) async throws {
    var random = Seeded(seed &* 1_000)
    let folder = Folder()
    var site = try Site(configuration(folder, samplesPerBlock: 30))
    var account = Account()
    var next = Position()
    var produced: Int64 = 0
    var lost: Int64 = 0
    for _ in 0..<600 {
      switch Int.random(in: 0..<20, using: &random) {
      case 0:
        let count = Int.random(in: 1...50, using: &random)
        await site.lose(count, at: Instant(milliseconds: produced))
        produced += Int64(count)
        lost += Int64(count)
      case 1:
        site.stop()
        site = try Site(configuration(folder, samplesPerBlock: 30))
      case 2, 3, 4:
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          let answer = try await site.read(
            after: next, recordsMax: Int.random(in: 1...200, using: &random), for: "platform")
          account.add(answer)
          next = answer.next
          site.store.acknowledge(next, by: "platform", at: .zero)
        }
      default:
        let count = Int64.random(in: 1...60, using: &random)
        await site.put(numbered(produced..<(produced + count)))
        produced += count
        try await site.flush()
      }
    }
    try await site.flush()
    let report = await site.report()
    var rest = try await site.readAll(after: next)
    #expect(report.durable.telemetry == produced)
    #expect(account.duplicates + rest.duplicates == 0)
    let seen = account.samples.count + rest.samples.count
    #expect(Int64(seen) + account.missing + rest.missing == produced)
    rest = try await site.readAll()
    #expect(report.storedSamples == Int64(rest.samples.count))
    #expect(report.evictedSamples + report.storedSamples + lost == produced)
    #expect(report.evictedSamples > 0)
    #expect(report.pendingSamples == 0)
    for (sequence, sample) in account.samples { #expect(isRight(sample, sequence - 1)) }
    let held = try #require(await site.position(of: "platform"))
    #expect(held == next)
  }

  @Test("22 A thousand flipped bits: no wrong value is served, what is damaged is a gap or the store begins anew")
  func flips() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder, samplesPerBlock: 20))
    for block in 0..<60 as Range<Int64> {
      await site.put(numbered((block * 20 + 1)..<(block * 20 + 21)))
      try await site.flush()
    }
    await site.raise(event(0, .unacknowledged, at: 77))
    site.stop()
    let clean = bytes(of: folder.file("telemetry.db"))
    let alarms = bytes(of: folder.file("alarm.db"))
    var random = Seeded(4)
    var gaps = 0
    var renewed = 0
    for _ in 0..<50 {
      let copy = Folder()
      var damaged = clean
      for _ in 0..<20 {
        let bit = Int.random(in: 0..<(clean.count * 8), using: &random)
        damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      }
      write(damaged, to: copy.file("telemetry.db"))
      write(alarms, to: copy.file("alarm.db"))
      let after = try Site(configuration(copy))
      let account = try await after.readAll()
      for (sequence, sample) in account.samples { #expect(isRight(sample, sequence)) }
      if after.opening.storeID != site.opening.storeID {
        renewed += 1
        #expect(access(copy.file("quarantine/1/telemetry.db"), F_OK) == 0)
      } else {
        gaps += account.gaps.count
        let report = await after.report()
        #expect(Int64(account.samples.count) + account.missing == report.durable.telemetry)
        #expect(account.gaps.allSatisfy { $0.reason == .damaged })
      }
      await after.put(numbered(5_000..<5_010))
      let durable = try await after.flush()
      #expect(durable.telemetry >= 1_210)
    }
    #expect(gaps > 50)
    #expect(renewed < 40)
  }

  @Test("22 Bits flipped in alarm.db never make a wrong alarm, and never let an epoch come again")
  func alarmFlips() async throws {
    let folder = Folder()
    let site = try Site(configuration(folder))
    for index in 0..<100 as Range<Int64> {
      await site.raise(event(UInt16(index % 2), .unacknowledged, at: 1_000 + index))
    }
    await site.put(numbered(1..<10))
    site.stop()
    let alarms = bytes(of: folder.file("alarm.db"))
    let telemetry = bytes(of: folder.file("telemetry.db"))
    var random = Seeded(14)
    for _ in 0..<50 {
      let copy = Folder()
      var damaged = alarms
      for _ in 0..<5 {
        let bit = Int.random(in: 0..<(alarms.count * 8), using: &random)
        damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      }
      write(damaged, to: copy.file("alarm.db"))
      write(telemetry, to: copy.file("telemetry.db"))
      let after = try Site(configuration(copy))
      let account = try await after.readAll()
      for (sequence, stored) in account.events {
        #expect(stored.event.at == Instant(milliseconds: 999 + sequence))
        #expect(Int64(stored.event.alarm) == (sequence + 1) % 2)
      }
      if after.opening.storeID == site.opening.storeID {
        #expect(after.opening.epoch > site.opening.epoch)
        #expect(Int64(account.events.count) + account.alarmGaps.reduce(0) { $0 + $1.count } >= 100)
      }
      await after.raise(event(0, .acknowledged, at: 5))
      let report = await after.report()
      let last = try await after.readAll()
      #expect(report.durable.alarms == max(last.events.keys.max() ?? 0, last.alarmGaps.last?.to ?? 0))
    }
  }

  @Test("23 A file that is no database is moved away; alarms and cursors go on; three such sets are kept")
  func quarantine() async throws {
    let folder = Folder()
    var ids = Set<String>()
    for round in 0..<5 {
      let site = try Site(configuration(folder))
      ids.insert(site.opening.storeID)
      #expect(site.opening.alarms.count == (round == 0 ? 0 : 1))
      let held = try #require(await site.position(of: "platform"))
      let durable = await site.report().durable
      #expect(held.telemetry <= durable.telemetry)
      await site.put(numbered(1..<11))
      await site.raise(event(0, .unacknowledged, at: 1))
      let position = try await site.flush()
      #expect(position.telemetry >= durable.telemetry + 10)
      site.store.acknowledge(position, by: "platform", at: .zero)
      site.stop()
      write(Array("this is no database, whoever wrote it".utf8), to: folder.file("telemetry.db"))
    }
    #expect(ids.count == 5)
    for number in 1...3 { #expect(access(folder.file("quarantine/\(number)/telemetry.db"), F_OK) == 0) }
    #expect(access(folder.file("quarantine/4"), F_OK) != 0)
  }

  @Test("23 A deleted file makes a new store: no id of the old one comes again, and the other file is still read")
  func deleted() async throws {
    for name in ["telemetry.db", "alarm.db"] {
      let folder = Folder()
      let site = try Site(configuration(folder))
      await site.put(numbered(1..<11))
      await site.raise(event(0, .unacknowledged, at: 1))
      site.stop()
      unlink(folder.file(name))
      unlink(folder.file(name + "-wal"))
      let after = try Site(configuration(folder))
      #expect(after.opening.storeID != site.opening.storeID)
      await after.put(numbered(1..<11))
      try await after.flush()
      // Without its log the telemetry is still understood; without the telemetry the alarms are.
      let account = try await after.readAll()
      #expect(account.samples.count == (name == "alarm.db" ? 20 : 10))
      #expect(account.events.count == (name == "alarm.db" ? 0 : 1))
      #expect(account.missing == (name == "alarm.db" ? 0 : 10))
    }
  }

  @Test("23 A file of another box is not taken for ours")
  func swapped() async throws {
    let mine = Folder()
    let other = Folder()
    for folder in [mine, other] {
      let site = try Site(configuration(folder))
      await site.put(numbered(1..<11))
      site.stop()
    }
    for suffix in ["", "-wal"] {
      write(bytes(of: other.file("telemetry.db" + suffix)), to: mine.file("telemetry.db" + suffix))
    }
    let after = try Site(configuration(mine))
    let account = try await after.readAll()
    #expect(account.samples.isEmpty)
    #expect(account.gaps.map { [$0.from, $0.to] } == [[1, 10]])
    #expect(access(mine.file("quarantine/1/telemetry.db"), F_OK) == 0)
  }

  @Test("23 A whole alarm.db of another box is noticed by the boxes' names: it goes, our telemetry stays")
  func foreignAlarms() async throws {
    let mine = Folder()
    let other = Folder()
    var plan = configuration(mine)
    plan.gateway = "box-mine"
    var others = configuration(other)
    others.gateway = "box-other"
    let before = try Site(plan)
    await before.put(numbered(1..<11))
    await before.raise(event(0, .unacknowledged, at: 7))
    before.stop()
    let stranger = try Site(others)
    await stranger.put(numbered(1..<31))
    for at in 1...3 as ClosedRange<Int64> { await stranger.raise(event(1, .unacknowledged, at: 100 * at)) }
    stranger.stop()
    for suffix in ["", "-wal"] {
      write(bytes(of: other.file("alarm.db" + suffix)), to: mine.file("alarm.db" + suffix))
    }
    let after = try Site(plan)
    #expect(after.opening.storeID != before.opening.storeID && after.opening.storeID != stranger.opening.storeID)
    #expect(after.opening.epoch > before.opening.epoch)
    #expect(after.opening.alarms.isEmpty, "another box's alarms are not ours")
    let account = try await after.readAll()
    #expect(account.events.isEmpty)
    #expect(account.samples.count == 10 && account.samples.allSatisfy { isRight($0.value, $0.key) })
    #expect(access(mine.file("quarantine/1/alarm.db"), F_OK) == 0)
    #expect(access(mine.file("quarantine/1/telemetry.db"), F_OK) != 0)
    await after.put(numbered(11..<21))
    #expect(try await after.flush().telemetry == 20)
    after.stop()
    let again = try Site(plan)
    #expect(try await again.readAll().samples.count == 20)
    again.stop()
  }

  @Test("23 Another box's telemetry beside our alarms goes as ever; a box with a new name keeps both files")
  func foreignTelemetry() async throws {
    let mine = Folder()
    let other = Folder()
    var plan = configuration(mine)
    plan.gateway = "box-mine"
    var others = configuration(other)
    others.gateway = "box-other"
    for plan in [plan, others] {
      let site = try Site(plan)
      await site.put(numbered(1..<11))
      await site.raise(event(0, .unacknowledged, at: 7))
      site.stop()
    }
    for suffix in ["", "-wal"] {
      write(bytes(of: other.file("telemetry.db" + suffix)), to: mine.file("telemetry.db" + suffix))
    }
    let after = try Site(plan)
    let account = try await after.readAll()
    #expect(account.samples.isEmpty && account.events.count == 1)
    #expect(access(mine.file("quarantine/1/telemetry.db"), F_OK) == 0)
    after.stop()
    others.gateway = "box-renamed"
    let renamed = try Site(others)
    let kept = try await renamed.readAll()
    #expect(kept.samples.count == 10 && kept.events.count == 1)
    #expect(access(other.file("quarantine"), F_OK) != 0)
    renamed.stop()
  }
}
