// The target of a request taken apart: the path, and the parameters decoded once. Pure; whatever the text is, it ends
// with one of these or with nothing.

package struct RequestTarget: Sendable {
  package let path: String
  package let parameters: [(name: String, value: String)]

  /// Nil: a parameter is no percent-encoded UTF-8.
  package init?(_ target: Substring) {
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

  /// The part from the path on, of a target that is one or a whole address, as clients behind a proxy send it and every
  /// server takes it (RFC 9112, section 3.2.2). Nil: it is neither.
  package static func origin(_ target: String) -> Substring? {
    if target.utf8.first == UInt8(ascii: "/") { return target[...] }
    let scheme = target.prefix { $0 != ":" }.lowercased()
    let rest = target.dropFirst(scheme.count)
    guard scheme == "http" || scheme == "https", rest.hasPrefix("://") else { return nil }
    let path = rest.dropFirst(3).drop { $0 != "/" && $0 != "?" }
    return path.first == "/" ? path : "/" + path
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
