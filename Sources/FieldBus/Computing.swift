// Where a bus's computed points get their values: behind each reading of their device, and by the clock what rests on
// time or on other devices. Runs on the bus's thread.

import StreamCore

extension BusBoard {
  /// Those of `points` that are computed and have something new to be computed from.
  func compute(_ pipeline: inout Pipeline, points range: Range<Int>, at now: Instant, byClock: Bool = false) {
    for index in 0..<pipeline.size.computed {
      let point = pipeline.computedPoint(index)
      guard range.contains(point), pipeline.compute(index, at: now, byClock: byClock) else { continue }
      show(point, of: pipeline, text: UnsafeBufferPointer(start: nil, count: 0), at: now)
    }
  }

  /// A point's latest value as the pipeline has it, behind its conditioning.
  func show(_ point: Int, of pipeline: borrowing Pipeline, text: UnsafeBufferPointer<UInt8>, at now: Instant) {
    let state = pipeline.state(of: point)
    points.put(point, raw: state.isUsable ? state.raw : 0, quality: state.quality, text: text, at: now)
  }

  /// Lets time pass for the pipeline, other devices' latest values in view.
  func tick(_ pipeline: inout Pipeline, _ links: borrowing LinkTable, at now: Instant) {
    links.look(&pipeline)
    if pipeline.isLookDue(at: now) {
      compute(&pipeline, points: 0..<pipeline.size.points, at: now, byClock: true)
    }
    tick(&pipeline, at: now)
  }
}
