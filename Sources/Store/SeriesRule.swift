// What the store must know of a series to let it go in the right order: the configuration says it, for each version of
// the catalogue that stored blocks name. Values only.

import StreamCore

/// How long a device's telemetry is worth its room.
package enum KeepClass: UInt8, Sendable, CaseIterable {
  /// Until the ring comes round.
  case short
  /// Thinned in the reserve, if thinning is on and somebody has yet to read it.
  case normal
  /// Whole in the reserve.
  case long
}

package struct SeriesRule: Sendable, Equatable {
  package var keep = KeepClass.normal
  package var isPersonal = false
  package var encoding = Encoding.signed
  /// Nil: the point itself.
  package var statistic: Statistic?
  package var windowNs: Int64 = 0
  /// Of a window's mean: the number of its count, and the other way round.
  package var partner: UInt16?
  /// The bus that it comes from.
  package var source: UInt8 = 0

  package init() {}
}

/// The rules of one version of the catalogue; nothing is known of a catalogue that is lost.
struct SeriesRules {
  var version: UInt32
  private let rules: [SeriesRule]?

  init(version: UInt32, _ rules: [SeriesRule]?) {
    self.version = version
    self.rules = rules
  }

  subscript(series: UInt16) -> SeriesRule {
    guard let rules, Int(series) < rules.count else { return SeriesRule() }
    return rules[Int(series)]
  }

  /// A series of which nothing is known may be anybody's.
  func isPersonal(_ series: UInt16) -> Bool {
    guard let rules, Int(series) < rules.count else { return true }
    return rules[Int(series)].isPersonal
  }

  var count: Int { rules?.count ?? 0 }
}
