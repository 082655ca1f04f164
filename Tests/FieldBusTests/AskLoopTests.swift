import FieldBus
import StreamCore
import TestSupport
import Testing

private typealias Burst = ScriptedFrames.Burst

private let meter = frameProfile(
  """
  frame = { format = "dlt645", preamble = 0 }
  [[point]]
  name = "energy"
  read = "di 00010000"
  type = "bcd:4"
  every = "1s"
  [[point]]
  name = "volts"
  read = "di 02010100"
  type = "bcd:2"
  every = "1s"
  range = [0, 4000]
  """)

/// A meter's right answer: energy 0..., volts as given.
private func reply(_ question: [UInt8], energy: Int = 1, volts: Int = 2_300) -> [UInt8] {
  let identifier = Array(question[10..<14])
  let isEnergy = identifier == [0x33, 0x33, 0x34, 0x33]
  var rest = isEnergy ? energy : volts
  var data: [UInt8] = []
  for _ in 0..<(isEnergy ? 4 : 2) {
    data.append(UInt8(rest % 10) | UInt8(rest / 10 % 10) << 4)
    rest /= 100
  }
  return sealed(question, control: 0x91, identifier + data.map { $0 &+ 0x33 })
}

private func sealed(_ question: [UInt8], control: UInt8, _ data: [UInt8]) -> [UInt8] {
  let bytes = Array(question[0..<8]) + [control, UInt8(data.count)] + data
  return bytes + [bytes.reduce(0, &+), 0x16]
}

@Suite("A bus of asked frames")
struct AskLoopTests {
  @Test("reads each item at its interval")
  func interval() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      [Burst(afterNs: 40 * millisecond, bytes: reply(question), gapNs: 4 * millisecond)]
    }
    rig.run(untilNs: 20 * second)
    rig.finish()
    #expect((38...42).contains(rig.loop.port.sent.count))
    #expect(rig.board.bus[.good] == rig.board.bus[.transactions])
    #expect(Set(rig.good(0)) == [1] && Set(rig.good(1)) == [2_300])
    #expect(rig.board.device(0)[.state] == BusBoard.online)
  }

  @Test("keeps the silence and the turnaround between a reply and the next question")
  func silence() {
    let rig = FrameRig([frameDevice(meter, address: "1")], spec: { $0.turnaroundNs = 50 * millisecond }) {
      question, _ in
      [Burst(afterNs: 40 * millisecond, bytes: reply(question))]
    }
    rig.run(untilNs: 5 * second)
    let starts = rig.loop.port.sent.map(\.at)
    for (one, next) in zip(starts, starts.dropFirst()) {
      #expect(next - one >= (40 + 50) * millisecond + LineFormat().silenceNs)
    }
    #expect(starts.count > 5)
  }

  @Test("never takes a reply that comes up to two timeouts late for a later question's")
  func late() {
    // The value is the number of the question: whatever is read must be this question's own.
    for lateMs in stride(from: 90, through: 290, by: 7) {
      let lateNs = Int64(lateMs) * millisecond
      var truth: [Int: Int64] = [:]
      let rig = FrameRig([frameDevice(meter, address: "1")]) { question, number in
        truth[number] = Int64(number)
        let isLate = number % 5 == 3
        return [
          Burst(afterNs: isLate ? lateNs : 20 * millisecond, bytes: reply(question, energy: number, volts: number))
        ]
      }
      rig.run(untilNs: 30 * second)
      rig.finish()
      let asked: [Int64] = rig.loop.port.sent.map { $0.at }
      #expect(rig.samples.count > 5)
      for sample in rig.samples where sample.quality == .good {
        // The question that was under way when the sample was read.
        let number = asked.lastIndex { $0 <= sample.at.nanoseconds }.map { $0 + 1 } ?? 0
        #expect(sample.raw == truth[number], "\(lateMs) ms late: \(sample.raw) for \(number)")
      }
    }
  }

  @Test("reads a value twice after a broken reply, and shows the second")
  func secondRead() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, number in
      var bytes = reply(question, energy: number, volts: number)
      if number == 1 { bytes[14] ^= 1 }
      return [Burst(afterNs: 10 * millisecond, bytes: bytes)]
    }
    rig.run(questions: 3)
    // The other item is asked at once: the first's late reply could not be told from a new one.
    #expect(rig.loop.port.sent.map { $0.bytes[11] } == [0x33, 0x34, 0x34])
    #expect(rig.good(0) == [] && rig.good(1) == [3])
  }

  @Test("asks an unanswered item again only when its late reply is over, and others meanwhile")
  func barred() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, number in
      number == 1 ? [] : [Burst(afterNs: 10 * millisecond, bytes: reply(question, energy: number, volts: number))]
    }
    rig.run(questions: 4)
    let sent = rig.loop.port.sent
    #expect(sent[1].bytes[11] == 0x34, "the other item shows at once whether the meter is there")
    #expect(rig.good(1).first == 2)
    let again = sent.dropFirst().first { $0.bytes[11] == 0x33 }
    let failedAt = sent[0].at + 17 * LineFormat().characterNs + 100 * millisecond
    #expect((again?.at ?? 0) >= failedAt + 390 * millisecond)
  }

  @Test("believes no other meter, and waits on for the right one")
  func otherMeter() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      var other = question
      other[1] = 0x02
      return [
        Burst(afterNs: 10 * millisecond, bytes: reply(other, energy: 999, volts: 999)),
        Burst(afterNs: 60 * millisecond, bytes: reply(question, energy: 5, volts: 6)),
      ]
    }
    rig.run(questions: 2)
    #expect(rig.good(0) == [5] && rig.good(1) == [6])
    #expect(rig.board.bus[.good] == 2)
  }

  @Test("takes no answer to another question, and not its own echo")
  func otherItem() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      var other = question
      other[10] ^= 1
      return [
        Burst(afterNs: 1, bytes: question),
        Burst(afterNs: 10 * millisecond, bytes: reply(other, energy: 7, volts: 7)),
      ]
    }
    rig.run(questions: 2)
    #expect(rig.samples.allSatisfy { $0.quality != .good })
    #expect(rig.board.bus[.otherErrors] == 2)
    let echoing = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      [Burst(afterNs: 1, bytes: question), Burst(afterNs: 30 * millisecond, bytes: reply(question))]
    }
    echoing.run(questions: 2)
    #expect(echoing.board.bus[.good] == 2)
  }

  @Test("bounds a drip of bytes: the timeout, and the longest frame's wire time")
  func drip() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      [Burst(afterNs: 50 * millisecond, bytes: reply(question), gapNs: 60 * millisecond)]
    }
    rig.run(questions: 1)
    let bound = (100 + 17) * millisecond + Int64(Limits.serialFrameBytesMax) * LineFormat().characterNs
    #expect(rig.loop.port.nowNs <= bound + 10 * millisecond)
    #expect(rig.board.bus[.good] == 0)
  }

  @Test("lets a slow meter finish what it has begun in time")
  func slow() {
    // Twenty bytes at 2400 baud take 92 ms: longer than what is left of the timeout.
    let format = LineFormat(baud: 2_400, parity: .even)
    let rig = FrameRig([frameDevice(meter, address: "1")], spec: { $0.format = format }) { question, _ in
      let charNs = format.characterNs
      return [Burst(afterNs: 16 * charNs + 95 * millisecond, bytes: reply(question), gapNs: charNs)]
    }
    rig.run(questions: 2)
    #expect(rig.board.bus[.good] == 2)
  }

  @Test("counts a wrong sum as line noise, and what a meter refuses as its refusal")
  func errors() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, number in
      if number == 1 {
        var bad = reply(question)
        bad[12] ^= 4
        return [Burst(afterNs: 10 * millisecond, bytes: bad)]
      }
      return [Burst(afterNs: 10 * millisecond, bytes: sealed(question, control: 0xD1, [0x35]))]
    }
    rig.run(questions: 5)
    #expect(rig.board.bus[.crcErrors] == 1)
    #expect(rig.board.bus[.exceptions] == 4)
    #expect(rig.board.device(0)[.state] == BusBoard.online, "a refusal is an answer")
    #expect(rig.samples.allSatisfy { $0.quality == .bad })
  }

  @Test("asks for what is refused more and more rarely, and never gives it up")
  func refusals() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      let isEnergy = question[11] == 0x33
      return [
        Burst(afterNs: 10 * millisecond, bytes: isEnergy ? sealed(question, control: 0xD1, [0x35]) : reply(question))
      ]
    }
    rig.run(untilNs: 600 * second)
    let energy = rig.loop.port.sent.filter { $0.bytes[11] == 0x33 }.map(\.at)
    #expect((10...24).contains(energy.count))
    #expect(rig.loop.port.sent.count - energy.count > 550)
    #expect(600 * second - (energy.last ?? 0) < 62 * second)
  }

  @Test("backs a silent meter off to a minute, while the other keeps its interval, and notices its return")
  func backoff() {
    let one = frameDevice(meter, address: "1", name: "one")
    let two = frameDevice(meter, address: "2", name: "two")
    var silentUntil = 400
    let rig = FrameRig([one, two]) { question, number in
      if question[1] == 0x02, number < silentUntil { return [] }
      return [Burst(afterNs: 20 * millisecond, bytes: reply(question))]
    }
    rig.run(untilNs: 150 * second)
    #expect(rig.board.device(1)[.state] == BusBoard.offline)
    #expect(rig.board.device(0)[.state] == BusBoard.online)
    let probes = rig.loop.port.sent.filter { $0.bytes[1] == 0x02 }.map(\.at)
    #expect(probes.count <= 10)
    #expect(zip(probes, probes.dropFirst()).allSatisfy { $1 - $0 <= 61 * second })
    #expect(rig.loop.port.sent.count - probes.count >= 280, "the live one is read twice a second")
    silentUntil = 0
    rig.run(untilNs: 215 * second)
    #expect(rig.board.device(1)[.state] == BusBoard.online)
    #expect(rig.board.points.report(2).quality == .good)
  }

  @Test("marks a silent meter's values as stale, and never repeats them as new")
  func stale() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, number in
      number <= 4 ? [Burst(afterNs: 10 * millisecond, bytes: reply(question))] : []
    }
    rig.run(untilNs: 10 * second)
    rig.finish()
    #expect(rig.board.points.report(0).quality == .stale)
    let lastGood = rig.samples.last { $0.quality == .good }?.at.nanoseconds ?? .max
    #expect(lastGood < 3 * second)
  }

  @Test("survives a line that goes away, and one that babbles without end")
  func lines() {
    let rig = FrameRig([frameDevice(meter, address: "1")]) { question, _ in
      [Burst(afterNs: 10 * millisecond, bytes: reply(question))]
    }
    rig.run(untilNs: 3 * second)
    rig.loop.port.isThere = false
    rig.run(untilNs: 6 * second)
    #expect(rig.board.bus[.state] == BusBoard.lost)
    #expect(rig.board.device(0)[.state] == BusBoard.offline)
    rig.loop.port.isThere = true
    rig.run(untilNs: 12 * second)
    #expect(rig.board.bus[.state] == BusBoard.running)
    #expect(rig.board.device(0)[.state] == BusBoard.online)
    var random = Seeded(7)
    let babbling = FrameRig([frameDevice(meter, address: "1")]) { _, _ in
      [Burst(afterNs: 0, bytes: (0..<4_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }, gapNs: millisecond)]
    }
    babbling.run(untilNs: 120 * second)
    #expect(babbling.samples.allSatisfy { $0.quality != .good })
    #expect(babbling.board.bus[.transactions] > 2)
  }

  @Test("of water meters numbers its questions; a meter that repeats the number is never misunderstood")
  func serials() {
    let water = frameProfile(
      """
      frame = { format = "cjt188", preamble = 2 }
      point = [{ name = "volume", read = "di 901F offset 0 unit 2C", type = "bcd:4", every = "1s" }]
      """)
    func answer(_ question: [UInt8], volume: UInt8, serial: UInt8) -> [UInt8] {
      let bytes = Array(question[2..<11]) + [0x81, 8, question[13], question[14], serial, volume, 0, 0, 0, 0x2C]
      return bytes + [bytes.reduce(0, &+), 0x16]
    }
    let rig = FrameRig([frameDevice(water, address: "78330011223344")]) { question, number in
      // After two rounds the meter is known to repeat the number: an older reply in front is passed over.
      let old = answer(question, volume: 0x99, serial: question[15] &- 1)
      let own = answer(question, volume: 0x05, serial: question[15])
      return number < 3
        ? [Burst(afterNs: 9 * millisecond, bytes: own)] : [Burst(afterNs: 9 * millisecond, bytes: old + own)]
    }
    rig.run(untilNs: 10 * second)
    rig.finish()
    #expect(Set(rig.loop.port.sent.map { $0.bytes[15] }).count > 8)
    #expect(Set(rig.good(0)) == [5])
    // One that always says the same number is understood, too.
    let stubborn = FrameRig([frameDevice(water, address: "78330011223344")]) { question, _ in
      [Burst(afterNs: 9 * millisecond, bytes: answer(question, volume: 7, serial: 3))]
    }
    stubborn.run(untilNs: 300 * second)
    #expect(stubborn.board.bus[.good] == stubborn.board.bus[.transactions])
    #expect(stubborn.board.bus[.transactions] > 290)
  }
}

@Suite("A weak sum")
struct WeakSumTests {
  /// Two flipped bits in a reply: one that sets and one that clears the same place pass a sum of eight bits.
  @Test("lets few broken replies pass, and the range and the digits catch most of those")
  func twoBits() {
    let wanted = 2_300
    var random = Seeded(2)
    var (accepted, wrongGood) = (0, 0)
    let rounds = 4_000
    for _ in 0..<rounds {
      let rig = FrameRig([frameDevice(narrow, address: "1")]) { question, _ in
        var bytes = reply(question, volts: wanted)
        let first = Int(random.next() % UInt64(8 * bytes.count))
        var second = first
        while second == first { second = Int(random.next() % UInt64(8 * bytes.count)) }
        for bit in [first, second] { bytes[bit / 8] ^= 1 << UInt8(bit % 8) }
        return [Burst(afterNs: 5 * millisecond, bytes: bytes)]
      }
      rig.run(questions: 1)
      accepted += Int(rig.board.bus[.good])
      wrongGood += rig.good(0).filter { $0 != Int64(wanted) }.count
    }
    #expect(accepted * 100 < 7 * rounds)
    #expect(accepted > 0 && wrongGood * 2 < accepted)
  }

  private let narrow = frameProfile(
    """
    frame = { format = "dlt645", preamble = 0 }
    point = [{ name = "volts", read = "di 02010100", type = "bcd:2", scale = 0.1, range = [180, 260] }]
    """)
}
