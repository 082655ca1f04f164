// The target of a request taken apart: the path, and the parameters decoded once. Pure; whatever the text is, it ends
// with one of these or with nothing.

package struct RequestTarget: Sendable {
  package let path: String
  package let parameters: [(name: String, value: String)]

  /// Nil: a parameter is no percent-encoded UTF-8.
  package init?(_ target: String) {
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = String(parts[0])
    var parameters: [(name: String, value: String)] = []
    for item in parts.count == 2 ? parts[1].split(separator: "&") : [] {
      let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = Self.decoded(pair[0]), let value = Self.decoded(pair.count == 2 ? pair[1] : "") else {
        return nil
      }
      parameters.append((name, value))
    }
    self.parameters = parameters
  }

  /// Percent-decoding of one name or value; nil if it is broken.
  static func decoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "+"): bytes.append(0x20)
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(Hexadecimal.value),
          let low = rest.popFirst().flatMap(Hexadecimal.value)
        else { return nil }
        bytes.append(high << 4 | low)
      default: bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self)
  }
}
