// What a client can read, of what there is: the Accept and Accept-Encoding headers (RFC 9110, sections 12.5.1 and
// 12.5.3). Pure functions.

package enum MediaType: String, Sendable, CaseIterable {
  case json = "application/json"
  case senmlJSON = "application/senml+json"
  case senmlCBOR = "application/senml+cbor"
  case openMetrics = "text/plain; version=0.0.4; charset=utf-8"

  /// Type and subtype, without parameters.
  var essence: Substring { rawValue.prefix { $0 != ";" } }
  fileprivate var kind: Substring { rawValue.prefix { $0 != "/" } }

  /// The best of `offers`: the highest quality that the client gives to it; among equals the first. Nil: none is
  /// accepted. Without a header everything is.
  package static func negotiate(_ offers: [MediaType], accept: [Substring]) -> MediaType? {
    if accept.isEmpty { return offers.first }
    let ranges = accept.compactMap(Range.init)
    var best: (offer: MediaType, quality: Int)?
    for offer in offers {
      // The most specific range that matches decides, not the most generous one.
      let matching = ranges.filter { $0.matches(offer) }
      guard let quality = matching.max(by: { $0.specificity < $1.specificity })?.quality, quality > 0 else { continue }
      if quality > best?.quality ?? 0 { best = (offer, quality) }
    }
    return best?.offer
  }

  private struct Range {
    var name: String
    /// Thousandths.
    var quality: Int

    init?(_ text: Substring) {
      guard let (name, quality) = qualified(text), name.contains("/") else { return nil }
      self.name = name
      self.quality = quality
    }

    var specificity: Int { name == "*/*" ? 0 : name.hasSuffix("/*") ? 1 : 2 }

    func matches(_ offer: MediaType) -> Bool {
      name == offer.essence || name == "*/*" || name == "\(offer.kind)/*"
    }
  }

  /// Does the client take gzip, in so many words?
  package static func takesGzip(_ acceptEncoding: [Substring]) -> Bool {
    let codings = acceptEncoding.compactMap(qualified)
    let named = codings.first { $0.name == "gzip" || $0.name == "x-gzip" } ?? codings.first { $0.name == "*" }
    return named.map { $0.quality > 0 } ?? false
  }

  /// "text/html;level=1;q=0.5": the name in small letters and the quality in thousandths; nil if it is malformed.
  private static func qualified(_ text: Substring) -> (name: String, quality: Int)? {
    let parts = text.split(separator: ";", omittingEmptySubsequences: false).map { part in
      String(part.filter { $0 != " " && $0 != "\t" }).lowercased()
    }
    guard let name = parts.first, !name.isEmpty else { return nil }
    guard let weight = parts.dropFirst().first(where: { $0.hasPrefix("q=") }) else { return (name, 1_000) }
    let digits = weight.dropFirst(2)
    guard digits.utf8.count <= 5, let value = Double(digits), (0...1).contains(value) else { return nil }
    return (name, Int((value * 1_000).rounded()))
  }
}
