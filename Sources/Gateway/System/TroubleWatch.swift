// Keeps the book of what is the matter with the box, and says each trouble once on the console when it comes and once
// when it is over. A value, on the main thread; what it looks at is given to it, but for the slow look at the system.

import FieldBus
import Logging
import Store
import StreamCore

struct TroubleWatch {
  private let configuration: Configuration
  private let look: (Configuration) -> [Trouble]
  private let book: TroubleBook
  private var missing: [PortPresence.Missing]?
  private var slow: [Trouble] = []
  private var slowAt: Int64 = 0
  private var storage: Trouble?
  /// What stands on the console and is not over, by key; and when each was said last.
  private var standing: [String: Trouble] = [:]
  private var said: [String: Int64] = [:]

  /// `look`: at what the system has; some milliseconds.
  init(
    _ configuration: Configuration, book: TroubleBook,
    look: @escaping (Configuration) -> [Trouble] = { BoxLook($0).troubles }
  ) {
    self.configuration = configuration
    self.book = book
    self.look = look
  }

  /// Once a second. `report`: nil if the store said nothing since the last look.
  mutating func look(_ buses: [BusReport], _ report: StoreReport?, at now: Int64, logger: Logger) {
    let present = PortPresence(configuration).missing
    if present != missing || now - slowAt >= Limits.boxLookNs {
      (missing, slowAt) = (present, now)
      slow = look(configuration)
    }
    if let report, !report.storeID.isEmpty { storage = StateRoom(configuration.statePath).trouble(report) }
    let explained = Set(slow.filter { $0.code.hasPrefix("port-") }.map(\.subject))
    let lost = buses.filter { !$0.problem.isEmpty && !explained.contains($0.name) }.map(Self.lost)
    tell((storage.map { [$0] } ?? []) + slow + lost, at: now, logger: logger)
  }

  /// These, and no others, are the matter now.
  mutating func tell(_ troubles: [Trouble], at now: Int64, logger: Logger) {
    book.write(troubles)
    var over = standing
    for trouble in troubles {
      over[trouble.key] = nil
      guard standing[trouble.key] == nil else { continue }
      // A loose plug would fill the journal.
      if let last = said[trouble.key], now - last < Limits.troubleSayNs { continue }
      standing[trouble.key] = trouble
      said[trouble.key] = now
      logger.warning("\(trouble.text)")
    }
    for (key, trouble) in over.sorted(by: { $0.key < $1.key }) {
      standing[key] = nil
      logger.notice("over: \(trouble.subject): \(trouble.code)")
    }
  }

  private static func lost(_ bus: BusReport) -> Trouble {
    let verdict = Verdict(bus, [])
    return Trouble(
      Trouble.portLost, bus.name, "bus \(bus.name): \(verdict.text)", "总线 \(bus.name)：\(verdict.chineseText)")
  }
}
