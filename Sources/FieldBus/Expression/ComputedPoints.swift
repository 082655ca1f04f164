// The computed points of a box: in which order they can be evaluated, and which of them wait for themselves.

import StreamCore

package struct ComputedPoints: Sendable {
  /// All that can be evaluated, inputs before what is made from them.
  package private(set) var order: [LinkTarget] = []
  /// Those that can't: each names the next, the last one the first.
  package private(set) var cycles: [[LinkTarget]] = []

  package init(_ names: SiteNames) {
    var inputs: [LinkTarget: [LinkTarget]] = [:]
    var all: [LinkTarget] = []
    for (device, spec) in names.devices.enumerated() {
      for (number, point) in spec.points.enumerated() {
        guard let text = point.compute, let formula = try? ExpressionParser.parse(text) else { continue }
        let target = LinkTarget(device: device, point: number)
        all.append(target)
        inputs[target] = Self.computed(formula, device, names)
      }
    }
    var done: Set<LinkTarget> = []
    var waiting = all
    while !waiting.isEmpty {
      let ready = waiting.filter { target in (inputs[target] ?? []).allSatisfy { done.contains($0) } }
      guard ready.isEmpty else {
        order += ready
        done.formUnion(ready)
        waiting.removeAll { done.contains($0) }
        continue
      }
      let cycle = Self.cycle(from: waiting[0], inputs, done)
      cycles.append(cycle)
      // What only waits for the cycle is no mistake of its own.
      done.formUnion(cycle)
      waiting.removeAll { done.contains($0) }
    }
  }

  private static func computed(_ formula: Expression, _ device: Int, _ names: SiteNames) -> [LinkTarget] {
    formula.references.compactMap { reference -> LinkTarget? in
      let found = reference.isForeign ? names.foreign(reference.name) : names.own(reference.name, of: device)
      guard case .point(let device, let point) = found, names.devices[device].points[point].isComputed
      else { return nil }
      return LinkTarget(device: device, point: point)
    }.sorted { ($0.device, $0.point) < ($1.device, $1.point) }
  }

  /// Every point that waits names another one that waits: followed long enough, they come round.
  private static func cycle(
    from start: LinkTarget, _ inputs: [LinkTarget: [LinkTarget]], _ done: Set<LinkTarget>
  ) -> [LinkTarget] {
    var path = [start]
    while let next = inputs[path[path.count - 1]]?.first(where: { !done.contains($0) }) {
      if let first = path.firstIndex(of: next) { return Array(path[first...]) }
      path.append(next)
    }
    return path
  }
}

extension DeviceSpec {
  /// Points that an alarm's condition looks at, and those from which they are computed.
  var watchedPoints: Set<String> {
    var watched: Set<String> = []
    var waiting = alarms.flatMap { [$0.when, $0.clear].compactMap { $0 } }
    while let text = waiting.popLast() {
      guard let expression = try? ExpressionParser.parse(text) else { continue }
      for reference in expression.references where !reference.isForeign && watched.insert(reference.name).inserted {
        if let compute = points.first(where: { $0.name == reference.name })?.compute { waiting.append(compute) }
      }
    }
    return watched
  }
}
