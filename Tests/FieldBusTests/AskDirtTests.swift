import FieldBus
import Glibc
import StreamCore
import Testing

private typealias Burst = ScriptedFrames.Burst

/// What a meter says: its data with 0x33 on each byte, and the sum.
private func meterReply(_ question: [UInt8], _ value: Int) -> [UInt8] {
  var rest = value
  var data: [UInt8] = []
  for _ in 0..<4 {
    data.append(UInt8(rest % 10) | UInt8(rest / 10 % 10) << 4)
    rest /= 100
  }
  let bytes = Array(question[0..<8]) + [0x91, 8] + question[10..<14] + data.map { $0 &+ 0x33 }
  return bytes + [bytes.reduce(0, &+), 0x16]
}

private func meters(_ count: Int, every: String) -> [DeviceSpec] {
  (1...count).map { unit in
    let profile = frameProfile(
      """
      frame = { format = "dlt645", preamble = 0 }
      point = [{ name = "a", read = "di 00010000", type = "bcd:4", every = "\(every)" },
               { name = "b", read = "di 00020000", type = "bcd:4", every = "\(every)" }]
      """)
    return frameDevice(profile, address: "\(unit)", name: "d\(unit)")
  }
}

/// Lines of text say neither who speaks nor of what.
private func sensors(_ count: Int, every: String) -> [DeviceSpec] {
  let profile = frameProfile(
    """
    frame = { format = "text", split = ",", ask = "#{address:02}\\r" , end = "\\r" }
    point = [{ name = "a", read = "field 1", type = "u32", every = "\(every)" }]
    """)
  return (1...count).map { frameDevice(profile, address: "\($0)", name: "d\($0)") }
}

@Suite("A dirty line of asked frames")
struct AskDirtTests {
  private static func setting(_ name: String, _ usual: UInt64) -> UInt64 {
    getenv(name).flatMap { UInt64(String(cString: $0)) } ?? usual
  }

  /// In pieces: no batch may be lost.
  private func run(_ rig: FrameRig, _ questions: Int) {
    while rig.loop.port.sent.count < questions { rig.run(untilNs: rig.loop.port.nowNs + second) }
    rig.finish()
  }

  /// Every value is the number of the question that it answers: an older question's reply would show.
  private func wrong(_ rig: FrameRig, value: (_ question: [UInt8], _ number: Int) -> Int) -> (wrong: Int, good: Int) {
    var counts = (wrong: 0, good: 0)
    let sent = rig.loop.port.sent
    var next = 0
    for sample in rig.samples where sample.quality == .good {
      while next < sent.count, sent[next].at <= sample.at.nanoseconds { next += 1 }
      counts.good += 1
      if next == 0 || Int(sample.raw) != value(sent[next - 1].bytes, next) { counts.wrong += 1 }
    }
    return counts
  }

  @Test("FAULTS 1, 2, 4, 5: of meters no wrong value is good, however late, broken or strange the replies")
  func meterDirt() {
    let wanted = Int(Self.setting("KERB_TRANSACTIONS", 4_000))
    let seed = Self.setting("KERB_SEED", 20_261_121)
    var random = Seeded(seed)
    func chance() -> Double { Double(random.next() >> 11) / Double(1 << 53) }
    // Low digits: the question's number; high ones: who and what.
    func value(_ question: [UInt8], _ number: Int) -> Int {
      Int(question[1]) * 10_000_000 + Int(question[12] &- 0x33) * 1_000_000 + number % 1_000_000
    }
    let rig = FrameRig(meters(8, every: "0s")) { question, number in
      let right = meterReply(question, value(question, number))
      let dice = chance()
      if dice < 0.010 {
        // A burst within a byte: what an 8-bit sum always sees. WeakSumTests has what it doesn't.
        var bytes = right
        bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(1 + random.next() % 255)
        return [Burst(afterNs: 15 * millisecond, bytes: bytes)]
      }
      if dice < 0.020 { return [Burst(afterNs: Int64((1.1 + 2.4 * chance()) * 100) * millisecond, bytes: right)] }
      if dice < 0.030 { return [Burst(afterNs: 15 * millisecond, bytes: Array(right.dropLast(5)))] }
      if dice < 0.035 {
        var other = question
        other[1] ^= 0x03
        let strange = meterReply(other, value(other, number))
        return [Burst(afterNs: 10 * millisecond, bytes: strange), Burst(afterNs: 50 * millisecond, bytes: right)]
      }
      return [Burst(afterNs: 15 * millisecond, bytes: right)]
    }
    run(rig, wanted)
    let (wrong, good) = wrong(rig, value: value)
    #expect(wrong == 0, "seed \(seed)")
    #expect(good > wanted * 9 / 10, "\(good) of \(wanted), seed \(seed)")
    #expect(rig.board.bus[.crcErrors] > 10 && rig.board.bus[.timeouts] > 10 && rig.board.bus[.lateReplies] > 5)
  }

  @Test("FAULTS 1: of devices that don't say what they answer no late reply is taken for another's")
  func textDirt() {
    let seed = Self.setting("KERB_SEED", 20_261_121)
    var random = Seeded(seed)
    let rig = FrameRig(sensors(4, every: "0s")) { _, number in
      let isLate = random.next() % 50 == 0
      let lateNs = Int64(110 + random.next() % 80) * millisecond
      return [Burst(afterNs: isLate ? lateNs : 15 * millisecond, bytes: Array("\(number)\r".utf8))]
    }
    run(rig, 1_500)
    let (wrong, good) = wrong(rig) { $1 }
    #expect(wrong == 0, "seed \(seed)")
    #expect(good > 1_200)
    #expect(rig.board.bus[.lateReplies] > 5)
  }

  private func goodOfOthers(_ devices: [DeviceSpec], silent: Set<Int>, seconds: Int64) -> Int64 {
    let rig = FrameRig(devices) { question, number in
      let isMeter = question[0] == 0x68
      let unit =
        isMeter
        ? Int(question[1] >> 4) * 10 + Int(question[1] & 0xF)
        : Int(String(decoding: question.dropFirst().dropLast(), as: UTF8.self)) ?? 0
      if silent.contains(unit) { return [] }
      let reply = isMeter ? meterReply(question, number) : Array("\(number)\r".utf8)
      return [Burst(afterNs: 20 * millisecond, bytes: reply)]
    }
    func good() -> Int64 {
      devices.indices.reduce(0) { $0 + (silent.contains($1 + 1) ? 0 : rig.board.device($1)[.good]) }
    }
    // Until the first backoff.
    while silent.contains(where: { rig.board.device($0 - 1)[.state] != BusBoard.offline }),
      rig.loop.port.nowNs < 300 * second
    {
      rig.run(untilNs: rig.loop.port.nowNs + second)
    }
    let (began, before) = (rig.loop.port.nowNs, good())
    rig.run(untilNs: began + seconds * second)
    return good() - before
  }

  @Test("one silent device of sixteen costs the others at most 2 % after its first backoff", arguments: [true, false])
  func oneSilent(areMeters: Bool) {
    let devices = areMeters ? meters(16, every: "0s") : sensors(16, every: "0s")
    let rest = areMeters ? meters(15, every: "0s") : sensors(15, every: "0s")
    let alone = goodOfOthers(rest, silent: [], seconds: 60)
    let beside = goodOfOthers(devices, silent: [16], seconds: 60)
    #expect(Double(beside) >= 0.98 * Double(alone), "\(beside) of \(alone)")
    #expect(beside < alone, "the silent one is probed")
  }

  @Test("FAULTS 15: with fifteen silent devices of sixteen the live one keeps its interval", arguments: [true, false])
  func fifteenSilent(areMeters: Bool) {
    let devices = areMeters ? meters(16, every: "1s") : sensors(16, every: "1s")
    let good = goodOfOthers(devices, silent: Set(2...16), seconds: 60)
    #expect(good >= (areMeters ? 2 : 1) * 58, "\(good)")
  }

  @Test("a timeout is learned from a device's own replies, and a silence then costs no more than that")
  func learned() {
    var isSilent = false
    let rig = FrameRig(meters(2, every: "1s"), spec: { $0.responseTimeoutNs = second }) { question, number in
      isSilent && question[1] == 2 ? [] : [Burst(afterNs: 40 * millisecond, bytes: meterReply(question, number))]
    }
    rig.run(untilNs: 60 * second)
    #expect(rig.board.device(0)[.latencyCount] > 100)
    // Forty milliseconds, less the question's own time on the wire.
    #expect((10...40).contains(rig.board.device(0)[.latencyMeanNs] / millisecond))
    isSilent = true
    let before = rig.loop.port.sent.count
    rig.run(untilNs: 62 * second)
    let sent = rig.loop.port.sent.dropFirst(before)
    let silent = sent.first { $0.bytes[1] == 2 }
    let next = sent.first { $0.at > silent?.at ?? .max }
    #expect((next?.at ?? .max) - (silent?.at ?? 0) < 150 * millisecond)
  }

  @Test("the bytes of a reply that broke off are in the black box, with what was wrong")
  func blackBox() {
    let rig = FrameRig(meters(1, every: "1s")) { question, number in
      let right = meterReply(question, number)
      switch number {
      case 1: return [Burst(afterNs: 5 * millisecond, bytes: Array(right.dropLast(5)))]
      case 2: return [Burst(afterNs: 5 * millisecond, bytes: Array(right.dropLast(2)) + [right[18] ^ 1, 0x16])]
      default: return [Burst(afterNs: 5 * millisecond, bytes: right)]
      }
    }
    rig.run(questions: 3)
    let frames = rig.board.blackBox.frames(after: 0)
    let broken = frames.filter { $0.kind == .broken }
    #expect(broken.map(\.cause) == [.wrongShape, .checksum])
    #expect(broken.map(\.length) == [15, 20])
    #expect(broken.first?.bytes.first == 0x68)
    #expect(frames.filter { $0.kind == .request }.count == 3)
  }

  @Test("a reply of which more would follow gives what it holds; what follows is not asked for")
  func following() {
    let profile = frameProfile(
      """
      frame = { format = "dlt645", preamble = 0 }
      point = [{ name = "near", read = "di 0001FF00 offset 4", type = "bcd:4", every = "1s" },
               { name = "last", read = "di 0001FF00 offset 192", type = "bcd:4", every = "1s" }]
      """)
    let rig = FrameRig([frameDevice(profile, address: "1")]) { question, _ in
      let data = [UInt8](repeating: 0x12 + 0x33, count: 196)
      let bytes = Array(question[0..<8]) + [0xB1, 200] + question[10..<14] + data
      return [Burst(afterNs: 5 * millisecond, bytes: bytes + [bytes.reduce(0, &+), 0x16])]
    }
    rig.run(questions: 2)
    #expect(Set(rig.good(0)) == [12_121_212] && Set(rig.good(1)) == [12_121_212])
    #expect(rig.board.bus[.good] == 2 && rig.loop.port.sent.allSatisfy { $0.bytes[8] == 0x11 })
  }
}
