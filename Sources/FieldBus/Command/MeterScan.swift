// Finding the meters on a line: who is there, and which profiles fit. Asks through any line; blocks.
//
// DL/T 645-2007 has a question for a meter that is alone (read address, all bytes AA), and short addresses: the lowest
// bytes given, AA above, a meter whose address ends so answers with its whole one. So several meters, whose replies to
// the first question collide, are told apart two digits at a time. CJ/T 188 has only the first: several meters can't be
// told apart.

import StreamCore

package struct MeterScan<Line: AskableLine> {
  package struct Progress: Sendable {
    /// Questions of the search so far, and how many there may be as far as is known.
    package var asked = 0
    package var expected = 0
    package var found = 0
  }

  private enum Answer {
    case nobody
    case one(MeterAddress, type: UInt8)
    case several
  }

  private let line: Line
  private let busProtocol: BusProtocol
  private let isPatient: Bool
  private let thinkNs: Int64
  private let format: LineFormat
  private let preamble = Array(repeating: MeterAddress.preambleByte, count: 4)
  private var found: [FoundUnit] = []
  private var progress = Progress()
  private let report: (Progress) -> Void
  /// More meters answer than could be told apart.
  package private(set) var isCrowded = false

  package init(
    _ line: Line, _ busProtocol: BusProtocol, format: LineFormat, thinkNs: Int64, isPatient: Bool,
    report: @escaping (Progress) -> Void = { _ in }
  ) {
    self.line = line
    self.busProtocol = busProtocol
    self.format = format
    self.thinkNs = thinkNs
    self.isPatient = isPatient
    self.report = report
  }

  /// If nobody answers: so long. If several do, each two digits that they share or not take a hundred questions more.
  package static func longestNs(_ busProtocol: BusProtocol, formats: [LineFormat], thinkNs: Int64) -> Int64 {
    let questions = Int64(busProtocol == .cjt188 ? CJT188.openings.count : 2)
    return formats.reduce(0) { $0 + questions * (thinkNs + questionBytes * $1.characterNs + $1.silenceNs) }
  }

  /// With its preamble.
  private static var questionBytes: Int64 { 20 }

  package mutating func find() throws(LineFailure) -> [FoundUnit] {
    found = []
    isCrowded = false
    if busProtocol == .cjt188 { try findWaterMeter() } else { try findElectricityMeters() }
    return found
  }

  // MARK: DL/T 645

  private mutating func findElectricityMeters() throws(LineFailure) {
    expect(2)
    var answer = try probe(DLT645.addressQuestion(.any(MeterAddress.dlt645Bytes)))
    // Older meters don't know the question for their address.
    if case .nobody = answer { answer = try probe(DLT645.question(.any(MeterAddress.dlt645Bytes), DLT645.commonItem)) }
    switch answer {
    case .nobody: return
    case .one(let address, _): if try add(address, type: 0) { return }
    case .several: break
    }
    try search([])
  }

  /// `low`: the bytes that are given, lowest first.
  private mutating func search(_ low: [UInt8]) throws(LineFailure) {
    expect(100)
    for number in 0..<100 as Range<UInt8> {
      let given = low + [(number / 10) << 4 | number % 10]
      let open = Array(repeating: MeterAddress.wildcard, count: MeterAddress.dlt645Bytes - given.count)
      switch try probe(DLT645.question(MeterAddress(wire: given + open), DLT645.commonItem)) {
      case .nobody: continue
      case .one(let address, _):
        if try !add(address, type: 0) { isCrowded = true }
      case .several:
        if open.isEmpty { isCrowded = true } else { try search(given) }
      }
    }
  }

  // MARK: CJ/T 188

  private mutating func findWaterMeter() throws(LineFailure) {
    expect(CJT188.openings.count)
    for opening in CJT188.openings {
      switch try probe(opening) {
      case .nobody: continue
      case .several:
        isCrowded = true
        return
      case .one(let address, let type):
        if try !add(address, type: type) { isCrowded = true }
        return
      }
    }
  }

  // MARK: Asking

  private mutating func expect(_ more: Int) { progress.expected += more }

  private mutating func probe(_ question: [UInt8]) throws(LineFailure) -> Answer {
    progress.asked += 1
    progress.found = found.count
    report(progress)
    do throws(LineFailure) {
      let reply = try ask(question)
      guard let address = Self.address(reply.frame, busProtocol) else { return .several }
      return .one(address, type: reply.frame[1])
    } catch {
      switch error {
      // It has no such item or command, and its refusal says no address: another question may do.
      case .noReply, .refused: return .nobody
      case .corrupt: return .several
      case .busy, .tooLate, .lineLost, .notServed, .notPossible: throw error
      }
    }
  }

  private func ask(_ question: [UInt8]) throws(LineFailure) -> LineReply {
    try line.ask(LineRequest(preamble + question, timeoutNs: thinkNs, isPatient: isPatient))
  }

  private static func address(_ frame: [UInt8], _ busProtocol: BusProtocol) -> MeterAddress? {
    let (first, count) = busProtocol == .cjt188 ? (2, MeterAddress.cjt188Bytes) : (1, MeterAddress.dlt645Bytes)
    guard frame.count >= first + count else { return nil }
    return MeterAddress(wire: Array(frame[first..<(first + count)]))
  }

  /// True if it answers by its own address, too: what looked like one reply was no two.
  private mutating func add(_ address: MeterAddress, type: UInt8) throws(LineFailure) -> Bool {
    if found.contains(where: { $0.meter == address }) { return true }
    let questions =
      busProtocol == .cjt188
      ? CJT188.items.map { CJT188.question(type: type, address, $0) } : [DLT645.question(address, DLT645.commonItem)]
    for question in questions + questions {
      do throws(LineFailure) {
        let reply = try ask(question)
        var unit = FoundUnit(address: 0, format: format, tookNs: reply.tookNs)
        unit.meter = address
        unit.meterType = type
        found.append(unit)
        return true
      } catch {
        switch error {
        case .refused:
          var unit = FoundUnit(address: 0, format: format, tookNs: 0)
          unit.meter = address
          unit.meterType = type
          found.append(unit)
          return true
        case .noReply, .corrupt: continue
        case .busy, .tooLate, .lineLost, .notServed, .notPossible: throw error
        }
      }
    }
    return false
  }

  // MARK: Profiles

  /// Tries the first points of each profile on the meter.
  package func fit(_ unit: inout FoundUnit, _ profiles: [Profile]) {
    var known: [[UInt8]: LineReply?] = [:]
    unit.fits = profiles.compactMap { profile in
      guard let frame = profile.frame, frame.busProtocol == busProtocol, isType(frame, unit.meterType) else {
        return nil
      }
      var device = DeviceSpec(
        name: "", place: SourcePlace(file: profile.id, line: 0, column: 0), bus: 0, address: 0, profile: profile.id,
        kind: profile.kind)
      device.frame = frame
      device.meterAddress = unit.meter
      let evidence = evidence(profile, frame, device, &known)
      // What an item's number means is the standard's word, not a guess.
      return evidence > 0 ? ProfileFit(profile: profile.id, kind: profile.kind, confidence: 0.7 * evidence) : nil
    }.sorted { ($0.confidence, $1.profile) > ($1.confidence, $0.profile) }
  }

  private func isType(_ frame: FrameSpec, _ type: UInt8) -> Bool {
    guard case .cjt188(let wanted) = frame.format else { return true }
    return wanted >> 4 == type >> 4
  }

  private func evidence(
    _ profile: Profile, _ frame: FrameSpec, _ device: DeviceSpec, _ known: inout [[UInt8]: LineReply?]
  ) -> Double {
    var sum = 0.0
    var tried = 0
    for point in profile.points where !point.personal && tried < ScanPlan.pointsTried {
      guard let request = AskPlan.question(to: device, for: point) else { continue }
      tried += 1
      let bare = Array(request.bytes.dropFirst(request.preamble))
      let reply = known[bare] ?? (try? ask(bare))
      known[bare] = .some(reply)
      if let reply, let reading = FrameReading.point(point, in: reply, to: request, frame) {
        sum += reading.plausibility(point)
      }
    }
    return tried == 0 ? 0 : sum / Double(tried)
  }
}

extension DLT645 {
  /// Total active energy: every meter has it.
  package static let commonItem: UInt32 = 0x0001_0000

  package static func question(_ address: MeterAddress, _ identifier: UInt32) -> [UInt8] {
    made { putRead($0, address: address, identifier: identifier) }
  }

  /// 7.4: only a meter that is alone on the line is understood.
  package static func addressQuestion(_ address: MeterAddress) -> [UInt8] {
    made { putReadAddress($0, address: address) }
  }

  private static func made(_ put: (UnsafeMutablePointer<UInt8>) -> Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: requestBytes) { buffer, count in
      count = buffer.baseAddress.map(put) ?? 0
    }
  }
}

extension CJT188 {
  /// Present readings, in both orders that makers send the identifier in.
  package static let items: [UInt16] = [0x901F, 0x1F90]
  private static let addressItems: [UInt16] = [0x810A, 0x0A81]
  /// Any type, water, heat, gas, others.
  private static let types: [UInt8] = [anyType, 0x10, 0x20, 0x30, 0x40]

  package static func question(
    type: UInt8, _ address: MeterAddress, _ identifier: UInt16, control: UInt8 = readData
  ) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: requestBytes) { buffer, count in
      guard let start = buffer.baseAddress else {
        count = 0
        return
      }
      count = putRead(start, type: type, address: address, identifier: identifier, serial: 0, control: control)
    }
  }

  /// What a meter that is alone on its line answers: one of these, depending on its maker.
  package static let openings: [[UInt8]] = types.flatMap { type in
    let open = MeterAddress.any(MeterAddress.cjt188Bytes)
    return addressItems.map { question(type: type, open, $0, control: readAddress) }
      + items.map { question(type: type, open, $0) }
  }
}
