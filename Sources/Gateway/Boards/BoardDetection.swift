// Which board a machine is: every board whose signs are all true, and of these the one that says most.

package struct BoardDetection: Sendable {
  /// Best first; what is equally good stands together.
  package private(set) var matches: [(board: Board, weight: Int)] = []

  package init(_ boards: [Board], on machine: Machine) {
    let chips = boards.contains { !$0.detection.chip.isEmpty } ? machine.chips : []
    for board in boards {
      if let weight = Self.weight(board.detection, machine, chips) { matches.append((board, weight)) }
    }
    matches.sort { ($0.weight, $1.board.name) > ($1.weight, $0.board.name) }
  }

  /// Nil: none, or more than one.
  package var board: Board? { best.count == 1 ? best[0] : nil }

  /// More than one: somebody has to say which.
  package var best: [Board] {
    guard let most = matches.first?.weight else { return [] }
    return matches.prefix { $0.weight == most }.map(\.board)
  }

  /// Nil: it is not this machine. A name of the very board weighs more than one of its processor, which stands further
  /// behind in the device tree's list; a chip or a maker's mark weighs more than either.
  private static func weight(_ signs: BoardSigns, _ machine: Machine, _ chips: Set<String>) -> Int? {
    var weight = 0
    if !signs.compatible.isEmpty || !signs.dmi.isEmpty {
      let tree = machine.compatible.firstIndex { signs.compatible.contains($0) }.map { 100 - min($0, 50) }
      let isFirmware =
        !signs.dmi.isEmpty
        && signs.dmi.allSatisfy { key, pattern in machine.dmi[key].map { Glob.matches(pattern, $0) } ?? false }
      guard let best = [tree, isFirmware ? 100 : nil].compactMap({ $0 }).max() else { return nil }
      weight += best
    }
    if let architecture = signs.architecture {
      guard architecture == machine.architecture else { return nil }
      weight += 1
    }
    if !signs.hardware.isEmpty {
      guard let hardware = machine.hardware, signs.hardware.contains(where: { Glob.matches($0, hardware) }) else {
        return nil
      }
      weight += 200
    }
    if !signs.chip.isEmpty {
      guard signs.chip.contains(where: chips.contains) else { return nil }
      weight += 200
    }
    return weight == 0 ? nil : weight
  }
}
