// A point that is not read but made from others: what its keys may say.

import StreamCore

extension PointParser {
  /// The tree of `compute`; nil without one, or if it is none.
  func formula() -> Expression? {
    guard let text = reader.string("compute") else { return nil }
    reader.reject(
      ["read", "type", "order", "bits", "scale", "offset", "every", "invalid", "personal", "write", "ask"],
      because: "has no meaning for a computed point: it is not read from the device")
    do {
      return try ExpressionParser.parse(text)
    } catch {
      let place = reader.valuePlace("compute").inside(text, at: error.column)
      reader.diagnostics.report(place, reader.keyPath("compute"), error.message)
      return nil
    }
  }

  func take(_ formula: Expression?, into point: inout PointSpec) {
    point.compute = reader.string("compute") ?? ""
    point.computePlace = reader.valuePlace("compute")
    // Without a point it would never be evaluated.
    guard let formula, formula.references.isEmpty else { return }
    reader.report("compute", "names no point: a number that never changes needs no point of its own")
  }
}
