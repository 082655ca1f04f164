// Conditions and computed points, judged when every device is known: names, units, and what waits for itself. What a
// profile says is reported once, however many devices use it.

import FieldBus
import StreamCore

extension ConfigurationReader {
  /// Gives computed points the unit of their expression, too, where they have none of their own.
  mutating func checkExpressions() {
    var names = SiteNames(
      devices.map(\.spec), broken: devices.map(\.brokenPoints), known: devices.map(\.isComplete), isComplete: isWhole)
    let computed = ComputedPoints(names)
    for cycle in computed.cycles { report(cycle, names) }
    var links = LinkCount()
    for target in computed.order {
      guard let compiled = check(target, names) else { continue }
      links.add(compiled, devices[target.device].busIndex)
      let spec = devices[target.device].spec.points[target.point]
      guard let unit = compiled.unit, spec.unit == nil, !spec.isBool else { continue }
      devices[target.device].spec.points[target.point].unit = unit
      names.setUnit(unit, of: target)
    }
    for (index, entry) in devices.enumerated() {
      for alarm in entry.spec.alarms {
        let (whenKey, clearKey) = ("alarm.\(alarm.name).when", "alarm.\(alarm.name).clear")
        links.add(check(alarm.when, alarm.whenPlace, whenKey, index, names), entry.busIndex)
        guard let clear = alarm.clear else { continue }
        let place = alarm.clearPlace ?? alarm.place
        links.add(check(clear, place, clearKey, index, names, orElse: ", or leave it out"), entry.busIndex)
      }
    }
    for (bus, count) in links.ofBus.sorted(by: { $0.key < $1.key }) where count > Limits.linksPerBusMax {
      diagnostics.report(
        buses[bus].spec.place, "bus.\(buses[bus].spec.name)",
        "expressions of its devices name \(count) points of other devices: allowed are \(Limits.linksPerBusMax)")
    }
  }

  /// As the programs of a bus share them.
  private struct LinkCount {
    private var seen: [Int: Set<[LinkTarget]>] = [:]
    var ofBus: [Int: Int] { seen.mapValues { $0.reduce(0) { $0 + $1.count } } }

    mutating func add(_ compiled: CompiledExpression?, _ bus: Int?) {
      guard let compiled, let bus, !compiled.links.isEmpty else { return }
      seen[bus, default: []].insert(compiled.links)
    }
  }

  private func check(
    _ condition: String, _ place: SourcePlace, _ key: String, _ device: Int, _ names: SiteNames, orElse: String = ""
  ) -> CompiledExpression? {
    if condition.allSatisfy(\.isWhitespace) {
      diagnostics.report(place, key, "is empty: write a condition, for example \"tilt > 15\"" + orElse)
      return nil
    }
    do {
      return try ExpressionCompiler.condition(condition, device: device, names: names)
    } catch {
      report(error, in: condition, place, key)
      return nil
    }
  }

  private func check(_ target: LinkTarget, _ names: SiteNames) -> CompiledExpression? {
    let spec = names.devices[target.device].points[target.point]
    let place = spec.computePlace ?? spec.place
    let key = "point.\(spec.name).compute"
    guard let text = spec.compute, let formula = try? ExpressionParser.parse(text) else { return nil }
    do {
      let compiled = try ExpressionCompiler.compile(formula, device: target.device, names: names)
      if let own = spec.unit, let unit = compiled.unit, own != unit {
        let message = "is in \(unit), and the point's unit is \(own): convert it, or leave the unit out"
        report(ExpressionError(column: formula.start, message: message), in: text, place, key)
      }
      return compiled
    } catch {
      report(error, in: text, place, key)
      return nil
    }
  }

  private func report(_ error: ExpressionError, in text: String, _ place: SourcePlace, _ key: String) {
    diagnostics.report(place.inside(text, at: error.column), key, error.message)
  }

  private func report(_ cycle: [LinkTarget], _ names: SiteNames) {
    guard let first = cycle.first else { return }
    let isOneDevice = cycle.allSatisfy { $0.device == first.device }
    let texts = (cycle + [first]).map { target -> String in
      let (device, point) = (names.devices[target.device], names.devices[target.device].points[target.point])
      return isOneDevice ? point.name : "@\(device.name).\(point.name)"
    }
    let spec = names.devices[first.device].points[first.point]
    diagnostics.report(
      spec.computePlace ?? spec.place, "point.\(spec.name).compute",
      "is computed from itself: \(texts.joined(separator: ", from "))")
  }
}
