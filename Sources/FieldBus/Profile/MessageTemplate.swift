// An alarm's message: text with {placeholders}. Only the places are checked here; what fills them is known upstream.

package struct MessageTemplate: Sendable, Hashable {
  package enum Piece: Sendable, Hashable {
    case text(String)
    /// "device", "gateway", or a point's name.
    case placeholder(String)
  }
  package var pieces: [Piece]

  /// Nil if a brace has no partner or a placeholder is empty.
  package init?(_ text: String) {
    pieces = []
    var rest = text[...]
    while let open = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
      guard rest[open] == "{", let close = rest[open...].firstIndex(of: "}") else { return nil }
      let name = rest[rest.index(after: open)..<close]
      if name.isEmpty || name.contains("{") { return nil }
      if open > rest.startIndex { pieces.append(.text(String(rest[..<open]))) }
      pieces.append(.placeholder(String(name)))
      rest = rest[rest.index(after: close)...]
    }
    if !rest.isEmpty { pieces.append(.text(String(rest))) }
  }

  package var placeholders: [String] {
    pieces.compactMap { if case .placeholder(let name) = $0 { name } else { nil } }
  }

  /// What every message may name, whatever the device.
  package static let commonPlaceholders = ["device", "gateway"]
}
