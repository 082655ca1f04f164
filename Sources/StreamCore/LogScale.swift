// Numbers in classes of equal relative width: every value of a class is within 1 % of the class's representative.
// The logarithm comes from the number's own exponent and a cubic of its significand (Masson, Rim, Lee: DDSketch,
// VLDB 2019; the cubic is that of its published implementations): a handful of multiplications, and one class in
// a hundred more than with a true logarithm.

enum LogScale {
  /// 1 / ln(1.01 / 0.99), times 7/10, where the cubic's slope is least: no class is wider than 1 % either way.
  private static let classesPerUnit = 0.7 / 0.020000666706669435

  /// The class of a finite number above 0.
  static func key(_ value: Double) -> Int {
    var bits = value.bitPattern
    var exponent = -1023
    if bits &>> 52 == 0 {
      // Subnormal: an exact step up.
      bits = (value * 18_014_398_509_481_984).bitPattern
      exponent -= 54
    }
    exponent += Int(truncatingIfNeeded: bits &>> 52)
    let t = Double(bitPattern: bits & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000) - 1
    let place = (Double(exponent) + cubic(t)) * classesPerUnit
    let whole = Int(place)
    return Double(whole) > place ? whole - 1 : whole
  }

  /// The number that is at most 1 % away from every number of the class.
  static func value(_ key: Int) -> Double {
    let low = edge(key)
    let high = edge(key + 1)
    guard high.isFinite else { return low }
    return low * (2 / (1 + low / high))
  }

  /// Where a class begins.
  static func edge(_ key: Int) -> Double {
    let place = Double(key) / classesPerUnit
    var exponent = Int(place)
    if Double(exponent) > place { exponent -= 1 }
    let aim = place - Double(exponent)
    // The cubic rises evenly from 0 to 1: Newton's steps close in from anywhere in between.
    var t = aim
    var step = 0
    while step < 6 {
      t -= (cubic(t) - aim) / (10.0 / 7 + t * (-6.0 / 5 + t * 18.0 / 35))
      step += 1
    }
    return scaled(1 + t, by: exponent)
  }

  private static func cubic(_ t: Double) -> Double { ((6.0 / 35 * t - 3.0 / 5) * t + 10.0 / 7) * t }

  /// significand × 2^exponent, in two steps where one would leave the range.
  private static func scaled(_ significand: Double, by exponent: Int) -> Double {
    if exponent > 1023 { return .infinity }
    if exponent < -1022 { return significand * power(-1022) * power(Swift.max(exponent + 1022, -1022)) }
    return significand * power(exponent)
  }

  private static func power(_ exponent: Int) -> Double {
    Double(bitPattern: UInt64(bitPattern: (exponent + 1023).wide) &<< 52)
  }
}
