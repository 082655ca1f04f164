// The last values of a point as a line of bars, the newest at the right. Of a fixed length; nil is a reading without a
// value.

struct Sparkline {
  private static let bars: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
  private let length: Int
  private var values: [Double?] = []

  init(length: Int) { self.length = length }

  mutating func add(_ value: Double?) {
    values.append(value)
    if values.count > length { values.removeFirst(values.count - length) }
  }

  var lowest: Double? { values.compactMap { $0 }.min() }
  var highest: Double? { values.compactMap { $0 }.max() }

  /// Of one value alone, or equal ones, the lowest bar; a gap where there was none.
  var text: String {
    guard let low = lowest, let high = highest else { return String(repeating: " ", count: values.count) }
    let span = high - low
    return String(
      values.map { value -> Character in
        guard let value else { return " " }
        guard span > 0 else { return Self.bars[0] }
        let step = (value - low) / span * Double(Self.bars.count - 1)
        return step.isFinite ? Self.bars[Int(step.rounded())] : " "
      })
  }
}
