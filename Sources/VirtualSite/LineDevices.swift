// The devices of one line and the slave that speaks for them: a request frame in, what the line shall carry out.
// Lives behind its line's lock.

import FieldBus
import StreamCore

/// What has happened on a line since it started.
package struct LineCounts: Sendable, Hashable {
  /// Frames that arrived whole and were addressed to a device that we have.
  package var requests = 0
  package var replies = 0
  /// Requests that began before t3.5 of silence, or before that of their device, and were ignored.
  package var early = 0
  /// Wrong checksum or length, or to a unit that is not there.
  package var foreign = 0
  package var bytesIn = 0
  package var bytesOut = 0
}

struct LineDevices {
  private let slave: ModbusSlave?
  private let framing: Framing
  private(set) var devices: [VirtualDevice] = []
  private var byUnit: [Int: Int] = [:]
  var counts = LineCounts()

  init(_ line: SiteLine, devices specs: [SiteDevice], siteSeed: UInt64) throws(SiteFailure) {
    framing = line.busProtocol == .modbusTCP ? .tcp : .rtu
    slave = line.busProtocol.isModbus ? try ModbusSlave(framing) : nil
    for spec in specs {
      guard let device = VirtualDevice(spec, siteSeed: siteSeed) else { throw .outOfMemory }
      byUnit[spec.address] = devices.count
      devices.append(device)
    }
  }

  func device(_ name: String) -> VirtualDevice? { devices.first { $0.spec.name == name } }

  /// Something on the line answers questions.
  var isAsked: Bool { devices.contains { $0.spec.profile.isAsked } }

  /// `gapNs`: the silence before the frame.
  mutating func answer(_ frame: [UInt8], atNs time: Int64, gapNs: Int64 = .max) -> [Emission] {
    guard slave != nil else { return answerFrame(frame, atNs: time) }
    guard let slave, let request = RequestFrame(frame, framing: framing), let index = byUnit[request.unit] else {
      counts.foreign += 1
      return []
    }
    let device = devices[index]
    guard gapNs >= device.spec.silenceNs else {
      counts.early += 1
      return []
    }
    counts.requests += 1
    let fault = device.faultOfNextRequest()
    if case .silent = fault?.kind { return [] }
    device.refresh(atNs: time)
    var refusal = Self.refusal(of: request, by: device)
    if case .exception(let code) = fault?.kind { refusal = code }
    let reply = slave.reply(to: frame, from: device.image.pointer, refusal: refusal)
    guard !reply.isEmpty else { return [] }
    if request.writes, let touched = request.touched, reply[framing.functionIndex] < 0x80 {
      device.keepWritten(touched.table, touched.range)
    }
    guard let fault else { return [Emission(bytes: reply)] }
    return fault.kind.emissions(of: reply, to: frame, framing: framing, round: fault.round)
  }

  /// An open address («AA») is answered by everyone whom it fits: all at once, as on a real line.
  private mutating func answerFrame(_ frame: [UInt8], atNs time: Int64) -> [Emission] {
    var answers: [[Emission]] = []
    var isOurs = false
    for device in devices {
      guard let own = device.frames else { continue }
      // Whether it is asked at all must be known before its fault counts.
      guard own.reply(to: frame, refusal: nil, { device.value($0, atNs: time) }) != nil else { continue }
      if !isOurs { counts.requests += 1 }
      isOurs = true
      let answer = answer(of: device, own, to: frame, atNs: time)
      if !answer.isEmpty { answers.append(answer) }
    }
    if !isOurs { counts.foreign += 1 }
    guard answers.count > 1 else { return answers.first ?? [] }
    return [Emission(bytes: Self.collision(answers.map { $0[0].bytes }))]
  }

  /// What two drivers leave of a bit: the space wins.
  private static func collision(_ frames: [[UInt8]]) -> [UInt8] {
    let length = frames.map(\.count).max() ?? 0
    return (0..<length).map { place in
      frames.reduce(0xFF) { $0 & (place < $1.count ? $1[place] : 0xFF) }
    }
  }

  private func answer(of device: VirtualDevice, _ own: FrameSlave, to frame: [UInt8], atNs time: Int64) -> [Emission] {
    let fault = device.faultOfNextRequest()
    if case .silent = fault?.kind { return [] }
    var refusal: UInt8?
    if case .exception(let code) = fault?.kind { refusal = code }
    guard let reply = own.reply(to: frame, refusal: refusal, { device.value($0, atNs: time) }), !reply.isEmpty
    else { return [] }
    var emissions = [Emission(bytes: reply)]
    if let fault { emissions = fault.kind.emissions(of: reply, to: frame, framing: own.framing, round: fault.round) }
    guard device.spec.profile.frame?.isMeter == true else { return emissions }
    return emissions.map { Emission(bytes: FrameSlave.preamble + $0.bytes, delayNs: $0.delayNs, gapNs: $0.gapNs) }
  }

  /// Exceptions that libmodbus wouldn't give by itself.
  private static func refusal(of request: RequestFrame, by device: VirtualDevice) -> UInt8? {
    if !request.known { return 1 }
    guard let touched = request.touched else { return nil }
    if !touched.table.isBits, touched.range.count > device.spec.profile.registersMax { return 3 }
    if device.spec.holes == .refuse, !device.image.owns(touched.table, touched.range) { return 2 }
    return nil
  }
}
