// What BoringSSL says of a failure, in words for a log: it adds numbers, and the folders of whoever built it. Pure.

package enum TLSWords {
  /// "sslError([Error: 268435648 error:100000c0:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER at …])" is
  /// «no shared cipher».
  package static func of(_ text: String) -> String {
    let marker = "OPENSSL_internal:"
    var (words, rest) = ([String](), text[...])
    while let found = rest.firstRange(of: marker) {
      rest = rest[found.upperBound...]
      let name = rest.prefix { $0 == "_" || $0.isLetter || $0.isNumber }
      words.append(String(name.lowercased().map { $0 == "_" ? " " : $0 }))
    }
    if words.isEmpty { return String(text.prefix { $0 != "/" }) }
    return words.joined(separator: ", ")
  }
}
