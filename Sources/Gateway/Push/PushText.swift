// What libraries and platforms say, in words that may stand in a log and on a terminal. Pure functions.

import CLinux
import FieldBus
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import StreamCore

/// Is the wall clock to be believed, and what does it say: certificates are judged by it.
package struct PushClock: Sendable {
  package var isBelieved: @Sendable () -> Bool
  package var unixNow: @Sendable () -> Int64

  package init(isBelieved: @escaping @Sendable () -> Bool, unixNow: @escaping @Sendable () -> Int64)
  {
    self.isBelieved = isBelieved
    self.unixNow = unixNow
  }

  package static func system(_ trust: ClockTrust) -> PushClock {
    PushClock(
      isBelieved: {
        kerb_realtime_ns() >= Limits.wallClockNsMin
          && (trust == .trusted || kerb_clock_synchronised() == 1)
      }, unixNow: { kerb_realtime_ns() / 1_000_000_000 })
  }

  /// Why a certificate may be refused that is right.
  package var certificateDoubt: String {
    isBelieved()
      ? "its certificate is not valid now, or not signed by a CA that is trusted here; look at `ca_file`"
      : "its certificate can't be verified: the clock is not set (it says \(PullCertificate.date(unixNow()))), so it "
        + "may be not yet valid; it is tried again"
  }
}

enum PushText {
  static func of(_ error: any Error, clock: PushClock) -> String {
    if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
    if error is NIOSSLExtraError { return "its certificate is for another name; look at `url`" }
    if let error = error as? NIOSSLError {
      let text = "\(error)"
      if text.contains("CERTIFICATE_VERIFY_FAILED") { return clock.certificateDoubt }
      if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
        return "it does not speak TLS at this port; look at `url`"
      }
      if text.contains("CERTIFICATE_REQUIRED") {
        return "it wants a certificate: give `certificate` and `key`"
      }
      return "TLS failed: \(printable(Array(TLSWords.of(text).utf8)))"
    }
    if case .connectTimeout? = error as? ChannelError { return "no answer to the connection" }
    return printable(Array("\(error)".utf8))
  }

  /// The beginning of what a stranger said, in one line without control characters.
  static func printable(_ bytes: [UInt8]) -> String {
    var text = ""
    for scalar in String(decoding: bytes.prefix(Limits.pushReasonBytesMax), as: UTF8.self)
      .unicodeScalars
    {
      let isPlain =
        scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value)
        && scalar.properties.generalCategory != .format
      if isPlain { text.unicodeScalars.append(scalar) } else if text.last != " " { text += " " }
    }
    while text.last == " " { text.removeLast() }
    return text
  }
}

/// The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date.
package enum RetryAfter {
  /// `nowUnix`: nil while the clock is not believed, and a date means nothing.
  package static func ns(_ text: String, nowUnix: Int64?) -> Int64? {
    if text.utf8.count <= 9, let seconds = Int64(text), seconds >= 0 {
      return seconds * 1_000_000_000
    }
    let at = kerb_http_date(text)
    guard let nowUnix, at >= 0 else { return nil }
    let span = min(max(0, at - nowUnix), Limits.retryAfterNsMax / 1_000_000_000)
    return span * 1_000_000_000
  }
}
