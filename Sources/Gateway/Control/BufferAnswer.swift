// What `kerb buffer` and `kerb export` are told, by the running agent and of a store at rest alike. Pure.

import CLinux
import FieldBus
import Glibc
import Store
import StreamCore

/// What is written to the flash, as far as the kernel shows it.
struct FlashFacts {
  /// By this process, since it started: what it made dirty, without the file system's own.
  var writtenBytes: Int64 = 0
  /// Of an eMMC: tenths of its life that are used (JESD84-B51, 7.4.32 and 7.4.33), and whether its spare
  /// blocks are: 1 hardly, 2 to four fifths, 3 nearly all.
  var lifeUsedTenths: Int?
  var spareState: Int?
  /// Terabytes that it bears, as the configuration or the board says.
  var enduranceTBW: Double?

  static func read(_ configuration: Configuration) -> FlashFacts {
    var facts = FlashFacts()
    facts.enduranceTBW = configuration.enduranceTBW
    let statePath = configuration.statePath
    let counters = (try? TextFile.read("/proc/self/io", bytesMax: 4_096)) ?? ""
    for line in counters.split(separator: "\n") where line.hasPrefix("write_bytes: ") {
      facts.writtenBytes = Int64(line.dropFirst(13)) ?? 0
    }
    var status = stat()
    guard stat(statePath, &status) == 0 else { return facts }
    let number = UInt64(status.st_dev)
    let (major, minor) = (number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00)
    // A partition's disk is one folder up.
    for up in ["", "/.."] {
      let folder = "/sys/dev/block/\(major):\(minor)\(up)/device"
      guard let life = try? TextFile.read("\(folder)/life_time", bytesMax: 64) else { continue }
      let parts = life.split { $0 == " " || $0 == "\n" }.compactMap { Int($0.dropFirst(2), radix: 16) }
      facts.lifeUsedTenths = parts.max()
      let spare = try? TextFile.read("\(folder)/pre_eol_info", bytesMax: 64)
      facts.spareState = spare.flatMap { Int($0.split(separator: "\n").first?.dropFirst(2) ?? "", radix: 16) }
    }
    return facts
  }
}

enum BufferAnswer {
  /// A rate of this run is told from then on.
  static let rateFromNs: Int64 = 3_600_000_000_000

  /// `uptimeNs`: nil of a store at rest, where nothing has been counted.
  static func write(
    _ report: StoreReport, _ timeline: Timeline, _ flash: FlashFacts, uptimeNs: Int64?, into writer: inout JSONWriter
  ) {
    writer.object { root in
      root.member("running", uptimeNs != nil)
      root.member("store", report.storeID)
      root.member("state", report.state.rawValue)
      root.key("held")
      root.object {
        $0.member("samples", report.storedSamples)
        $0.member("reserved", report.reservedSamples)
        $0.member("events", report.storedEvents)
        $0.member("pending", report.pendingSamples)
        $0.member("bytes", report.bytes)
        $0.member("file_bytes", report.fileBytes)
        $0.member("capacity_bytes", report.capacityBytes)
        $0.key("since")
        if let oldest = report.oldestAt, let ms = timeline.unixMs(oldest, epoch: report.oldestEpoch) {
          $0.seconds(milliseconds: ms)
        } else {
          $0.null()
        }
      }
      root.key("gone")
      root.object {
        let losses = report.losses
        $0.member("evicted", losses.evicted)
        $0.member("thinned", losses.thinned)
        $0.member("overflow", losses.overflow)
        $0.member("unsaved", losses.unsaved)
        $0.member("damaged", losses.damaged)
        $0.member("retention", losses.retention)
      }
      root.key("consumers")
      root.array { list in for consumer in report.consumers { write(consumer, timeline, into: &list) } }
      root.key("flash")
      root.object { write(report, flash, uptimeNs, into: &$0) }
      root.member("commits", report.commits)
      root.member("failures", report.failures)
      if !report.lastFailure.isEmpty { root.member("last_failure", report.lastFailure) }
      root.member("prepared", report.isPrepared)
    }
  }

  private static func write(
    _ report: StoreReport, _ flash: FlashFacts, _ uptimeNs: Int64?, into writer: inout JSONWriter
  ) {
    if let uptimeNs {
      writer.member("written_bytes", flash.writtenBytes)
      // Before, it is the files' first filling, and says nothing of a day.
      if uptimeNs >= rateFromNs {
        let days = Double(uptimeNs) / 86_400e9
        writer.member("written_bytes_per_day", Int64(min(1e18, Double(flash.writtenBytes) / days)))
      }
    }
    writer.member("total_bytes", report.flashBytes)
    writer.key("days")
    writer.array { list in
      for (day, bytes) in report.flashDays.sorted(by: { $0.key < $1.key }) {
        list.object {
          $0.key("day")
          $0.seconds(milliseconds: day &* 86_400_000)
          $0.member("bytes", bytes)
        }
      }
    }
    if let tbw = flash.enduranceTBW {
      writer.member("endurance_tbw", tbw)
      if let years = FlashPlan.years(bytesPerDay: report.rate(flash, uptimeNs), enduranceTBW: tbw) {
        writer.member("life_years", (years * 10).rounded() / 10)
      }
    }
    if let tenths = flash.lifeUsedTenths { writer.member("life_used_percent_max", min(10, tenths) * 10) }
    if let spare = flash.spareState { writer.member("spare_state", spare) }
  }

  private static func write(_ consumer: ConsumerReport, _ timeline: Timeline, into writer: inout JSONWriter) {
    writer.object {
      $0.member("name", consumer.name)
      $0.member("lag_records", consumer.lagRecords)
      $0.member("held_alarms", consumer.held.alarms)
      $0.member("held_telemetry", consumer.held.telemetry)
      $0.key("oldest_unread")
      if let unread = consumer.oldestUnread, let ms = timeline.unixMs(unread.at, epoch: unread.epoch) {
        $0.seconds(milliseconds: ms)
      } else {
        $0.null()
      }
      $0.member("gaps", consumer.gapRecords)
      $0.key("last_seen_age_s")
      if let seen = consumer.lastSeen {
        $0.seconds(milliseconds: max(0, (timeline.now - seen) / 1_000_000))
      } else {
        $0.null()
      }
    }
  }

  static func write(_ answer: VerifyAnswer, into writer: inout JSONWriter) {
    writer.object {
      $0.member("blocks", answer.blocks)
      $0.member("samples", answer.samples)
      $0.member("events", answer.events)
      $0.key("damaged_blocks")
      $0.array { for number in answer.damagedBlocks { $0.integer(number) } }
      $0.key("damaged_reserve_blocks")
      $0.array { for number in answer.damagedReserveBlocks { $0.integer(number) } }
      $0.member("damaged_events", answer.damagedEvents)
      if let next = answer.next { $0.member("next", next) }
    }
  }
}

extension StoreReport {
  /// Bytes a day: of the whole days that are known, the first and the present one apart; else since the start, after an
  /// hour. 0: too early to tell.
  fileprivate func rate(_ flash: FlashFacts, _ uptimeNs: Int64?) -> Double {
    let whole = flashDays.sorted { $0.key < $1.key }.dropFirst().dropLast()
    if !whole.isEmpty { return Double(whole.reduce(0) { $0 + $1.value }) / Double(whole.count) }
    guard let uptimeNs, uptimeNs >= BufferAnswer.rateFromNs else { return 0 }
    return Double(flash.writtenBytes) / (Double(uptimeNs) / 86_400e9)
  }
}

/// What `kerb export` asks for: one page of telemetry.
struct ExportRequest {
  var after: Int64 = 0
  var sinceMs: Int64?
  var untilMs: Int64?
  var dialect = RecordDialect.kerb
  /// Pseudonyms are wanted, too.
  var isPersonal = false

  init(_ request: JSONValue) {
    func number(_ name: String) -> Int64? { request[name]?.string.flatMap { Int64($0) } ?? request[name]?.integer }
    after = max(0, number("after") ?? 0)
    sinceMs = number("since_ms")
    untilMs = number("until_ms")
    isPersonal = request["personal"]?.string == "yes"
    dialect = request["format"]?.string == "senml" ? .senml : .kerb
  }

  var read: ReadRequest {
    var read = ReadRequest(
      after: Position(telemetry: after), alarms: false, telemetry: true, recordsMax: Limits.recordsPerReadMax)
    // A millisecond earlier: what is stored was cut down to one. The page leaves out what is before.
    read.sinceNs = sinceMs.map { ($0 &- 1).multipliedReportingOverflow(by: 1_000_000).partialValue }
    return read
  }

  /// The page: its records, what is missing, and where the next one begins. Personal points are left out without a
  /// `pseudonymKey`. `now`: of a running agent.
  func write(
    _ answer: ReadAnswer, catalogues: [UInt32: Catalogue], now: Instant?, pseudonymKey: [UInt8]? = nil,
    into writer: inout JSONWriter
  ) {
    // Of no running epoch: what is relative to now means nothing in a file. Without wall time each record has `mono`.
    let timeline = Timeline(epoch: 0, now: now ?? .zero, clocks: answer.clocks)
    var isBeyond = !answer.batches.isEmpty
    writer.object { root in
      root.key("records")
      root.array { list in
        for batch in answer.batches {
          guard let catalogue = catalogues[batch.catalogueVersion] else { continue }
          let records = RecordWriter(
            catalogue: catalogue, timeline: timeline, pseudonymKey: pseudonymKey, dialect: dialect)
          for sample in batch.samples where catalogue.series.indices.contains(Int(sample.series)) {
            let ms = timeline.unixMs(sample.at, epoch: batch.epoch)
            if let ms, let untilMs, ms >= untilMs { continue }
            isBeyond = false
            if let ms, let sinceMs, ms < sinceMs { continue }
            if pseudonymKey == nil, catalogue.series[Int(sample.series)].personal { continue }
            records.write(
              sample, texts: batch.texts, epoch: batch.epoch, windows: batch.windows, into: &list)
          }
        }
      }
      root.key("gaps")
      root.array { list in
        for gap in answer.telemetryGaps {
          list.object {
            $0.member("from", gap.from)
            $0.member("to", gap.to)
            $0.member("reason", gap.reason.name)
          }
        }
      }
      if let now {
        root.key("mono")
        root.seconds(milliseconds: Timeline.floorMs(now.nanoseconds))
      }
      root.member("next", answer.next.telemetry)
      // Beyond the end nothing comes that is asked for: times go up within an epoch, and behind the newest is none.
      root.member("more", answer.more && !(isBeyond && answer.batches.last?.epoch == answer.epoch))
    }
  }
}
