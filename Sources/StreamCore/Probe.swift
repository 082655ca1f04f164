// Instantiates every generic of this module: an allocation in one that nobody uses would go unnoticed by the compiler.

package enum Probe {
  /// A pipeline of one point, one window and one alarm, fed once. `memory`: at least `bytes` long, aligned to 64.
  package static func run(memory: UnsafeMutableRawPointer) -> Int64 {
    var arena = Arena(memory: memory, capacityBytes: bytes)
    let channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    var pipeline = Pipeline(size: size, arena: &arena, channel: channel)
    var point = PointRule()
    point.windowCount = 1
    pipeline.setPoint(0, point)
    var window = WindowRule(point: 0, everyNs: 1_000_000_000, firstSeries: 1)
    window.add(.mean)
    pipeline.setWindow(0, window)
    let condition = arena.take(Instruction.self, count: 3, first: Instruction(.point))
    condition[1] = Instruction(.constant, value: 0)
    condition[2] = Instruction(.greater)
    let words = arena.take(UInt64.self, count: Program.wordsMax(3), first: 0)
    var alarm = AlarmRule(alarm: 0, severity: .notice)
    alarm.when = Program.assemble(UnsafeBufferPointer(start: condition, count: 3), into: words).program
    for index in 0..<size.codeWords { pipeline.setCode(index, words[index]) }
    pipeline.setAlarm(0, alarm, state: .normal)
    let now = Instant(nanoseconds: 1)
    pipeline.accept(point: 0, raw: 1, quality: .good, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    pipeline.evaluate(alarms: 0..<1, at: now)
    pipeline.tick(at: now + 2_000_000_000)
    while channel.next() != nil { channel.release() }
    return pipeline.produced
  }

  package static var size: PipelineSize {
    var size = PipelineSize()
    size.points = 1
    size.windows = 1
    size.alarms = 1
    size.codeWords = 2
    return size
  }

  package static var bytes: Int {
    BatchChannel.bytes.rounded(to: 64) + size.bytes + Arena.bytes(of: Instruction.self, count: 3)
      + Arena.bytes(of: UInt64.self, count: Program.wordsMax(3))
  }
}
