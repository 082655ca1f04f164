// GET /metrics: what Prometheus scrapes. Of the field a consumer is shown what is in its scope; of the platforms
// itself, or all of them if it has the right (`metrics = "all"`). Lives on the event loop, for one request.

import FieldBus
import NIOCore
import Store
import StreamCore

struct MetricsPage {
  let desk: PullDesk
  let consumer: Consumer

  private var seesAll: Bool { consumer.spec.seesAllDevices }
  private var seesOthers: Bool { consumer.spec.metrics == .all }

  func write(_ request: PullRequest, _ reply: @escaping (PullAnswer) -> Void) throws(PullRefusal) {
    _ = try request.arguments()
    let bound = NIOLoopBound(reply, eventLoop: desk.loop)
    desk.facts { facts in
      var writer = MetricsWriter()
      self.process(into: &writer)
      self.field(into: &writer)
      self.store(facts, into: &writer)
      self.upstream(facts, into: &writer)
      bound.value(PullAnswer(status: .ok, contentType: MediaType.openMetrics.rawValue, body: writer.bytes))
    }
  }

  // MARK: The process

  private func process(into writer: inout MetricsWriter) {
    let facts = ProcessFacts.read()
    writer.family("kerb_build_info", .gauge, "The version of the agent.") {
      $0.sample(1, ("gateway", desk.gatewayID), ("version", Version.text))
    }
    writer.gauge("kerb_uptime_seconds", "Since the start of the agent.", Double(desk.now() - desk.startedAt) / 1e9)
    writer.gauge("process_resident_memory_bytes", "Memory in RAM.", Double(facts.residentBytes))
    writer.gauge("kerb_private_memory_bytes", "The part of it that is the agent's own.", Double(facts.privateBytes))
    writer.gauge("kerb_threads", "Threads.", Double(facts.threads))
  }

  // MARK: The field

  private func field(into writer: inout MetricsWriter) {
    let catalogue = desk.shelf.present.catalogue
    let scope = desk.shelf.present.scope(of: consumer)
    let devices = (0..<min(catalogue.devices.count, desk.field.deviceCount)).filter(scope.allows(device:))
      .map(desk.field.device)
    let names = Set(devices.map(\.bus))
    let buses = (0..<desk.field.busCount).map(desk.field.bus).filter { seesAll || names.contains($0.name) }
    write(buses, into: &writer)
    write(devices, into: &writer)
    var qualities = [Int](repeating: 0, count: 4)
    for number in 0..<min(catalogue.pointCount, desk.field.pointCount) where scope.allows(series: number) {
      qualities[Int(desk.field.point(number).quality.rawValue)] += 1
    }
    writer.family("kerb_points", .gauge, "Points by the quality of their latest value.") {
      for quality in [Quality.good, .uncertain, .bad, .stale] {
        $0.sample(Double(qualities[Int(quality.rawValue)]), ("quality", quality.word))
      }
    }
  }

  private func write(_ buses: [BusReport], into writer: inout MetricsWriter) {
    func gauge(_ name: String, _ help: String, _ value: (BusReport) -> Double) {
      writer.family("kerb_bus_\(name)", .gauge, help) { for bus in buses { $0.sample(value(bus), ("bus", bus.name)) } }
    }
    func counter(_ name: String, _ help: String, _ value: (BusReport) -> Int64) {
      writer.family("kerb_bus_\(name)_total", .counter, help) {
        for bus in buses { $0.sample(Double(value(bus)), ("bus", bus.name)) }
      }
    }
    gauge("up", "1: the line is open and served.") { $0.state == .running ? 1 : 0 }
    gauge("utilisation_ratio", "Part of the last ten seconds in which the wire was in use.") { $0.utilisation }
    gauge("efficiency_ratio", "Ideal wire time of what was asked by the time that it took.") { $0.efficiency }
    gauge("cycle_seconds", "The last full round through everything due.") { $0.cycleMs / 1_000 }
    gauge("stretch_ratio", "How far the intervals are stretched; 1 is in time.") { $0.stretch }
    counter("transactions", "Requests sent.") { $0.transactions }
    writer.family("kerb_bus_results_total", .counter, "What became of the requests.") {
      for bus in buses {
        for (result, count) in [
          ("good", bus.good), ("timeout", bus.timeouts), ("crc_error", bus.crcErrors), ("exception", bus.exceptions),
          ("other", bus.otherErrors),
        ] { $0.sample(Double(count), ("bus", bus.name), ("result", result)) }
      }
    }
    counter("late_replies", "Replies that came after their time.") { $0.lateReplies }
    counter("stray_bytes", "Bytes that belong to no reply.") { $0.strayBytes }
    counter("reopened", "Openings of the port after the first.") { $0.reopened }
    counter("samples_produced", "Samples and events that the bus made.") { $0.produced }
    counter("samples_lost", "Of these, lost before the store and reported as gaps.") { $0.lost }
  }

  private func write(_ devices: [DeviceReport], into writer: inout MetricsWriter) {
    writer.family("kerb_device_up", .gauge, "1: online, 0: offline; absent: not asked yet.") {
      for device in devices where device.state != .unknown {
        $0.sample(device.state == .online ? 1 : 0, ("device", device.name), ("kind", device.kind), ("bus", device.bus))
      }
    }
    writer.family("kerb_device_results_total", .counter, "What became of the requests to the device.") {
      for device in devices {
        for (result, count) in [
          ("good", device.good), ("timeout", device.timeouts), ("crc_error", device.crcErrors),
          ("exception", device.exceptions),
        ] { $0.sample(Double(count), ("device", device.name), ("result", result)) }
      }
    }
    writer.family("kerb_device_last_seen_age_seconds", .gauge, "Since its last good reply.") {
      for device in devices {
        if let seen = device.lastSeen { $0.sample(Double(max(0, desk.now() - seen)) / 1e9, ("device", device.name)) }
      }
    }
  }

  // MARK: The store

  private func store(_ facts: DeskFacts, into writer: inout MetricsWriter) {
    let report = facts.report
    let alarms = facts.alarms.filter { facts.isShown($0, to: consumer, desk: desk) }
    writer.family("kerb_alarms", .gauge, "Alarms whose condition holds, and those that nobody has acknowledged.") {
      $0.sample(Double(alarms.count { $0.event.state.isActive }), ("state", "active"))
      $0.sample(
        Double(alarms.count { $0.event.state == .unacknowledged || $0.event.state == .returnedUnacknowledged }),
        ("state", "unacknowledged"))
    }
    writer.gauge("kerb_buffer_up", "1: what arrives becomes durable.", report.state == .good ? 1 : 0)
    writer.gauge("kerb_buffer_samples", "Samples stored.", Double(report.storedSamples))
    writer.gauge("kerb_buffer_events", "Alarm events stored.", Double(report.storedEvents))
    writer.gauge("kerb_buffer_pending_samples", "Taken over and not yet durable.", Double(report.pendingSamples))
    writer.gauge("kerb_buffer_used_bytes", "In use.", Double(report.bytes))
    writer.gauge("kerb_buffer_capacity_bytes", "Of both files.", Double(report.capacityBytes))
    writer.counter("kerb_buffer_evicted_samples_total", "Overwritten since the store was made.", report.evictedSamples)
    writer.counter(
      "kerb_buffer_damaged_samples_total", "Lost by a sick disk since the store was made.", report.losses.damaged)
    writer.counter("kerb_buffer_lost_samples_total", "Lost between buses and store, since start.", report.lostSamples)
    writer.counter("kerb_buffer_commits_total", "Commits since start.", report.commits)
    writer.counter("kerb_buffer_failures_total", "Failed commits, reads and openings.", report.failures)
    let shown = report.consumers.filter { seesOthers || $0.name == consumer.name }
    writer.family("kerb_consumer_lag_records", .gauge, "Durable, not yet acknowledged, of a lane that it may see.") {
      for each in shown { $0.sample(Double(each.lagRecords), ("consumer", each.name)) }
    }
    writer.family("kerb_consumer_gap_records_total", .counter, "Reported as gaps and acknowledged.") {
      for each in shown { $0.sample(Double(each.gapRecords), ("consumer", each.name)) }
    }
    writer.family("kerb_consumer_last_seen_age_seconds", .gauge, "Since its last acknowledgement in this run.") {
      for each in shown {
        if let seen = each.lastSeen { $0.sample(Double(max(0, desk.now() - seen)) / 1e9, ("consumer", each.name)) }
      }
    }
  }

  // MARK: Upstream

  private func upstream(_ facts: DeskFacts, into writer: inout MetricsWriter) {
    let traffic = desk.traffic
    let shown = traffic.consumers.filter { seesOthers || $0.key == consumer.name }.sorted { $0.key < $1.key }
    writer.family("kerb_consumer_requests_total", .counter, "Requests with its token.") {
      for (name, each) in shown { $0.sample(Double(each.requests), ("consumer", name)) }
    }
    writer.family("kerb_consumer_answer_bytes_total", .counter, "Bytes of the answers to it, before compression.") {
      for (name, each) in shown { $0.sample(Double(each.answerBytes), ("consumer", name)) }
    }
    writer.family("kerb_consumer_commands_total", .counter, "Its commands, by what became of them.") {
      for (name, each) in shown {
        for (result, count) in each.commands.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
          $0.sample(Double(count), ("consumer", name), ("result", result.rawValue))
        }
      }
    }
    if seesOthers { push(into: &writer) }
    writer.family("kerb_http_answers_total", .counter, "Answers by status.") {
      for (status, count) in traffic.answers.sorted(by: { $0.key < $1.key }) {
        $0.sample(Double(count), ("code", "\(status)"))
      }
    }
    writer.family("kerb_http_refusals_total", .counter, "What was refused, by reason.") {
      for refusal in Refusal.allCases { $0.sample(Double(desk.refusals.count(refusal)), ("reason", refusal.word)) }
    }
    if let expires = facts.counts.certificateExpires {
      writer.gauge(
        "kerb_certificate_not_after_timestamp_seconds", "The last moment of the TLS certificate.", Double(expires))
    }
    let limits = UpstreamLimit.all(facts.counts, desk)
    writer.family("kerb_limit", .gauge, "The limits of the pull interface; spans in seconds.") {
      for limit in limits { $0.sample(limit.value, ("limit", limit.name)) }
    }
    writer.family("kerb_limit_used", .gauge, "What is used of them now, where that is a number of things.") {
      for limit in limits { if let used = limit.used { $0.sample(used, ("limit", limit.name)) } }
    }
  }
}

/// A bound of `Limits`, section «Upstream», as /metrics shows it.
struct UpstreamLimit {
  /// Its name there.
  var name: String
  var value: Double
  var used: Double?

  static func all(_ counts: PullCounts, _ desk: PullDesk) -> [UpstreamLimit] {
    func count(_ name: String, _ value: Int, _ used: Int? = nil) -> UpstreamLimit {
      UpstreamLimit(name: name, value: Double(value), used: used.map { Double($0) })
    }
    func span(_ name: String, _ ns: Int64) -> UpstreamLimit { UpstreamLimit(name: name, value: Double(ns) / 1e9) }
    return [
      count("connectionsMax", Limits.connectionsMax, counts.connections),
      count("connectionsPerAddressMax", Limits.connectionsPerAddressMax, counts.connectionsOfBusiestAddress),
      count("connectionsPerConsumerMax", Limits.connectionsPerConsumerMax, counts.connectionsOfBusiestConsumer),
      count("connectionsTurnedAwayMax", Limits.connectionsTurnedAwayMax),
      count("headerBytesMax", Limits.headerBytesMax), count("targetBytesMax", Limits.targetBytesMax),
      count("bodyBytesMax", Limits.bodyBytesMax),
      span("headerNsMax", Limits.headerNsMax), span("idleNsMax", Limits.idleNsMax),
      count("longPollsMax", Limits.longPollsMax, counts.waiting),
      count("longPollsPerConsumerMax", Limits.longPollsPerConsumerMax, counts.waitingOfBusiestConsumer),
      count("waitSecondsMax", Limits.waitSecondsMax), count("requestsWaitingMax", Limits.requestsWaitingMax),
      count("requestsPerSecondMax", Limits.requestsPerSecondMax),
      count("requestsBurstMax", Limits.requestsBurstMax),
      count("platformCommandsMax", Limits.platformCommandsMax, desk.commands.underWay),
      span("platformCommandNs", Limits.platformCommandNs),
      count("commandsPerSecondMax", Limits.commandsPerSecondMax), count("commandsBurstMax", Limits.commandsBurstMax),
      count("commandKeysMax", Limits.commandKeysMax, desk.commandBook.keysMost),
      span("commandKeyNs", Limits.commandKeyNs), count("commandKeyBytesMax", Limits.commandKeyBytesMax),
      count("commandAnswerBytesMax", Limits.commandAnswerBytesMax),
      count("commandValueBytesMax", Limits.commandValueBytesMax),
      count("guessesFree", Limits.guessesFree), span("guessDelayNs", Limits.guessDelayNs),
      count("guessersMax", Limits.guessersMax, desk.traffic.guessers.count),
      span("guesserForgottenNs", Limits.guesserForgottenNs),
      count("recordsPerAnswerDefault", Limits.recordsPerAnswerDefault),
      count("recordsPerAnswerMax", Limits.recordsPerAnswerMax), count("answerBytesMax", Limits.answerBytesMax),
      count("answersBytesMax", Limits.answersBytesMax, desk.room.usedBytes),
      count("answerBytesMin", Limits.answerBytesMin), count("answerPieceBytes", Limits.answerPieceBytes),
      count("deliveriesAtWorkMax", Limits.deliveriesAtWorkMax, desk.turns.atWorkCount),
      count("recordFormsBytesMax", Limits.recordFormsBytesMax),
      count("recordsPerBatchMax", Limits.recordsPerBatchMax), count("recordsPerReadMax", Limits.recordsPerReadMax),
      count("recordsScannedPerAnswerMax", Limits.recordsScannedPerAnswerMax),
      count("gapHeadersMax", Limits.gapHeadersMax), count("compressBytesMin", Limits.compressBytesMin),
      count("compressionBytes", Limits.compressionBytes),
      count("tlsBytesPerConnection", Limits.tlsBytesPerConnection),
      count("compressionsMax", Limits.compressionsMax, desk.compressions),
      count("compressBytesPerTurn", Limits.compressBytesPerTurn),
      count("cataloguesCachedMax", Limits.cataloguesCachedMax, desk.shelf.count),
      count("socketReadBytes", Limits.socketReadBytes), span("farewellNs", Limits.farewellNs),
      span("healthNs", Limits.healthNs), span("refusalLogNs", Limits.refusalLogNs),
      count("jsonDepthMax", Limits.jsonDepthMax), count("certificateBytesMax", Limits.certificateBytesMax),
      span("certificateLookNs", Limits.certificateLookNs),
      count("certificateWarnSeconds", Int(Limits.certificateWarnSeconds)),
    ]
  }
}
