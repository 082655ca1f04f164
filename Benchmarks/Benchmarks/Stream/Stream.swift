// The stream's speed: a sample through range, report by exception, one window of five statistics, one alarm; the
// same with quantiles.

import Benchmark
import StreamCore

let benchmarks = { @Sendable in
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .throughput], scalingFactor: .mega, maxDuration: .seconds(4), maxIterations: 50)

  Benchmark("stream: deadband, window of five statistics, alarm") { benchmark in
    let rig = StreamRig(statistics: StreamRig.five)
    benchmark.startMeasurement()
    for index in benchmark.scaledIterations { rig.feed(Int64(truncatingIfNeeded: index)) }
    benchmark.stopMeasurement()
    blackHole(rig.produced)
  }

  Benchmark("stream: the same with quantiles") { benchmark in
    let rig = StreamRig(statistics: StreamRig.five + [.p50, .p95])
    benchmark.startMeasurement()
    for index in benchmark.scaledIterations { rig.feed(Int64(truncatingIfNeeded: index)) }
    benchmark.stopMeasurement()
    blackHole(rig.produced)
  }

  Benchmark.expressions()
}

final class StreamRig {
  private let memory: UnsafeMutableRawPointer
  private let channel: BatchChannel
  private var pipeline: Pipeline
  private var now: Int64 = 0

  static let five: [Statistic] = [.min, .max, .mean, .last, .count]

  init(statistics: [Statistic]) {
    var window = WindowRule(everyNs: 60_000_000_000)
    for statistic in statistics { window.add(statistic) }
    var size = PipelineSize()
    size.points = 1
    size.pointRules = 1
    size.windows = 1
    size.windowRules = 1
    size.windowWords = window.words
    size.sketchWords = window.sketchWords
    size.alarms = 1
    size.alarmRules = 1
    size.codeWords = Program.wordsMax(3)
    let bytes = size.bytes + BatchChannel.bytes + 1_024
    memory = .allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    pipeline = Pipeline(size: size, arena: &arena, channel: channel)
    var point = PointRule()
    point.scale = 0.1
    point.deadband = 5
    point.validNs = 60_000_000_000
    point.windowCount = 1
    pipeline.setPointRule(0, point)
    pipeline.setPoint(0, PointPlace(rule: 0, series: 0, firstWindow: 0, words: 0))
    pipeline.setWindowRule(0, window)
    pipeline.setWindow(0, WindowState(rule: 0, point: 0, firstSeries: 1, words: 0))
    let condition = [Instruction(.point), Instruction(.constant, value: 1e9), Instruction(.greater)]
    var words = [UInt64](repeating: 0, count: Program.wordsMax(3))
    var alarm = AlarmPlace(rule: 0, alarm: 0)
    condition.withUnsafeBufferPointer { source in
      words.withUnsafeMutableBufferPointer { alarm.when = Program.assemble(source, into: $0.baseAddress!).program }
    }
    for (index, word) in words.enumerated() { pipeline.setCode(index, word) }
    pipeline.setAlarmRule(0, AlarmRule(severity: .warning))
    pipeline.setAlarm(0, alarm, left: nil, at: .zero)
  }

  deinit { memory.deallocate() }

  var produced: Int64 { pipeline.produced }

  func feed(_ index: Int64) {
    now += 1_000_000
    let instant = Instant(nanoseconds: now)
    pipeline.accept(
      point: 0, raw: (index &* 7919) % 1_000, quality: .good, text: UnsafeBufferPointer(start: nil, count: 0),
      at: instant)
    pipeline.evaluate(alarms: 0..<1, at: instant)
    if index % 64 == 0 {
      pipeline.tick(at: instant)
      while channel.next() != nil { channel.release() }
    }
  }
}
