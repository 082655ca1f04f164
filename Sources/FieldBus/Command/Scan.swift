// Finding what is on a line: which addresses answer, who they say they are, which profiles fit. Asks through any
// line; blocks.
//
// A unit is there if it answers at all: an exception is an answer. What is asked reads only.

import StreamCore

/// The line's settings to be tried, and what that costs.
package enum ScanPlan {
  /// Of a profile: enough to tell it from another.
  static let pointsTried = 6
  private static let bauds = [115_200, 57_600, 38_400, 19_200, 9_600, 4_800, 2_400, 1_200]

  /// Fastest first; of each speed the usual parity first. The silence of most settings is short where the speed is
  /// high.
  package static func formats(bauds: [Int] = [], parities: [Parity] = []) -> [LineFormat] {
    let bauds = bauds.isEmpty ? Self.bauds : bauds.sorted(by: >)
    let parities = parities.isEmpty ? Parity.allCases : parities
    return bauds.flatMap { baud in parities.map { LineFormat(baud: baud, parity: $0, stopBits: 1) } }
  }

  /// Of meters: the usual speed of their lines first, even parity as the standards say, then none.
  package static func meterFormats(bauds: [Int] = [], parities: [Parity] = []) -> [LineFormat] {
    let bauds = bauds.isEmpty ? [2_400, 9_600, 4_800, 1_200] : bauds
    let parities = parities.isEmpty ? [Parity.even, .none] : parities
    return parities.flatMap { parity in bauds.map { LineFormat(baud: $0, parity: parity, stopBits: 1) } }
  }

  /// If nobody answers: the longest that it takes.
  package static func longestNs(formats: [LineFormat], addresses: Int, thinkNs: Int64) -> Int64 {
    formats.reduce(0) { $0 + Int64(addresses) * (timeoutNs($1, thinkNs: thinkNs) + $1.silenceNs) }
  }

  /// Request and reply of one register on the wire, and the device's thinking.
  package static func timeoutNs(_ format: LineFormat, thinkNs: Int64) -> Int64 { 15 * format.characterNs + thinkNs }
}

/// How long a device may think. Starts at what is allowed; once three have answered, four times the slowest of them.
package struct ScanPatience: Sendable {
  private let mostNs: Int64
  private var slowestNs: Int64 = 0
  private var answers = 0

  package init(mostNs: Int64 = Limits.scanTimeoutNs) { self.mostNs = mostNs }

  package var thinkNs: Int64 {
    answers < 3 ? mostNs : Swift.min(mostNs, Swift.max(4 * slowestNs, Limits.scanTimeoutNsMin))
  }

  package mutating func saw(tookNs: Int64, on format: LineFormat) {
    answers += 1
    slowestNs = Swift.max(slowestNs, tookNs - 15 * format.characterNs)
  }
}

package struct FoundUnit: Sendable {
  package var address: Int
  /// Of a meter, which has no other address.
  package var meter: MeterAddress?
  /// Of a CJ/T 188 meter: water, heat, gas.
  package var meterType: UInt8 = 0
  package var format: LineFormat
  package var tookNs: Int64
  package var identification = Identification()
  /// What it says to function 0x11, as far as it is text.
  package var report = ""
  /// Best first.
  package var fits: [ProfileFit] = []

  package init(address: Int, format: LineFormat, tookNs: Int64) {
    self.address = address
    self.format = format
    self.tookNs = tookNs
  }
}

extension FoundUnit {
  /// As it stands in a configuration, without quotes.
  package var addressText: String { meter?.text ?? "\(address)" }
}

package struct ProfileFit: Sendable, Hashable {
  package var profile: String
  package var kind: String
  /// 0 to 1.
  package var confidence: Double
}

package struct Scan<Line: AskableLine> {
  private let line: Line
  private let isPatient: Bool
  package var patience: ScanPatience

  package init(_ line: Line, isPatient: Bool, patience: ScanPatience = ScanPatience()) {
    self.line = line
    self.isPatient = isPatient
    self.patience = patience
  }

  private func ask(_ frame: [UInt8], _ format: LineFormat, replyBytes: Int, times: Int64 = 1) throws(LineFailure)
    -> LineReply
  {
    let thinkNs = times * patience.thinkNs
    let wireNs = Int64(8 + replyBytes) * format.characterNs
    return try line.ask(LineRequest(frame, timeoutNs: wireNs + thinkNs, isPatient: isPatient))
  }

  /// Nil: nobody answers there. Throws only what makes going on pointless.
  package mutating func probe(_ address: Int, _ format: LineFormat) throws(LineFailure) -> FoundUnit? {
    let frame = CommandFrame.read(unit: address, .holding, address: 0, count: 1)
    // Noise, or a slow neighbour's late reply: once more, with more time.
    for times in [1, 3] as [Int64] {
      do throws(LineFailure) {
        let reply = try ask(frame, format, replyBytes: 7, times: times)
        patience.saw(tookNs: reply.tookNs, on: format)
        return FoundUnit(address: address, format: format, tookNs: reply.tookNs)
      } catch {
        switch error {
        case .refused: return FoundUnit(address: address, format: format, tookNs: 0)
        case .noReply: return nil
        case .corrupt: continue
        case .busy, .tooLate: continue
        case .lineLost, .notServed, .notPossible: throw error
        }
      }
    }
    return nil
  }

  /// Who it says it is (functions 0x2B/0x0E and 0x11); many say nothing.
  package func identify(_ unit: inout FoundUnit) {
    var next: UInt8? = 0
    var rounds = 0
    while let first = next, rounds < 4 {
      guard
        let reply = try? ask(CommandFrame.identification(unit: unit.address, from: first), unit.format, replyBytes: 128)
      else { break }
      let (objects, more) = CommandFrame.objects(reply.frame)
      for (number, text) in objects {
        switch number {
        case 0: unit.identification.vendor = text
        case 1: unit.identification.product = text
        case 2: unit.identification.revision = text
        default: break
        }
      }
      next = more.flatMap { $0 > first ? $0 : nil }
      rounds += 1
    }
    if let reply = try? ask(CommandFrame.report(unit: unit.address), unit.format, replyBytes: 64) {
      unit.report = CommandFrame.reportText(reply.frame)
    }
  }

  /// Tries the first points of each profile on the device.
  package func fit(_ unit: inout FoundUnit, _ profiles: [Profile]) {
    var probes = RegisterProbes(unit: unit)
    unit.fits = profiles.compactMap { profile in
      guard let claim = Self.claim(profile.identification, unit.identification) else { return nil }
      let evidence = evidence(profile, unit, &probes)
      guard evidence > 0 else { return nil }
      // Its own word counts more than registers that happen to be there.
      let confidence = claim ? 0.7 + 0.3 * evidence : 0.6 * evidence
      return ProfileFit(profile: profile.id, kind: profile.kind, confidence: confidence)
    }.sorted { ($0.confidence, $1.profile) > ($1.confidence, $0.profile) }
  }

  /// True: it is the device that the profile names. False: the profile names none. Nil: it names another.
  private static func claim(_ wanted: Identification, _ said: Identification) -> Bool? {
    var isNamed = false
    for (want, say) in [
      (wanted.vendor, said.vendor), (wanted.product, said.product), (wanted.revision, said.revision),
    ] {
      guard let want else { continue }
      guard let say, say.lowercased().contains(want.lowercased()) else { return nil }
      isNamed = true
    }
    return isNamed
  }

  /// 0 to 1: how well the first points read as the profile says.
  private func evidence(_ profile: Profile, _ unit: FoundUnit, _ probes: inout RegisterProbes) -> Double {
    var sum = 0.0
    var tried = 0
    for point in profile.points where !point.personal && tried < ScanPlan.pointsTried {
      guard case .register(let table, let address) = point.source else { continue }
      tried += 1
      let count = table.isBits ? 1 : point.type.registers
      guard let words = words(table, address, count, unit, &probes) else { continue }
      sum += PointAccess<Line>.reading(words, of: point, tookNs: 0).plausibility(point)
    }
    return tried == 0 ? 0 : sum / Double(tried)
  }

  private func words(
    _ table: RegisterTable, _ address: Int, _ count: Int, _ unit: FoundUnit, _ probes: inout RegisterProbes
  ) -> [UInt16]? {
    let place = RegisterProbes.Place(table: table, address: address, count: count)
    if let known = probes.known[place] { return known.isEmpty ? nil : known }
    let frame = CommandFrame.read(unit: unit.address, table, address: address, count: count)
    let reply = try? ask(frame, unit.format, replyBytes: 5 + table.dataBytes(count: count))
    let words = reply.map { CommandFrame.words($0.frame, count: count) } ?? []
    probes.known[place] = words
    return words.isEmpty ? nil : words
  }
}

extension PointReading {
  /// 0 to 1: how much it looks like a value of that point.
  func plausibility(_ point: PointSpec) -> Double {
    if !point.values.isEmpty { return point.values[raw] == nil ? 0.2 : 1 }
    switch quality {
    case .good: return point.range == nil ? 0.8 : 1
    // A sentinel is the device's own «no value».
    case .bad: return point.invalid.contains(raw) ? 0.8 : 0
    case .uncertain, .stale: return 0.2
    }
  }
}

/// What was read already: many profiles begin at the same registers.
private struct RegisterProbes {
  struct Place: Hashable {
    var table: RegisterTable
    var address: Int
    var count: Int
  }
  let unit: FoundUnit
  /// Empty: refused, or no answer.
  var known: [Place: [UInt16]] = [:]
}
