import StreamCore

/// A pipeline of one bus in memory of its own, fed by hand, its batches collected.
final class PipelineRig {
  private let memory: UnsafeMutableRawPointer
  let channel: BatchChannel
  var pipeline: Pipeline
  var samples: [Sample] = []
  var texts: [[UInt8]] = []
  var events: [AlarmEvent] = []
  /// By event: who: what they wrote.
  var said: [String] = []
  var announcedLost = 0

  /// `windows`: in the points' order, as many as their rules say; their series follow those of the points, twenty
  /// apart.
  /// `conditioning`: of the points that name it.
  /// `suppressors`: by alarm, those that explain it. `left`: by alarm, how it was at the last stop.
  init(
    points: [PointRule], windows: [WindowRule] = [], conditioning: [ConditioningRule] = [],
    alarms: [(AlarmRule, [Instruction], [Instruction])] = [],
    suppressors: [[Int]] = [], left: [AlarmEvent?] = [], at startNs: Int64 = 0
  ) {
    var size = PipelineSize()
    size.points = points.count
    size.pointRules = points.count
    size.windows = windows.count
    size.windowRules = windows.count
    size.windowWords = windows.reduce(0) { $0 + $1.words }
    size.sketchWords = windows.reduce(0) { $0 + $1.sketchWords }
    size.conditioningRules = conditioning.count
    size.conditioningWords = points.reduce(0) {
      $0 + ($1.conditioning > 0 ? conditioning[Int($1.conditioning) - 1].words : 0)
    }
    size.alarms = alarms.count
    size.alarmRules = alarms.count
    size.suppressors = suppressors.reduce(0) { $0 + $1.count }
    size.codeWords = alarms.reduce(0) { $0 + Program.wordsMax($1.1.count) + Program.wordsMax($1.2.count) }
    let bytes = size.bytes + BatchChannel.bytes + 1_024
    memory = .allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    pipeline = Pipeline(size: size, arena: &arena, channel: channel)
    for (index, rule) in conditioning.enumerated() { pipeline.setConditioningRule(index, rule) }
    var window = 0
    var words = 0
    var windowWords = 0
    for (index, rule) in points.enumerated() {
      pipeline.setPointRule(index, rule)
      pipeline.setPoint(index, PointPlace(rule: index, series: index, firstWindow: window, words: words))
      if rule.conditioning > 0 { words += conditioning[Int(rule.conditioning) - 1].words }
      for _ in 0..<Int(rule.windowCount) {
        pipeline.setWindowRule(window, windows[window])
        pipeline.setWindow(
          window, WindowState(rule: window, point: index, firstSeries: points.count + 20 * window, words: windowWords))
        windowWords += windows[window].words
        window += 1
      }
    }
    var next = 0
    var relation = 0
    for (index, alarm) in alarms.enumerated() {
      pipeline.setAlarmRule(index, alarm.0)
      var place = AlarmPlace(rule: index, alarm: index)
      place.when = self.place(alarm.1, &next)
      place.clear = self.place(alarm.2, &next)
      place.firstSuppressor = UInt16(relation)
      place.isSuppressor = suppressors.contains { $0.contains(index) }
      for other in index < suppressors.count ? suppressors[index] : [] {
        pipeline.setSuppressor(relation, alarm: other)
        place.suppressorCount += 1
        relation += 1
      }
      pipeline.setAlarm(
        index, place, left: index < left.count ? left[index] : nil, at: Instant(nanoseconds: startNs))
    }
  }

  private func place(_ instructions: [Instruction], _ next: inout Int) -> Program {
    var words = [UInt64](repeating: 0, count: Program.wordsMax(instructions.count) + 1)
    var (program, count) = instructions.withUnsafeBufferPointer { source in
      words.withUnsafeMutableBufferPointer { Program.assemble(source, into: $0.baseAddress!) }
    }
    program.start = UInt32(next)
    for index in 0..<count { pipeline.setCode(next + index, words[index]) }
    next += count
    return program
  }

  deinit { memory.deallocate() }

  func feed(_ raw: Int64, point: Int = 0, quality: Quality = .good, at ns: Int64) {
    let now = Instant(nanoseconds: ns)
    pipeline.tick(at: now)
    pipeline.accept(point: point, raw: raw, quality: quality, text: .init(start: nil, count: 0), at: now)
    pipeline.evaluate(alarms: 0..<pipeline.size.alarms, at: now)
  }

  /// A reading that comes late: `at` lies before others, or it is replayed.
  func feedLate(_ raw: Int64, point: Int = 0, at ns: Int64, now: Int64, isReplayed: Bool = true) {
    pipeline.accept(
      point: point, raw: raw, quality: .good, text: .init(start: nil, count: 0), at: Instant(nanoseconds: ns),
      isReplayed: isReplayed)
    pipeline.evaluate(alarms: 0..<pipeline.size.alarms, at: Instant(nanoseconds: now))
  }

  func feed(text: String, at ns: Int64) {
    let bytes = Array(text.utf8)
    bytes.withUnsafeBufferPointer {
      pipeline.accept(point: 0, raw: 0, quality: .good, text: $0, at: Instant(nanoseconds: ns))
    }
  }

  func tell(_ alarm: Int, _ truth: Truth, at ns: Int64) {
    pipeline.tell(alarm: alarm, truth, at: Instant(nanoseconds: ns))
  }

  @discardableResult
  func order(
    _ order: AlarmOrder, _ alarm: Int = 0, serial: UInt32? = nil, until: Int64 = .max, by: String = "",
    note: String = "", at ns: Int64
  ) -> Pipeline.OrderOutcome {
    Array(by.utf8).withUnsafeBufferPointer { by in
      Array(note.utf8).withUnsafeBufferPointer { note in
        pipeline.order(
          order, alarm: alarm, serial: serial, until: Instant(nanoseconds: until), by: by, note: note,
          at: Instant(nanoseconds: ns))
      }
    }
  }

  func tick(_ ns: Int64) { pipeline.tick(at: Instant(nanoseconds: ns)) }

  func takeHandedOver() -> Bool { pipeline.takeHandedOver() }
  var nextDeadlineNs: Int64 { pipeline.nextDeadline.nanoseconds }
  var lost: Int64 { pipeline.lost }
  var produced: Int64 { pipeline.produced }

  /// Takes everything that was handed over, and what is in hand.
  func collect() {
    pipeline.handOver()
    while let batch = channel.next() {
      announcedLost += Int(batch.info.lostCount)
      for index in 0..<batch.sampleCount {
        let sample = batch.sample(index)
        samples.append(sample)
        texts.append(Array(batch.text(of: sample)))
      }
      for index in 0..<batch.eventCount {
        let event = batch.event(index)
        events.append(event)
        let (by, note) = batch.texts(of: event)
        said.append("\(String(decoding: by, as: UTF8.self)): \(String(decoding: note, as: UTF8.self))")
      }
      channel.release()
    }
  }
}

let secondNs: Int64 = 1_000_000_000

/// Seeded: a failing run can be repeated.
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
