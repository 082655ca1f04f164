// Instantiates every generic of this module: an allocation in one that nobody uses would go unnoticed by the compiler.

package enum Probe {
  /// A pipeline of one point, one window and one alarm, fed once. `memory`: at least `bytes` long, aligned to 64.
  package static func run(memory: UnsafeMutableRawPointer) -> Int64 {
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    var pipeline = Pipeline(size: size, arena: &arena, channel: channel)
    var conditioning = ConditioningRule()
    conditioning.spike = 3
    conditioning.maxRate = 1
    pipeline.setConditioningRule(0, conditioning)
    var point = PointRule()
    point.windowCount = 1
    point.conditioning = 1
    pipeline.setPointRule(0, point)
    pipeline.setPoint(0, PointPlace(rule: 0, series: 0, firstWindow: 0, words: 0))
    pipeline.setWindowRule(0, window)
    pipeline.setWindow(0, WindowState(rule: 0, point: 0, firstSeries: 1, words: 0))
    let condition = arena.take(Instruction.self, count: 3, first: Instruction(.point))
    condition[1] = Instruction(.constant, value: 0)
    condition[2] = Instruction(.greater)
    let words = arena.take(UInt64.self, count: Program.wordsMax(3), first: 0)
    var alarm = AlarmPlace(rule: 0, alarm: 0)
    alarm.when = Program.assemble(UnsafeBufferPointer(start: condition, count: 3), into: words).program
    for index in 0..<size.codeWords { pipeline.setCode(index, words[index]) }
    pipeline.setAlarmRule(0, AlarmRule(severity: .notice))
    pipeline.setAlarm(0, alarm, left: nil, at: .zero)
    let now = Instant(nanoseconds: 1)
    pipeline.accept(point: 0, raw: 1, quality: .good, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    pipeline.evaluate(alarms: 0..<1, at: now)
    let nothing = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
    _ = pipeline.order(
      .shelve, alarm: 0, serial: nil, until: now + 1, by: nothing, note: nothing, at: now)
    pipeline.tell(alarm: 0, .unknown, at: now)
    var flood = FloodMeter()
    _ = flood.note(at: now)
    pipeline.tick(at: now + 2_000_000_000)
    while channel.next() != nil { channel.release() }
    return pipeline.produced
  }

  private static var window: WindowRule {
    var window = WindowRule(everyNs: 1_000_000_000, slideNs: 500_000_000, latenessNs: 500_000_000)
    window.add(.mean)
    window.add(.stddev)
    window.add(.rate)
    window.add(.p95)
    return window
  }

  package static var size: PipelineSize {
    var size = PipelineSize()
    size.points = 1
    size.pointRules = 1
    size.conditioningRules = 1
    size.conditioningWords = 6
    size.windows = 1
    size.windowRules = 1
    size.windowWords = window.words
    size.sketchWords = window.sketchWords
    size.alarms = 1
    size.alarmRules = 1
    size.codeWords = 2
    return size
  }

  package static var bytes: Int {
    BatchChannel.bytes.rounded(to: 64) + size.bytes + Arena.bytes(of: Instruction.self, count: 3)
      + Arena.bytes(of: UInt64.self, count: Program.wordsMax(3))
  }
}
