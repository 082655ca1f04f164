// The one door to libsodium in this room: hashes, keyed hashes, comparison without telltale timing, random bytes,
// Base64. Pure functions, any thread.

import CSodium

package enum Sodium {
  package static let hashBytes = Int(crypto_hash_sha256_BYTES)

  package static func sha256(_ bytes: [UInt8]) -> [UInt8] {
    var hash = [UInt8](repeating: 0, count: hashBytes)
    crypto_hash_sha256(&hash, bytes, UInt64(bytes.count))
    return hash
  }

  /// SHA-256 of texts that come one after the other.
  struct RunningHash {
    private var state = crypto_hash_sha256_state()

    init() { crypto_hash_sha256_init(&state) }

    mutating func add(_ text: String) {
      var text = text
      text.withUTF8 { _ = crypto_hash_sha256_update(&state, $0.baseAddress, UInt64($0.count)) }
    }

    var value: [UInt8] {
      var (state, hash) = (state, [UInt8](repeating: 0, count: hashBytes))
      crypto_hash_sha256_final(&state, &hash)
      return hash
    }
  }

  /// HMAC-SHA-256, 32 bytes.
  package static func hmac(_ bytes: [UInt8], key: [UInt8]) -> [UInt8] {
    var state = crypto_auth_hmacsha256_state()
    var mac = [UInt8](repeating: 0, count: Int(crypto_auth_hmacsha256_BYTES))
    crypto_auth_hmacsha256_init(&state, key, key.count)
    crypto_auth_hmacsha256_update(&state, bytes, UInt64(bytes.count))
    crypto_auth_hmacsha256_final(&state, &mac)
    return mac
  }

  /// Takes as long whether the first byte differs or the last.
  package static func areEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && sodium_memcmp(a, b, a.count) == 0
  }

  /// Nil if the library can't be made ready: then the system has no source of random numbers.
  package static func randomBytes(_ count: Int) -> [UInt8]? {
    guard sodium_init() >= 0 else { return nil }
    var bytes = [UInt8](repeating: 0, count: count)
    randombytes_buf(&bytes, count)
    return bytes
  }

  /// The alphabet of URLs and file names, without padding (RFC 4648, section 5).
  package static func base64URL(_ bytes: [UInt8]) -> String {
    text(bytes, Int32(sodium_base64_VARIANT_URLSAFE_NO_PADDING))
  }

  /// The usual alphabet, with padding (RFC 4648, section 4).
  package static func base64(_ bytes: [UInt8]) -> String { text(bytes, Int32(sodium_base64_VARIANT_ORIGINAL)) }

  private static func text(_ bytes: [UInt8], _ variant: Int32) -> String {
    var text = [CChar](repeating: 0, count: sodium_base64_encoded_len(bytes.count, variant))
    sodium_bin2base64(&text, text.count, bytes, bytes.count, variant)
    return String(decoding: text.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Strict: nil for any other character, for padding, and for unused bits that are not zero.
  package static func bytes(base64URL text: String) -> [UInt8]? {
    var text = text
    return text.withUTF8 { characters -> [UInt8]? in
      var bytes = [UInt8](repeating: 0, count: characters.count)
      var count = 0
      let result = characters.withMemoryRebound(to: CChar.self) {
        sodium_base642bin(
          &bytes, bytes.count, $0.baseAddress, $0.count, nil, &count, nil,
          Int32(sodium_base64_VARIANT_URLSAFE_NO_PADDING))
      }
      return result == 0 ? Array(bytes[..<count]) : nil
    }
  }
}
