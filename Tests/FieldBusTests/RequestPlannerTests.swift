import FieldBus
import Testing

/// The plan against brute force: every way to give each point to a request.
@Suite struct RequestPlannerTests {
  private struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ (state >> 29)
    }
  }

  private func cost(_ requests: [(count: Int, intervalNs: Int64)], _ wireNs: (Int) -> Int64) -> Double {
    requests.reduce(0) { $0 + Double(wireNs($1.count)) / Double($1.intervalNs) }
  }

  /// The least cost over all partitions of the points into requests.
  private func bruteForce(
    _ points: [RequestPlanner.Point], largest: Int, refused: [Range<Int>], wireNs: (Int) -> Int64
  ) -> Double {
    var best = Double.infinity
    var groups: [[RequestPlanner.Point]] = []
    func place(_ index: Int) {
      guard index < points.count else {
        var requests: [(count: Int, intervalNs: Int64)] = []
        for group in groups {
          let start = group.map(\.address).min() ?? 0
          let end = group.map { $0.address + $0.length }.max() ?? 0
          if group.count > 1 {
            if end - start > largest { return }
            if refused.contains(where: { start <= $0.lowerBound && end >= $0.upperBound }) { return }
          }
          requests.append((end - start, group.map(\.intervalNs).min() ?? 1))
        }
        best = Swift.min(best, cost(requests, wireNs))
        return
      }
      for group in groups.indices {
        groups[group].append(points[index])
        place(index + 1)
        groups[group].removeLast()
      }
      groups.append([points[index]])
      place(index + 1)
      groups.removeLast()
    }
    place(0)
    return best
  }

  @Test("no way to cut the points costs less than the plan, on 1,500 random cases", arguments: [1, 2, 3] as [UInt64])
  func optimal(seed: UInt64) {
    var random = Random(state: seed)
    for round in 0..<500 {
      let count = Int.random(in: 1...7, using: &random)
      let spread = [12, 40, 90].randomElement(using: &random) ?? 12
      let points = (0..<count).map { _ in
        RequestPlanner.Point(
          address: Int.random(in: 0...spread, using: &random), length: [1, 1, 2, 4].randomElement(using: &random) ?? 1,
          intervalNs: [1, 1, 2, 5, 60].randomElement(using: &random).map { $0 * 1_000_000_000 } ?? 1_000_000_000)
      }
      let largest = [8, 20, 125].randomElement(using: &random) ?? 125
      var refused: [Range<Int>] = []
      if Bool.random(using: &random) {
        let start = Int.random(in: 0...spread, using: &random)
        refused = [start..<(start + Int.random(in: 5...12, using: &random))]
      }
      let overhead = Int64.random(in: 5...40, using: &random)
      let wireNs: (Int) -> Int64 = { (overhead + 2 * Int64($0)) * 1_041_667 }
      let plan = RequestPlanner(points: points, largest: largest, refused: refused, wireNs: wireNs).plan()
      let planned = cost(plan.map { ($0.count, $0.intervalNs) }, wireNs)
      let least = bruteForce(points, largest: largest, refused: refused, wireNs: wireNs)
      #expect(
        abs(planned - least) <= least * 1e-9, "seed \(seed), round \(round): \(planned) against \(least), \(points)")
      // Every point exactly once, inside its request, within the bounds.
      #expect(plan.flatMap(\.points).sorted() == Array(points.indices))
      for request in plan {
        for index in request.points {
          #expect(points[index].address >= request.address)
          #expect(points[index].address + points[index].length <= request.address + request.count)
          #expect(points[index].intervalNs >= request.intervalNs)
        }
        if request.points.count > 1 {
          #expect(request.count <= largest)
          let end = request.address + request.count
          #expect(!refused.contains { request.address <= $0.lowerBound && end >= $0.upperBound })
        }
      }
    }
  }

  @Test("a unit of 500 points at five intervals is planned at once")
  func large() {
    var random = Random(state: 5)
    let points = (0..<500).map { _ in
      RequestPlanner.Point(
        address: Int.random(in: 0...4_000, using: &random), length: 1,
        intervalNs: [1, 2, 5, 10, 60].randomElement(using: &random).map { $0 * 1_000_000_000 } ?? 1)
    }
    let plan = RequestPlanner(points: points, largest: 125) { (20 + 2 * Int64($0)) * 1_000_000 }.plan()
    #expect(plan.flatMap(\.points).count == 500)
  }
}
