// The state of the whole house at one moment, and its JSON: what `kerb status` shows. A value; the keys are a
// contract.

import FieldBus
import Store
import StreamCore

package struct GatewayStatus: Sendable {
  package var gateway = ""
  package var uptimeNs: Int64 = 0
  package var clockSynchronised = false
  /// The board's name, if the configuration has one.
  package var board: String?
  package var missingPorts: [PortPresence.Missing] = []
  package var commission: CommissionRecord?
  package var troubles: [Trouble] = []
  package var buses: [BusReport] = []
  package var devices: [DeviceReport] = []
  /// By `Quality.rawValue`.
  package var pointQualities = [Int](repeating: 0, count: 4)
  package var store = StoreReport()
  /// The store did not answer in time: `store` is what it said last.
  package var isStoreSilent = false
  package var alarms: [StoredAlarm] = []
  /// Events of the box's own alarms since the start.
  package var houseProduced: Int64 = 0
  package var earlier = Earlier()
  package var pull: PullCounts?
  package var pushes: [PushReport] = []
  package var arenaBytes = 0
  package var process = ProcessFacts()
  package var timeline = Timeline(epoch: 0, now: .zero, clocks: [])

  package init() {}

  package func write(into writer: inout JSONWriter) {
    writer.object { root in
      root.member("gateway", gateway)
      root.member("version", Version.text)
      root.key("uptime_s")
      root.seconds(milliseconds: uptimeNs / 1_000_000)
      root.member("epoch", store.epoch)
      root.member("store", store.storeID)
      root.member("clock_synchronised", clockSynchronised)
      if let board { root.member("board", board) }
      if let commission {
        root.key("commission")
        root.commission(commission)
      }
      root.key("missing_ports")
      root.array { list in for port in missingPorts { list.write(port) } }
      root.key("troubles")
      root.troubles(troubles)
      root.key("buses")
      root.array { list in
        for bus in buses { list.write(bus, Verdict(bus, devices.filter { $0.bus == bus.name })) }
      }
      root.counts(of: devices, qualities: pointQualities)
      root.key("alarms")
      root.object {
        $0.member("active", alarms.count { AlarmFilter.active.admits($0.event) })
        $0.member("unacknowledged", alarms.count { AlarmFilter.unacknowledged.admits($0.event) })
        $0.member("shelved", alarms.count { AlarmFilter.shelved.admits($0.event) })
        $0.member("out_of_service", alarms.count { AlarmFilter.outOfService.admits($0.event) })
        $0.member("flood", store.isFlood)
      }
      root.key("buffer")
      root.object(writeBuffer)
      root.key("consumers")
      root.array { list in for consumer in store.consumers { writeConsumer(consumer, into: &list) } }
      if let pull {
        root.key("pull")
        root.object {
          $0.member("connections", pull.connections)
          $0.member("waiting", pull.waiting)
          $0.member("refused_tokens", pull.refused(.unknownToken))
          if let expires = pull.certificateExpires { $0.member("certificate_expires", expires) }
        }
      }
      root.key("memory")
      root.object {
        $0.member("arena_bytes", arenaBytes)
        $0.member("rss_bytes", process.residentBytes)
        $0.member("private_bytes", process.privateBytes)
      }
      root.member("threads", process.threads)
    }
  }

  private func writeBuffer(into writer: inout JSONWriter) {
    writer.member("state", isStoreSilent ? "silent" : store.state.rawValue)
    writer.member("samples", store.storedSamples)
    writer.member("events", store.storedEvents)
    writer.member("bytes", store.bytes)
    writer.member("capacity_bytes", store.capacityBytes)
    writer.key("oldest")
    if let oldest = store.oldestAt, let ms = timeline.unixMs(oldest, epoch: store.oldestEpoch) {
      writer.seconds(milliseconds: ms)
    } else {
      writer.null()
    }
    writer.member("evicted", store.evictedSamples)
    writer.member("damaged", store.losses.damaged)
    // Since this start: what the buses made, what they lost, what the store took over.
    writer.member("produced", buses.reduce(houseProduced + earlier.produced) { $0 + $1.produced })
    writer.member("lost", buses.reduce(earlier.lost) { $0 + $1.lost })
    writer.member("accepted", store.acceptedSamples + store.acceptedEvents + earlier.accepted)
    writer.member("pending", store.pendingSamples)
    writer.member("stored", store.storedSamples + store.storedEvents)
    writer.key("durable")
    writer.object {
      $0.member("alarms", store.durable.alarms)
      $0.member("telemetry", store.durable.telemetry)
    }
    writer.member("commits", store.commits + earlier.commits)
    writer.member("failures", store.failures + earlier.failures)
    if !store.lastFailure.isEmpty { writer.member("last_failure", store.lastFailure) }
    writer.member("prepared", store.isPrepared)
  }

  private func writeConsumer(_ consumer: ConsumerReport, into writer: inout JSONWriter) {
    writer.object {
      $0.member("name", consumer.name)
      $0.member("lag_records", consumer.lagRecords)
      $0.member("gaps", consumer.gapRecords)
      $0.key("last_seen")
      if let seen = consumer.lastSeen, let ms = timeline.unixMs(seen, epoch: timeline.epoch) {
        $0.seconds(milliseconds: ms)
      } else {
        $0.null()
      }
      $0.key("last_seen_age_s")
      if let seen = consumer.lastSeen {
        $0.seconds(milliseconds: max(0, (timeline.now - seen) / 1_000_000))
      } else {
        $0.null()
      }
      if let answers = pull?.unacknowledged[consumer.name] { $0.member("unacknowledged_answers", answers) }
      if let push = pushes.first(where: { $0.name == consumer.name }) {
        $0.key("push")
        $0.write(push)
      }
    }
  }
}

extension JSONWriter {
  fileprivate mutating func write(_ port: PortPresence.Missing) {
    object {
      $0.member("bus", port.bus)
      $0.member("device", port.device)
      $0.key("label")
      $0.object { for language in port.label.keys.sorted() { $0.member(language, port.label[language] ?? "") } }
    }
  }

  fileprivate mutating func write(_ bus: BusReport, _ verdict: Verdict) {
    object {
      $0.member("name", bus.name)
      $0.member("state", bus.state.rawValue)
      if !bus.problem.isEmpty { $0.member("problem", bus.problem) }
      $0.key("verdict")
      $0.object {
        $0.member("code", verdict.code)
        $0.member("en", verdict.text)
        $0.member("zh", verdict.chineseText)
      }
      $0.member("utilisation", bus.utilisation)
      $0.member("efficiency", bus.efficiency)
      $0.member("cycle_ms", bus.cycleMs)
      $0.member("transactions", bus.transactions)
      $0.member("good", bus.good)
      $0.member("timeouts", bus.timeouts)
      $0.member("stretch", bus.stretch)
      $0.member("fences", bus.fences)
      $0.member("crc_errors", bus.crcErrors)
      $0.member("exceptions", bus.exceptions)
      $0.member("late_replies", bus.lateReplies)
      $0.member("stray_bytes", bus.strayBytes)
      $0.member("reopened", bus.reopened)
      $0.member("produced", bus.produced)
      $0.member("lost", bus.lost)
      $0.member("late_readings", bus.lateReadings)
      $0.member("missed_window", bus.missedWindow)
    }
  }
}
