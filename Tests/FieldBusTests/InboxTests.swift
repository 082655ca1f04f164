import CLinux
import FieldBus
import Glibc
import StreamCore
import Testing

/// Posts from a thread of its own, as the tools' side does, while the test turns the loop.
private final class Poster: @unchecked Sendable {
  // Unchecked: written by the thread, read after it was joined.
  private var handle = pthread_t()
  private let inbox: Inbox
  private let request: LineRequest
  private let waitNs: Int64
  private var outcome: Result<LineReply, LineFailure>?

  init(_ inbox: Inbox, _ frame: [UInt8], isPatient: Bool = false, waitNs: Int64 = 120 * second) {
    self.inbox = inbox
    self.waitNs = waitNs
    request = LineRequest(frame, timeoutNs: 100 * millisecond, isPatient: isPatient)
    let before = inbox.posts
    pthread_create(
      &handle, nil,
      { raw in
        guard let raw else { return nil }
        Unmanaged<Poster>.fromOpaque(raw).takeUnretainedValue().post()
        return nil
      }, Unmanaged.passUnretained(self).toOpaque())
    let deadline = kerb_monotonic_ns() + 60 * second
    while inbox.posts == before, kerb_monotonic_ns() < deadline { sched_yield() }
  }

  private func post() {
    do throws(LineFailure) {
      outcome = .success(try inbox.ask(request, until: Instant(nanoseconds: kerb_monotonic_ns() + waitNs)))
    } catch { outcome = .failure(error) }
  }

  func result() -> Result<LineReply, LineFailure>? {
    pthread_join(handle, nil)
    return outcome
  }
}

@Suite("A command in a bus's inbox")
struct InboxTests {
  private func rig(
    _ devices: [DeviceSpec], spec: BusSpec = bus(),
    answer: @escaping (Int, Int, Int) -> ScriptedLine.Answer = { _, _, _ in
      .reply(afterNs: 20 * millisecond)
    }
  ) -> BusRig {
    let rig = BusRig(spec: spec, devices: devices, line: ScriptedLine(answer: answer))
    rig.board.inbox.open()
    return rig
  }

  private func expectRight(_ rig: BusRig, _ unit: Int, _ registers: [Int]) {
    for sample in rig.samples where sample.quality == .good {
      #expect(sample.raw == Int64(unit * 1_000 + registers[Int(sample.series)]))
    }
  }

  @Test("is carried out between two polls, with the line's silence before and behind it")
  func betweenPolls() throws {
    let spec = bus { $0.format.baud = 9_600 }
    let rig = rig([device(1, registers: [0, 5, 10, 15], everyNs: 0)], spec: spec)
    rig.run(untilNs: second)
    let poster = Poster(rig.board.inbox, CommandFrame.read(unit: 1, .holding, address: 77, count: 2))
    rig.run(untilNs: 2 * second)
    let reply = try #require(try poster.result()?.get())
    #expect(CommandFrame.words(reply.frame, count: 2) == [1_077, 1_078])
    #expect(reply.tookNs == 20 * millisecond)
    #expect(rig.commands.count == 1)
    let starts = rig.sent.map(\.at)
    for (earlier, later) in zip(starts, starts.dropFirst()) {
      #expect(later - earlier >= 20 * millisecond + spec.format.silenceNs)
    }
    rig.finish()
    expectRight(rig, 1, [0, 5, 10, 15])
  }

  @Test("of many, never two follow each other while a poll is due; they are carried out in the order they came")
  func turns() throws {
    let rig = rig([device(1, registers: [0, 50], everyNs: 0)])
    rig.run(untilNs: second)
    let posters = (0..<3).map {
      Poster(rig.board.inbox, CommandFrame.read(unit: 1, .holding, address: 100 + $0, count: 1))
    }
    rig.run(untilNs: 3 * second)
    for poster in posters { _ = try poster.result()?.get() }
    #expect(rig.commands.map(\.address) == [100, 101, 102])
    let places = rig.sent.indices.filter { rig.sent[$0].address >= 100 }
    for (earlier, later) in zip(places, places.dropFirst()) { #expect(later - earlier > 1) }
  }

  @Test("that fails leaves a debt: no poll takes its late reply for its own")
  func lateReply() throws {
    // So far apart that each is a request of one register.
    let devices = [device(1, registers: [0, 200], everyNs: 0)]
    // The reply to register 300 is 1.5 timeouts late, and looks like any other of this unit.
    let rig = rig(devices) { _, address, _ in .reply(afterNs: address == 300 ? 150 * millisecond : 20 * millisecond) }
    rig.run(untilNs: second)
    let poster = Poster(rig.board.inbox, CommandFrame.read(unit: 1, .holding, address: 300, count: 1))
    rig.run(untilNs: 5 * second)
    #expect(poster.result() == .failure(.noReply))
    rig.finish()
    expectRight(rig, 1, [0, 200])
    #expect(rig.board.bus[.fences] > 0)
    #expect(rig.samples.contains { $0.quality == .good })
  }

  @Test("never gets a poll's late reply for its own")
  func pollIsLate() throws {
    // Every fifth transaction is late by half a timeout.
    let rig = rig([device(1, registers: [0, 200], everyNs: 0)]) { _, _, number in
      .reply(afterNs: number % 5 == 0 ? 150 * millisecond : 20 * millisecond)
    }
    var now = second
    rig.run(untilNs: now)
    var good = 0
    for number in 0..<40 {
      let address = 400 + number
      let poster = Poster(rig.board.inbox, CommandFrame.read(unit: 1, .holding, address: address, count: 1))
      now += second
      rig.run(untilNs: now)
      if case .success(let reply)? = poster.result() {
        good += 1
        #expect(CommandFrame.words(reply.frame, count: 1) == [UInt16(1_000 + address)])
      }
    }
    #expect(good > 20)
  }

  @Test("on a lost line is answered at once; when nobody serves the bus, too")
  func lost() {
    let rig = rig([device(1, registers: [0])])
    rig.run(untilNs: second)
    rig.setThere(false)
    rig.run(untilNs: 5 * second)
    let poster = Poster(rig.board.inbox, CommandFrame.report(unit: 1))
    rig.run(untilNs: 6 * second)
    #expect(poster.result() == .failure(.lineLost))
    rig.board.inbox.close()
    #expect(throws: LineFailure.notServed) {
      try rig.board.inbox.ask(LineRequest(CommandFrame.report(unit: 1), timeoutNs: 1), until: .distantFuture)
    }
  }

  @Test("that is patient waits for a gap that it fits into with its drain")
  func patience() throws {
    let rig = rig([device(1, registers: [0], everyNs: second)])
    rig.run(untilNs: second + 900 * millisecond)
    // Due again at 2 s: 100 ms with their drain don't fit before it.
    let poster = Poster(rig.board.inbox, CommandFrame.read(unit: 9, .holding, address: 0, count: 1), isPatient: true)
    rig.run(untilNs: 4 * second)
    _ = try poster.result()?.get()
    let at = try #require(rig.commands.first?.at)
    #expect(at >= 2 * second)
    #expect(!rig.sent.contains { $0.unit == 1 && $0.at > at && $0.at < at + 20 * millisecond })
  }

  @Test("that nobody takes ends at its deadline, and its place is free again")
  func deadline() {
    let rig = rig([device(1, registers: [0])])
    for _ in 0..<(2 * Limits.commandsPerBusMax) {
      let poster = Poster(rig.board.inbox, CommandFrame.report(unit: 1), waitNs: millisecond)
      #expect(poster.result() == .failure(.tooLate))
    }
    let waiting = (0..<Limits.commandsPerBusMax).map { _ in Poster(rig.board.inbox, CommandFrame.report(unit: 1)) }
    #expect(throws: LineFailure.busy) {
      try rig.board.inbox.ask(LineRequest(CommandFrame.report(unit: 1), timeoutNs: 1), until: .distantFuture)
    }
    rig.board.inbox.close()
    for poster in waiting { #expect(poster.result() == .failure(.notServed)) }
  }
}

@Suite("The black box")
struct BlackBoxTests {
  @Test("has every frame with its bytes, its time and what became of it, and the last ones only")
  func frames() throws {
    let rig = BusRig(
      spec: bus(), devices: [device(1, registers: [0, 1]), device(2, registers: [7])],
      line: ScriptedLine(answer: { unit, _, _ in unit == 2 ? .refuse(2) : .reply(afterNs: 20 * millisecond) }))
    rig.run(untilNs: second)
    var frames = rig.board.blackBox.frames(after: 0)
    #expect(frames.first?.kind == .opened)
    let request = try #require(frames.first { $0.kind == .request })
    // 01 03 0000 0002 and its CRC, C40B, as every Modbus text has it.
    #expect(request.bytes == [1, 3, 0, 0, 0, 2, 0xC4, 0x0B])
    let reply = try #require(frames.first { $0.kind == .reply && $0.bytes[0] == 1 })
    #expect(Array(reply.bytes.dropLast(2)) == [1, 3, 4, 0x03, 0xE8, 0x03, 0xE9])
    #expect(modbusChecksum(reply.bytes) == 0)
    #expect(reply.at - request.at == 20 * millisecond)
    #expect(frames.contains { $0.kind == .reply && $0.bytes.dropLast(2) == [2, 0x83, 2] })
    rig.run(untilNs: 200 * second)
    frames = rig.board.blackBox.frames(after: 0)
    #expect(frames.count == Limits.framesKept)
    #expect(zip(frames, frames.dropFirst()).allSatisfy { $1.number == $0.number + 1 && $1.at >= $0.at })
    let last = rig.board.blackBox.newest
    #expect(rig.board.blackBox.frames(after: last).isEmpty)
    #expect(rig.board.blackBox.frames(after: last - 3).map(\.number) == [last - 2, last - 1, last])
  }

  @Test("holds no personal value: replies of such a unit are zeros under a CRC that fits, noise on its line is zeros")
  func personal() throws {
    var gate = device(3, registers: [0])
    var card = PointSpec(name: "card", place: nowhere, source: .register(.holding, address: 1))
    card.type = .u32
    card.personal = true
    gate.points.append(card)
    let rig = BusRig(
      spec: bus(), devices: [gate, device(4, registers: [0])],
      line: ScriptedLine(value: { unit, _ in
        unit == 3 ? 0xBEEF : 0x1234
      }))
    rig.run(untilNs: 10 * second)
    let replies = rig.board.blackBox.frames(after: 0).filter { $0.kind == .reply }
    let masked = replies.filter { $0.bytes[0] == 3 }
    #expect(!masked.isEmpty)
    for frame in masked {
      #expect(frame.isMasked)
      #expect(frame.bytes.dropFirst(3).dropLast(2).allSatisfy { $0 == 0 })
      #expect(modbusChecksum(frame.bytes) == 0)
    }
    #expect(replies.contains { $0.bytes[0] == 4 && !$0.isMasked && $0.bytes[3] == 0x12 })
  }
}
