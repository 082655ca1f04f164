// What a search at every usual setting says of a line: the setting that it runs at, and each unit once.

import FieldBus

struct FoundLine {
  /// At which most answer; of equals the slowest, and of parities the most usual: a virtual line and some adapters
  /// answer at all of them.
  let format: LineFormat
  /// Settings at which a unit answers that answers at `format`, too.
  let others: [LineFormat]
  /// Each unit once: at `format` if it answers there.
  let units: [Sweep.Found]

  /// Nil if nobody was found.
  init?(_ found: [Sweep.Found], isMeter: Bool) {
    var counts: [LineFormat: Int] = [:]
    for each in found { counts[each.unit.format, default: 0] += 1 }
    let parities: [Parity] = isMeter ? [.even, .none, .odd] : [.none, .even, .odd]
    func rank(_ format: LineFormat) -> (Int, Int, Int) {
      (-(counts[format] ?? 0), format.baud, parities.firstIndex(of: format.parity) ?? 0)
    }
    guard let format = counts.keys.min(by: { rank($0) < rank($1) }) else { return nil }
    self.format = format
    let atHome = Set(found.filter { $0.unit.format == format }.map(\.unit.addressText))
    let again = Set(found.filter { atHome.contains($0.unit.addressText) }.map(\.unit.format)).subtracting([format])
    others = again.sorted { rank($0) < rank($1) }
    units = found.filter { $0.unit.format == format || !atHome.contains($0.unit.addressText) }
  }
}
