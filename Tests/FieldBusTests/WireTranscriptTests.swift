import FieldBus
import StreamCore
import TestSupport
import Testing

private let transcripts = ["dlt645.wire", "cjt188.wire", "serial.wire"]

private func exchanges() throws -> [WireExchange] { try transcripts.flatMap { try WireExchange.all(in: $0) } }

private func answered() throws -> [WireExchange] { try exchanges().filter { $0.failure == "" && !$0.isDiscovery } }

/// The serial number of a CJ/T 188 question; the loop counts on from the one before.
private func serialBefore(_ exchange: WireExchange) -> UInt8 {
  let bare = exchange.sent.drop { $0 == MeterAddress.preambleByte }
  return bare.count > CJT188.serialAt ? bare[bare.startIndex + CJT188.serialAt] &- 1 : 0
}

@Suite("A published exchange")
struct WireTranscriptTests {
  @Test("is asked and understood byte for byte", arguments: try exchanges().filter { !$0.isDiscovery })
  func replay(_ exchange: WireExchange) throws {
    let device = frameDevice(frameProfile(exchange.profile), address: exchange.address)
    let rig = FrameRig([device], serial: serialBefore(exchange)) { _, _ in
      [.init(afterNs: 30 * millisecond, bytes: exchange.received)]
    }
    rig.run(questions: 1)
    #expect(WireExchange.hex(rig.loop.port.sent.first?.bytes ?? []) == WireExchange.hex(exchange.sent))
    let bus = rig.board.bus
    switch exchange.failure {
    case "":
      #expect(bus[.good] == 1)
      for (name, value) in exchange.values {
        let point = try #require(device.points.firstIndex { $0.name == name }, "\(name)")
        let index = try #require(rig.samples.firstIndex { Int($0.series) == point }, "\(name)")
        let sample = rig.samples[index]
        if value == "bad" {
          #expect(sample.quality == .bad, "\(name)")
        } else if value.hasPrefix("\"") {
          #expect("\"\(String(decoding: rig.texts[index], as: UTF8.self))\"" == value)
        } else {
          #expect(sample.quality == .good && "\(sample.raw)" == value, "\(name): \(sample.raw)")
        }
      }
      #expect(exchange.values.count == device.points.count)
    case "checksum":
      #expect(bus[.crcErrors] == 1 && bus[.good] == 0 && rig.samples.isEmpty)
    default:
      #expect(exchange.failure.hasPrefix("refused"))
      #expect(bus[.exceptions] == 1 && bus[.good] == 0 && bus[.timeouts] == 0)
    }
  }

  @Test("of a meter that is asked for its address finds it", arguments: try exchanges().filter(\.isDiscovery))
  func discovery(_ exchange: WireExchange) throws {
    var spec = BusSpec(name: "b", place: nowhere, busProtocol: .dlt645, endpoint: .serialPort(path: ""))
    spec.format = LineFormat(baud: 2_400, parity: .even)
    let line = ScriptedFrames { _, _ in [.init(afterNs: 30 * millisecond, bytes: exchange.received)] }
    let session = try FrameSession(spec, devices: [], port: line)
    let bare = exchange.sent.drop { $0 == MeterAddress.preambleByte }
    let reply = try session.ask(LineRequest(Array(bare), timeoutNs: 500 * millisecond))
    #expect(Array(bare) == DLT645.addressQuestion(.any(MeterAddress.dlt645Bytes)))
    let address = MeterAddress(wire: Array(reply.frame[1...6]))
    #expect(address.text == exchange.found)
  }

  /// Whatever single bit is wrong, the reply is refused, or says the same: a flipped preamble hides nothing.
  @Test("with one bit flipped never says something else", arguments: try answered())
  func bitFlips(_ exchange: WireExchange) throws {
    let profile = frameProfile(exchange.profile)
    guard let rule = profile.frame?.rule else { return }
    let device = frameDevice(profile, address: exchange.address)
    let wanted = try #require(said(exchange.received, rule, exchange, device))
    for bit in 0..<(8 * exchange.received.count) {
      var flipped = exchange.received
      flipped[bit / 8] ^= 1 << UInt8(bit % 8)
      let said = said(flipped, rule, exchange, device)
      #expect(said == nil || said == wanted, "bit \(bit)")
    }
  }

  @Test("cut off anywhere is no reply")
  func truncated() throws {
    var (spliced, wrong) = (0, 0)
    for exchange in try exchanges() where exchange.failure == "" && !exchange.isDiscovery {
      let profile = frameProfile(exchange.profile)
      guard let rule = profile.frame?.rule else { continue }
      let device = frameDevice(profile, address: exchange.address)
      let wanted = try #require(said(exchange.received, rule, exchange, device))
      for length in 0..<exchange.received.count {
        let cut = Array(exchange.received.prefix(length))
        #expect(said(cut, rule, exchange, device) == nil, "\(exchange) \(length) bytes")
        // With the next reply right behind it, a sum of eight bits lets one splice in 256 pass. A loop never
        // reads on so: it waits, drains, and reads twice.
        let both = said(cut + exchange.received, rule, exchange, device)
        spliced += 1
        if both != wanted { wrong += 1 }
        if case .binary(let frame) = rule, frame.checksum?.byteCount == 2 { #expect(both == wanted) }
      }
    }
    #expect(spliced > 300 && wrong * 100 < spliced)
  }

  @Test("behind any noise, and in front of it, is understood", arguments: try answered())
  func noise(_ exchange: WireExchange) throws {
    let profile = frameProfile(exchange.profile)
    guard let rule = profile.frame?.rule else { return }
    let device = frameDevice(profile, address: exchange.address)
    let wanted = try #require(said(exchange.received, rule, exchange, device))
    var random = Seeded(645)
    for _ in 0..<200 {
      let before = (0..<Int(random.next() % 24)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let after = (0..<Int(random.next() % 24)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(said(before + exchange.received + after, rule, exchange, device) == wanted, "\(WireExchange.hex(before))")
    }
  }

  /// The data of the first reply in these bytes, as AskLoop looks for it.
  private func said(
    _ bytes: [UInt8], _ rule: FrameRule, _ exchange: WireExchange, _ device: DeviceSpec
  ) -> [UInt8]? {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: FrameReader.memoryBytes, alignment: 64)
    defer { memory.deallocate() }
    var arena = Arena(memory: memory, capacityBytes: FrameReader.memoryBytes)
    var reader = FrameReader(arena: &arena)
    // What a profile describes may begin with any byte; a meter's preamble is no part of the question.
    let isMeter = device.frame?.isMeter == true
    let question = isMeter ? Array(exchange.sent.drop { $0 == MeterAddress.preambleByte }) : exchange.sent
    func look(_ reader: inout FrameReader) -> [UInt8]? {
      repeat {
        let reply = question.withUnsafeBufferPointer {
          rule.reply(UnsafePointer(reader.bytes), count: reader.frameLength, asked: $0, numbered: false)
        }
        if case .data(let first, let count) = reply {
          rule.clear(reader.bytes, first: first, count: count)
          return (first..<(first + count)).map { reader.bytes[$0] }
        }
      } while reader.next(rule)
      return nil
    }
    for byte in bytes where reader.take(byte, rule) {
      if let found = look(&reader) { return found }
    }
    while reader.giveUp(rule) {
      if let found = look(&reader) { return found }
    }
    return nil
  }
}

struct Seeded {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}
