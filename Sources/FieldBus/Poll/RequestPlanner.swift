// Cuts the points of one unit and table into the requests that cost the line least: an exact dynamic program.
//
// What a request costs: its wire time ÷ its interval. It reads one span of addresses, with the interval of its
// most frequent point; a slower point may ride along with it, and a span may run over addresses that nobody
// asked for. Bounds: the device's largest block, and spans that it has refused.
//
// Why it is exact: an optimal set of requests needs no two of one interval that overlap (cut them at the
// overlap: both get shorter and read the same points). So, going through the points in order of address, at
// most one request of each interval is open, and all that matters of it is where it began and where it ends
// now. A request that would cost more to extend up to the next point than a new one there can be dropped: the
// new one is cheaper now and freer later.

import StreamCore

package struct RequestPlanner {
  package struct Point: Hashable, Sendable {
    package var address: Int
    /// Registers or bits.
    package var length: Int
    package var intervalNs: Int64
    package init(address: Int, length: Int, intervalNs: Int64) {
      self.address = address
      self.length = length
      self.intervalNs = intervalNs
    }
    var end: Int { address + length }
  }

  package struct Request: Hashable, Sendable {
    package var address: Int
    package var count: Int
    package var intervalNs: Int64
    /// Indices of the points that it reads, ascending.
    package var points: [Int]
  }

  private let points: [Point]
  private let order: [Int]
  private let intervals: [Int64]
  private let largest: Int
  private let refused: [Range<Int>]
  private let wireNs: (Int) -> Int64
  /// Each further register costs the same (bits don't: eight make a byte).
  private let isAffine: Bool

  /// `wireNs`: of a request for so many registers or bits; grows with the count. `refused`: spans that the
  /// device does not answer, nor any span around them. `largest`: registers or bits of one request; a longer
  /// point gets one of its own.
  package init(points: [Point], largest: Int, refused: [Range<Int>] = [], wireNs: @escaping (Int) -> Int64) {
    self.points = points
    self.largest = largest
    self.refused = refused
    self.wireNs = wireNs
    isAffine = (1...8).allSatisfy { wireNs($0 + 1) - wireNs($0) == wireNs(2) - wireNs(1) }
    order = points.indices.sorted {
      (points[$0].address, points[$0].end, $0) < (points[$1].address, points[$1].end, $1)
    }
    intervals = Set(points.map { Self.nominal($0.intervalNs) }).sorted()
  }

  /// What has no interval is read as often as the line allows: far more often than anything that has one.
  private static func nominal(_ intervalNs: Int64) -> Int64 { intervalNs > 0 ? intervalNs : 100_000_000 }

  /// Wire time a second of a span that is read at an interval.
  private func rate(_ count: Int, _ interval: Int) -> Double { Double(wireNs(count)) / Double(intervals[interval]) }

  /// The open request of one interval; `end` 0: none.
  private struct Span: Hashable {
    var start: Int32 = 0
    var end: Int32 = 0
  }

  private struct Node {
    var spans: [Span]
    var cost: Double
    var parent: Int32
    /// The interval whose request took the point, and whether it began there.
    var interval: Int32
    var begins: Bool
  }

  /// The cheapest requests, in order of address. Every point is read by exactly one of them.
  package func plan() -> [Request] {
    guard !points.isEmpty else { return [] }
    let lastEnd = points.map(\.end).max() ?? 0
    var nodes = [
      Node(spans: Array(repeating: Span(), count: intervals.count), cost: 0, parent: -1, interval: 0, begins: false)
    ]
    var layer: [Int] = [0]
    for index in order {
      let point = points[index]
      let slowest = intervals.firstIndex(of: Self.nominal(point.intervalNs)) ?? 0
      var best: [[Span]: Int] = [:]
      for parent in layer {
        for interval in 0...slowest {
          for (span, added, begins) in choices(nodes[parent].spans[interval], point, interval) {
            var spans = nodes[parent].spans
            spans[interval] = span
            simplify(&spans, at: point.address, lastEnd: lastEnd)
            let cost = nodes[parent].cost + added
            if let known = best[spans], nodes[known].cost <= cost { continue }
            nodes.append(
              Node(spans: spans, cost: cost, parent: Int32(parent), interval: Int32(interval), begins: begins))
            best[spans] = nodes.count - 1
          }
        }
      }
      // In order of their making, so that the same points always give the same plan.
      layer = best.values.sorted()
    }
    guard let last = layer.min(by: { (nodes[$0].cost, $0) < (nodes[$1].cost, $1) }) else { return [] }
    return requests(nodes, last)
  }

  /// To begin a request at the point, or to let the open one run on to it.
  private func choices(_ open: Span, _ point: Point, _ interval: Int) -> [(Span, Double, begins: Bool)] {
    let own = Span(start: Int32(point.address), end: Int32(point.end))
    let begun = (own, rate(point.length, interval), true)
    guard open.end > 0 else { return [begun] }
    let end = Swift.max(Int(open.end), point.end)
    let count = end - Int(open.start)
    guard count <= largest, isAnswered(Int(open.start)..<end) else { return [begun] }
    let added = rate(count, interval) - rate(Int(open.end - open.start), interval)
    // First, so that of two equal plans the one with fewer requests is taken.
    return [(Span(start: open.start, end: Int32(end)), added, false), begun]
  }

  private func isAnswered(_ span: Range<Int>) -> Bool {
    !refused.contains { span.lowerBound <= $0.lowerBound && span.upperBound >= $0.upperBound }
  }

  /// Forgets what can't matter any more, so that states fall together.
  private func simplify(_ spans: inout [Span], at address: Int, lastEnd: Int) {
    for interval in spans.indices where spans[interval].end > 0 {
      let span = spans[interval]
      // The least that the next extension costs, against a new request of one register there.
      let reach = Swift.max(address + 1, Int(span.end)) - Int(span.start)
      let extended = rate(reach, interval) - rate(Int(span.end - span.start), interval)
      if reach > largest || (Int(span.end) < address && extended >= rate(1, interval)) {
        spans[interval] = Span()
      } else if isAffine, refused.isEmpty, Int(span.start) + largest >= lastEnd {
        // No bound can bind any more, and each further register costs the same: where it began is of no matter.
        spans[interval].start = span.end - 1
      }
    }
  }

  private func requests(_ nodes: [Node], _ last: Int) -> [Request] {
    // Walk back: which interval took each point, and where requests began.
    var steps: [(point: Int, interval: Int, begins: Bool)] = []
    var node = last
    for index in order.reversed() {
      steps.append((index, Int(nodes[node].interval), nodes[node].begins))
      node = Int(nodes[node].parent)
    }
    var open: [Int: Request] = [:]
    var done: [Request] = []
    for step in steps.reversed() {
      let point = points[step.point]
      if step.begins {
        if let finished = open[step.interval] { done.append(finished) }
        open[step.interval] = Request(
          address: point.address, count: point.length, intervalNs: point.intervalNs, points: [step.point])
      } else if var request = open[step.interval] {
        request.count = Swift.max(request.address + request.count, point.end) - request.address
        request.intervalNs = faster(request.intervalNs, point.intervalNs)
        request.points.append(step.point)
        open[step.interval] = request
      }
    }
    done += open.values
    for index in done.indices { done[index].points.sort() }
    return done.sorted { ($0.address, $0.count, $0.intervalNs) < ($1.address, $1.count, $1.intervalNs) }
  }

  private func faster(_ a: Int64, _ b: Int64) -> Int64 { Self.nominal(a) <= Self.nominal(b) ? a : b }
}
