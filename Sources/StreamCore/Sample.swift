// What flows: one value of one series, when it was read, and how far it can be trusted.

/// A moment on the box's monotonic clock, in nanoseconds. Wall time is put on at the way out.
@frozen
package struct Instant: Comparable, BitwiseCopyable, Sendable, Hashable {
  package var nanoseconds: Int64

  @inlinable
  package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  @inlinable
  package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

  /// Saturates: no clock value, however wrong, can trap.
  @inlinable
  package static func + (a: Instant, spanNs: Int64) -> Instant {
    let (sum, overflow) = a.nanoseconds.addingReportingOverflow(spanNs)
    return Instant(nanoseconds: overflow ? (spanNs > 0 ? .max : .min) : sum)
  }

  /// Nanoseconds from `b` to `a`; saturates.
  @inlinable
  package static func - (a: Instant, b: Instant) -> Int64 {
    let (difference, overflow) = a.nanoseconds.subtractingReportingOverflow(b.nanoseconds)
    return overflow ? (a > b ? .max : .min) : difference
  }

  package static let zero = Instant(nanoseconds: 0)
  package static let distantFuture = Instant(nanoseconds: .max)
}

/// Worst last: combining two qualities takes the greater.
package enum Quality: UInt8, Comparable, BitwiseCopyable, Sendable {
  /// Read from that register, in that request, within its interval.
  case good = 0
  /// Read, but outside its plausible range.
  case uncertain = 1
  /// No value: a sentinel, an exception, no communication.
  case bad = 2
  /// The last value, too old to be taken for the present one.
  case stale = 3

  @inlinable
  package static func < (a: Quality, b: Quality) -> Bool { a.rawValue < b.rawValue }
}

/// How the 64 bits of a sample's `raw` are to be read. Part of the schema, not of the sample.
package enum Encoding: UInt8, BitwiseCopyable, Sendable {
  /// Two's complement; value = raw × scale + offset. Also of bits, enumerations and counts.
  case signed = 0
  /// The bits of a UInt64 (only `u64`).
  case unsigned = 1
  /// The low 32 bits are those of a Float: prints as short as the device meant it.
  case float = 2
  /// The bits of a Double: `f64`, and computed statistics.
  case double = 3
  /// `raw` is a place in the batch's texts: UTF-8.
  case text = 4
  /// `raw` is a place in the batch's texts: 16 bytes of HMAC. The clear value exists nowhere.
  case pseudonym = 5

  /// `raw` places bytes in the batch's text area.
  @inlinable
  package var hasText: Bool { self == .text || self == .pseudonym }

  /// The engineering value, or NaN where the encoding has none.
  @inlinable
  package func value(raw: Int64, scale: Double, offset: Double) -> Double {
    switch self {
    case .signed: return raw.double * scale + offset
    case .unsigned: return Encoding.double(UInt64(bitPattern: raw)) * scale + offset
    case .float:
      return Double(Float(bitPattern: UInt32(truncatingIfNeeded: raw))) * scale + offset
    case .double: return Double(bitPattern: UInt64(bitPattern: raw)) * scale + offset
    case .text, .pseudonym: return .nan
    }
  }
}

extension Encoding {
  /// By halves: the library's own conversion allocates on 32-bit machines. Each half is exact, so there is one
  /// rounding.
  @inlinable
  package static func double(_ bits: UInt64) -> Double {
    let high = Int64(bitPattern: bits &>> 32)
    return high.double * 4_294_967_296 + Int64(bitPattern: bits & 0xFFFF_FFFF).double
  }
}

/// 24 bytes. The series' place in the catalogue is its number.
@frozen
package struct Sample: BitwiseCopyable, Sendable {
  package var at: Instant
  /// See `Encoding`. 0 where there is no value (quality bad).
  package var raw: Int64
  package var series: UInt16
  package var quality: Quality
  /// The sample has bytes in the batch's text area, at `textOffset`, `textLength` long.
  package var hasText: Bool

  @inlinable
  package init(at: Instant, raw: Int64, series: UInt16, quality: Quality, hasText: Bool = false) {
    self.at = at
    self.raw = raw
    self.series = series
    self.quality = quality
    self.hasText = hasText
  }

  @inlinable
  package static func textPlace(offset: Int, length: Int) -> Int64 {
    offset.wide &<< 16 | length.wide
  }
  @inlinable
  package var textOffset: Int { Int(truncatingIfNeeded: raw &>> 16) }
  @inlinable
  package var textLength: Int { Int(truncatingIfNeeded: raw & 0xFFFF) }
}
