// A Double that came of decimals: an integer over a power of ten or two, over a count. The first is what
// ALP packs (Afroozeh, Kuffo, Boncz: «ALP: Adaptive Lossless floating-Point Compression», 2023); the count
// makes means of readings of it, which have 52 bits of noise otherwise. What rounding adds is told apart in
// units of the last place, so it is lossless. Pure.
//
// Only IEEE operations that round correctly are used: every machine finds the same bits.

struct Quotient {
  private let scale: Double
  private let count: Double

  /// `kind`: divisor of the mean in the low twelve bits, place in `scales` in the upper four. Nil: it
  /// divides by nothing.
  init?(kind: UInt16) {
    guard kind & 0xFFF != 0 else { return nil }
    scale = Self.scale(Int(kind >> 12))
    isBinary = kind >> 12 >= 8
    count = Double(kind & 0xFFF)
  }

  /// 10^0 … 10^7, 2^4, 2^8 … 2^32.
  private static func scale(_ place: Int) -> Double {
    switch place {
    case 0: return 1
    case 1: return 10
    case 2: return 100
    case 3: return 1_000
    case 4: return 10_000
    case 5: return 100_000
    case 6: return 1_000_000
    case 7: return 10_000_000
    default: return Double(UInt64(1) << UInt64(4 * (place - 7)))
    }
  }

  /// Scaled by a power of two: nothing is rounded in it.
  let isBinary: Bool

  /// The nearest; 0 for what has none that a Double can hold.
  func numerator(of bits: Int64) -> Int64 {
    let product = (Double(bitPattern: UInt64(bitPattern: bits)) * count * scale).rounded()
    return abs(product) < 0x1p53 ? Int64(product) : 0
  }

  func bits(of numerator: Int64) -> Int64 {
    Int64(bitPattern: (Double(numerator) / scale / count).bitPattern)
  }

  // MARK: For the packer

  static let failuresMax: UInt8 = 4
  /// Bits that a quotient must save at least: it has to be named.
  static let gainMin = 6
  /// A rounding of sums of a thousand readings stays below.
  private static let ulpsMax: UInt64 = 128
  private static let scales = [0, 1, 2, 3, 4, 10, 13, 15]
  private static let countMax = 64

  /// Between 2^-40 and 2^50, either sign.
  static func looksLikeDouble(_ raw: Int64) -> Bool {
    let exponent = raw >> 52 & 0x7FF
    return exponent > 1_023 - 40 && exponent < 1_023 + 50
  }

  /// About how many bits; nil: it is none of these.
  func cost(of raw: Int64, after before: Int64) -> Int? {
    let numerator = numerator(of: raw)
    let ulps = zigzag(raw &- bits(of: numerator))
    guard ulps < Self.ulpsMax else { return nil }
    let difference = zigzag(numerator &- self.numerator(of: before))
    return 64 - difference.leadingZeroBitCount + 64 - ulps.leadingZeroBitCount
  }

  /// Nothing but rounding is left of it.
  func fits(_ raw: Int64) -> Bool { zigzag(raw &- bits(of: numerator(of: raw))) < Self.ulpsMax }

  /// Nil: none costs less than `limit`. `mustFit`: the value before, too.
  static func best(for raw: Int64, after before: Int64, under limit: Int, mustFit: Bool) -> UInt16? {
    var best: UInt16?
    var least = limit
    for scale in scales {
      for count in 1...countMax {
        let kind = UInt16(scale << 12 | count)
        guard let quotient = Quotient(kind: kind), let cost = quotient.cost(of: raw, after: before), cost < least,
          !mustFit || quotient.fits(before)
        else { continue }
        least = cost
        best = kind
      }
    }
    return best
  }
}
