/// What `kerb version` says, and what the status carries.
package enum Version {
  package static let text = "0.1.0"
}

extension Version {
  /// "0.1.0" as numbers; nil: it is none. What follows a hyphen or a plus is left out.
  package static func number(_ text: String) -> [Int]? {
    let parts = text.prefix { $0 != "-" && $0 != "+" }.split(separator: ".", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { Int($0) }
    guard numbers.count == parts.count, (1...3).contains(parts.count), numbers.allSatisfy({ $0 >= 0 }) else {
      return nil
    }
    return numbers + [Int](repeating: 0, count: 3 - numbers.count)
  }
}
