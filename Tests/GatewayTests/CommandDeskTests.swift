import FieldBus
import Gateway
import StreamCore
import Synchronization
import Testing

/// Commands at the control socket: who may, what is asked of the bus, what comes back.
@Suite("A command at the control socket")
struct CommandDeskTests {
  private func fixture() throws -> ControlFixture {
    let fixture = try ControlFixture()
    // Every register is worth its address; what is written is echoed.
    fixture.field.change {
      $0.answer = { request in
        let frame = request.frame
        if CommandFrame.writing.contains(frame[1]) {
          return .success(LineReply(frame: Array(frame.prefix(6)), tookNs: 1_000_000))
        }
        let address = Int(frame[2]) << 8 | Int(frame[3])
        let count = Int(frame[4]) << 8 | Int(frame[5])
        var data: [UInt8] = []
        for index in 0..<count {
          if frame[1] > 2 { data += [UInt8((address + index) >> 8), UInt8((address + index) & 0xFF)] }
        }
        if frame[1] <= 2 { data = [1] }
        return .success(LineReply(frame: [frame[0], frame[1], UInt8(data.count)] + data, tookNs: 20_000_000))
      }
    }
    return fixture
  }

  private func refusal(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch let failure as ControlFailure {
      if case .refused(let code, _) = failure { return code }
      return "\(failure)"
    } catch { return "\(error)" }
  }

  @Test("reads a point as the polls would, for whoever may look in; no personal point, and nothing that is not there")
  func read() throws {
    let fixture = try fixture()
    fixture.accessBox.access.withLock { $0 = .read }
    let device = try #require(fixture.catalogue.devices.first)
    let series = try #require(fixture.catalogue.series.first)
    let answer = try fixture.call("read", [("device", device.name), ("point", series.point)])
    #expect(answer["point"] == .string("\(device.name)/\(series.point)"))
    #expect(answer["registers"]?.array?.isEmpty == false)
    #expect(answer["took_ms"] == .integer(20))
    #expect(fixture.field.reports.withLock { $0.asked.count } == 1)
    #expect(refusal { _ = try fixture.call("read", [("device", "nobody"), ("point", "x")]) } == "not_found")
    let personal = try #require(fixture.catalogue.series.first { $0.personal })
    let owner = fixture.catalogue.devices[personal.device].name
    #expect(refusal { _ = try fixture.call("read", [("device", owner), ("point", personal.point)]) } == "personal")
    #expect(fixture.field.reports.withLock { $0.asked.count } == 1)
  }

  @Test("writes for those only who may change things, and only what a profile lets be written")
  func write() throws {
    let fixture = try fixture()
    let device = try #require(fixture.catalogue.devices.first)
    let point = try #require(fixture.catalogue.series.first).point
    let order = [("device", device.name), ("point", point), ("value", "1")]
    fixture.accessBox.access.withLock { $0 = .read }
    #expect(refusal { _ = try fixture.call("write", order) } == "forbidden")
    fixture.accessBox.access.withLock { $0 = .change }
    #expect(refusal { _ = try fixture.call("write", order) } == "not_writable")
    #expect(refusal { _ = try fixture.call("write", Array(order.dropLast())) } == "bad_request")
    #expect(fixture.field.reports.withLock { $0.asked.isEmpty })
  }

  @Test("sends a frame for those only who may change things; no frame that writes, and none over personal registers")
  func exchange() throws {
    let fixture = try fixture()
    func send(_ frame: [UInt8]) throws -> JSONValue {
      try fixture.call(
        "exchange",
        [("bus", "rs485-1"), ("frame", Hexadecimal.text(frame)), ("timeout_ms", "250"), ("patient", "true")])
    }
    let read = CommandFrame.read(unit: 99, .holding, address: 7, count: 2)
    #expect(try send(read)["reply"] == .string("63030400070008"))
    let asked = try #require(fixture.field.reports.withLock { $0.asked.last })
    #expect(asked.timeoutNs == 250_000_000 && asked.isPatient)
    #expect(refusal { _ = try send(CommandFrame.writeRegisters(unit: 1, address: 0, [1])) } == "bad_request")
    #expect(refusal { _ = try send([1]) } == "bad_request")
    // gate-1/card stands in unit 1's first register.
    #expect(refusal { _ = try send(CommandFrame.read(unit: 1, .holding, address: 0, count: 1)) } == "personal")
    fixture.field.change { $0.answer = { _ in .failure(.refused(2)) } }
    #expect(try send(read)["exception"] == .integer(2))
    fixture.field.change { $0.answer = { _ in .failure(.lineLost) } }
    #expect(refusal { _ = try send(read) } == "line_lost")
    fixture.accessBox.access.withLock { $0 = .read }
    #expect(refusal { _ = try send(read) } == "forbidden")
    #expect(refusal { _ = try fixture.call("exchange", [("bus", "x"), ("frame", "0103")]) } == "forbidden")
  }

  @Test("forgets what was learned, of one device or of all, for those only who may change things")
  func forget() throws {
    let fixture = try fixture()
    let names = fixture.catalogue.devices.map(\.name)
    fixture.accessBox.access.withLock { $0 = .read }
    #expect(refusal { _ = try fixture.call("forget", [("device", "all")]) } == "forbidden")
    fixture.accessBox.access.withLock { $0 = .change }
    #expect(refusal { _ = try fixture.call("forget", [("device", "nobody")]) } == "not_found")
    #expect(refusal { _ = try fixture.call("forget", []) } == "not_found")
    #expect(fixture.field.reports.withLock { $0.forgotten.isEmpty })
    fixture.field.change { $0.devices[1].refusedBefore = 2 }
    let one = try fixture.call("forget", [("device", names[1])])
    #expect(one["forgotten"] == .array([.string(names[1])]))
    #expect(one["planned_until_restart"] == .array([.string(names[1])]))
    #expect(fixture.field.reports.withLock { $0.forgotten } == [1])
    let all = try fixture.call("forget", [("device", "all")])
    #expect(all["forgotten"] == .array(names.map { .string($0) }))
    #expect(all["planned_until_restart"] == .array([]))
  }

  @Test("shows the frames behind the one that was seen last, and they come through whole")
  func frames() throws {
    let fixture = try fixture()
    fixture.accessBox.access.withLock { $0 = .read }
    let sent = [
      LineFrame(
        number: 5, at: Instant(nanoseconds: 77), kind: .request, origin: .command,
        bytes: [1, 3, 0, 0, 0, 1, 0x84, 0x0A]),
      LineFrame(
        number: 6, at: Instant(nanoseconds: 99), kind: .broken, origin: .poll, cause: .checksum, isMasked: true,
        length: 9, bytes: [0, 0]),
    ]
    fixture.field.change { $0.frames = sent }
    let answer = try fixture.call("frames", [("bus", "rs485-1"), ("after", "4")])
    #expect(answer["next"] == .integer(6) && answer["clock_offset_ns"] == nil)
    fixture.field.change { $0.clockOffsetNs = PullFixture.offsetNs }
    let known = try fixture.call("frames", [("bus", "rs485-1"), ("after", "4")])
    #expect(known["clock_offset_ns"] == .integer(PullFixture.offsetNs))
    #expect(answer["frames"]?.array?.compactMap(FrameRecord.read) == sent)
    #expect(try fixture.call("frames", [("bus", "rs485-1"), ("after", "6")])["frames"] == .array([]))
    #expect(refusal { _ = try fixture.call("frames", [("bus", "x")]) } == "not_found")
  }
}
