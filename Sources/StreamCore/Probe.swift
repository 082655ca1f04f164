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
    pipeline.setInstruction(0, Instruction(.point, point: 0))
    var alarm = AlarmRule(alarm: 0, severity: .notice)
    alarm.when = Program(start: 0, length: 1)
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
    size.instructions = 1
    return size
  }

  package static var bytes: Int { BatchChannel.bytes.rounded(to: 64) + size.bytes }
}
