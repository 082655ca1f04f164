// A cursor as a platform sees it: opaque, of one store, of one consumer, and only from us.
//
// Shape (49 bytes, base64url without padding, 66 characters): version 1 · store's uuid, 16 bytes · alarms sequence,
// 8 bytes · telemetry sequence, 8 bytes, both big-endian · the first 16 bytes of HMAC-SHA-256 over all that, under
// the consumer's key.
//
// Invariant: a token that we did not issue to this consumer never moves a cursor. A changed uuid says «another
// store», which moves nothing either; any other changed bit fails the seal.

import Store

package enum CursorFailure: Error, Sendable, Equatable {
  case malformed
  /// Well-formed, but of another store: the box was re-flashed, or the store quarantined.
  case otherStore
  case forged
}

package struct CursorSeal: Sendable {
  private static let version: UInt8 = 1
  private static let sealBytes = 16
  private static let bodyBytes = 1 + 16 + 8 + 8

  package let storeID: String
  private let store: [UInt8]
  private let key: [UInt8]

  /// Nil if `storeID` is no uuid.
  package init?(storeID: String, key: [UInt8]) {
    guard let store = Hexadecimal.bytes(storeID.filter { $0 != "-" }), store.count == 16 else { return nil }
    self.storeID = storeID
    self.store = store
    self.key = key
  }

  package func token(_ position: Position) -> String {
    var body: [UInt8] = [Self.version] + store
    body.append(bigEndian: position.alarms)
    body.append(bigEndian: position.telemetry)
    return Sodium.base64URL(body + seal(body))
  }

  package func position(_ token: String) throws(CursorFailure) -> Position {
    guard let bytes = Sodium.bytes(base64URL: token), bytes.count == Self.bodyBytes + Self.sealBytes,
      bytes[0] == Self.version
    else { throw .malformed }
    let body = Array(bytes[..<Self.bodyBytes])
    if Array(body[1..<17]) != store { throw .otherStore }
    guard Sodium.areEqual(seal(body), Array(bytes[Self.bodyBytes...])) else { throw .forged }
    return Position(alarms: Int64(bigEndian: body[17..<25]), telemetry: Int64(bigEndian: body[25..<33]))
  }

  private func seal(_ body: [UInt8]) -> [UInt8] { Array(Sodium.hmac(body, key: key)[..<Self.sealBytes]) }
}

extension [UInt8] {
  fileprivate mutating func append(bigEndian value: Int64) {
    for shift in stride(from: 56, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: value >> Int64(shift))) }
  }
}

extension Int64 {
  fileprivate init(bigEndian bytes: some Sequence<UInt8>) {
    self = bytes.reduce(0) { $0 << 8 | Int64($1) }
  }
}
