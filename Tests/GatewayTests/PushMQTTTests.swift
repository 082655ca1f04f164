import Gateway
import Store
import StreamCore
import Synchronization
import TestSupport
import Testing

/// The broker's side of MQTT (3.1.1 and 5), as far as a publisher sees it.
private struct BrokerTalk {
  struct Packet {
    var type: UInt8
    var flags: UInt8
    var body: [UInt8]
  }

  struct Message: Sendable {
    var topic = ""
    var number: UInt16 = 0
    var payload: [UInt8] = []
    var properties: [UInt8] = []
    var isRetained = false
    var json: JSONValue { (try? JSONParser.parse(payload)) ?? .null }
  }

  let talk: WireServer.Talk
  var isV5 = false

  func packet() -> Packet? {
    guard let head = talk.bytes(1)?.first else { return nil }
    var (length, shift) = (0, 0)
    while true {
      guard let byte = talk.bytes(1)?.first else { return nil }
      length |= Int(byte & 0x7F) << shift
      shift += 7
      if byte & 0x80 == 0 { break }
    }
    guard let body = length == 0 ? [] : talk.bytes(length) else { return nil }
    return Packet(type: head >> 4, flags: head & 0xF, body: body)
  }

  func message(_ packet: Packet) -> Message {
    var message = Message()
    var rest = packet.body[...]
    func number(_ bytes: ArraySlice<UInt8>) -> Int {
      bytes.prefix(2).reduce(0) { $0 << 8 | Int($1) }
    }
    let topic = number(rest)
    rest = rest.dropFirst(2)
    message.topic = String(decoding: rest.prefix(topic), as: UTF8.self)
    rest = rest.dropFirst(topic)
    message.number = UInt16(number(rest))
    rest = rest.dropFirst(2)
    if isV5 {
      var (length, shift) = (0, 0)
      while let byte = rest.first {
        rest = rest.dropFirst()
        length |= Int(byte & 0x7F) << shift
        shift += 7
        if byte & 0x80 == 0 { break }
      }
      message.properties = Array(rest.prefix(length))
      rest = rest.dropFirst(length)
    }
    message.payload = Array(rest)
    message.isRetained = packet.flags & 1 == 1
    return message
  }

  /// CONNACK; `code` 0: welcome.
  func greet(_ code: UInt8 = 0) { talk.send(isV5 ? [0x20, 3, 0, code, 0] : [0x20, 2, 0, code]) }

  func acknowledge(_ message: Message, _ reason: UInt8 = 0) {
    let (high, low) = (UInt8(message.number >> 8), UInt8(message.number & 0xFF))
    talk.send(isV5 && reason != 0 ? [0x40, 3, high, low, reason] : [0x40, 2, high, low])
  }

  /// Takes a CONNECT and greets; then `got` says what becomes of each message: an acknowledgement's reason, or nothing.
  func serve(_ got: (Message) -> UInt8?) {
    guard packet()?.type == 1 else { return }
    greet()
    while let packet = packet() {
      if packet.type == 12 { talk.send([0xD0, 0]) }
      guard packet.type == 3 else { continue }
      let message = message(packet)
      if let reason = got(message) { acknowledge(message, reason) }
    }
  }
}

@Suite struct PushMQTTTests {
  private static func spec(port: Int, _ adjust: (inout PushSpec) -> Void = { _ in }) -> PushSpec {
    PushFixture.spec(port: port) {
      $0.kind = .mqtt
      $0.address = PushAddress(scheme: "mqtt", isTLS: false, host: "127.0.0.1", port: port)
      $0.topic = "kerb/box-7/{lane}"
      $0.statusTopic = "kerb/box-7/status"
      $0.clientID = "kerb-box-7-city"
      adjust(&$0)
    }
  }

  @Test(
    "Batches arrive under their lane, alarms first, and the cursor follows the acknowledgements",
    arguments: [false, true])
  func delivers(isV5: Bool) throws {
    let messages = Mutex<[BrokerTalk.Message]>([])
    let server = try WireServer { talk, _ in
      BrokerTalk(talk: talk, isV5: isV5).serve { message in
        messages.withLock { $0.append(message) }
        return 0
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(100)
    fixture.store.add(PullFixture.event(0, .unacknowledged, .critical, at: 5))
    fixture.office.admit([Self.spec(port: server.port) { $0.version = isV5 ? .v5 : .v3 }])
    fixture.tell()
    #expect(eventually { fixture.cursor() == Position(alarms: 1, telemetry: 100) })
    let all = messages.withLock { $0 }
    #expect(all.map(\.topic) == ["kerb/box-7/status", "kerb/box-7/alarms", "kerb/box-7/telemetry"])
    #expect(all[0].isRetained && String(decoding: all[0].payload, as: UTF8.self) == "online")
    #expect(!all[1].isRetained && !all[2].isRetained)
    #expect(all[2].json["batches"]?.array?.count == 2)
    let properties = String(decoding: all[2].properties, as: UTF8.self)
    #expect(properties.contains("\(PullFixture.storeID).3.telemetry.1-100.") == isV5)
    #expect(properties.contains("application/json") == isV5)
    #expect(fixture.report()?.text == "idle, everything is delivered")
    // A farewell says so, and the will is not needed.
    fixture.office.stop()
    #expect(
      eventually {
        messages.withLock { String(decoding: $0.last?.payload ?? [], as: UTF8.self) } == "offline"
      })
  }

  @Test(
    "36 A broker that takes and never acknowledges moves no cursor; a better one gets the same again"
  )
  func neverAcknowledges() throws {
    let messages = Mutex<[(connection: Int, message: BrokerTalk.Message)]>([])
    let server = try WireServer { talk, number in
      BrokerTalk(talk: talk).serve { message in
        if message.topic != "kerb/box-7/status" {
          messages.withLock { $0.append((number, message)) }
        }
        return number == 0 ? nil : 0
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([Self.spec(port: server.port)])
    fixture.tell()
    #expect(eventually { messages.withLock { $0.count } == 1 })
    fixture.pass(60)
    #expect(fixture.report()?.failure == .silent)
    #expect(fixture.cursor().telemetry == 0)
    #expect(fixture.passUntil { fixture.cursor().telemetry == 10 })
    let all = messages.withLock { $0 }
    #expect(all.map(\.connection) == [0, 1] && all[0].message.payload == all[1].message.payload)
  }

  @Test(
    "At most a window of messages is on its way, and acknowledgements out of order move no cursor over a hole"
  )
  func window() throws {
    let messages = Mutex<[BrokerTalk.Message]>([])
    let server = try WireServer { talk, _ in
      var held: [BrokerTalk.Message] = []
      let broker = BrokerTalk(talk: talk)
      broker.serve { message in
        if message.topic == "kerb/box-7/status" { return 0 }
        messages.withLock { $0.append(message) }
        held.append(message)
        if held.count == Limits.pushWindow {
          for each in held.dropFirst() { broker.acknowledge(each) }
        }
        return nil
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(3_000)
    fixture.office.admit([
      Self.spec(port: server.port) { $0.bodyBytesMax = Limits.pushBodyBytesMin }
    ])
    fixture.tell()
    #expect(eventually { fixture.report()?.counts.deliveries == Int64(Limits.pushWindow - 1) })
    #expect(messages.withLock { $0.count } == Limits.pushWindow, "the first still holds the window")
    #expect(fixture.cursor().telemetry == 0)
  }

  @Test("A broker's refusals are told apart: who may not come in, who may not publish, who is full")
  func refusals() throws {
    let way = Mutex(0)
    let server = try WireServer { talk, _ in
      let broker = BrokerTalk(talk: talk, isV5: true)
      if way.withLock({ $0 }) == 0 {
        _ = broker.packet()
        broker.greet(0x86)
        return talk.hold()
      }
      broker.serve { message in
        if message.topic == "kerb/box-7/status" { return 0 }
        return [0, 0x87, 0x97, 0][way.withLock { $0 }]
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([Self.spec(port: server.port) { $0.version = .v5 }])
    fixture.tell()
    #expect(
      eventually {
        fixture.report()?.text.contains("look at `username` and `password_file`") == true
      })
    #expect(fixture.report()?.needsPerson == true)
    way.withLock { $0 = 1 }
    #expect(
      fixture.passUntil {
        fixture.report()?.text.contains("does not let this box publish on `topic`") == true
      })
    #expect(fixture.report()?.needsPerson == true && fixture.cursor().telemetry == 0)
    way.withLock { $0 = 2 }
    #expect(fixture.passUntil { fixture.report()?.failure == .busy(status: 0x97, afterNs: nil) })
    way.withLock { $0 = 3 }
    #expect(fixture.passUntil { fixture.cursor().telemetry == 10 })
  }

  @Test("What a broker acknowledges without a subscriber is delivered, and said until somebody listens")
  func unheard() throws {
    let reason = Mutex(UInt8(0x10))
    let server = try WireServer { talk, _ in
      BrokerTalk(talk: talk, isV5: true).serve { message in
        message.topic == "kerb/box-7/status" ? 0x10 : reason.withLock { $0 }
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.office.admit([Self.spec(port: server.port) { $0.version = .v5 }])
    #expect(eventually { fixture.report()?.state == .idle })
    #expect(fixture.report()?.isUnheard == false, "that nobody watches whether the box is online is nobody's loss")
    fixture.fill(10)
    fixture.tell()
    #expect(eventually { fixture.cursor().telemetry == 10 })
    let report = try #require(fixture.report())
    #expect(report.isUnheard && report.failure == nil && report.counts.unheard == 1)
    #expect(report.text.hasSuffix("bind a durable queue to it") && report.chineseText.contains("无人订阅"))
    reason.withLock { $0 = 0 }
    fixture.fill(10, from: 100)
    fixture.tell()
    #expect(eventually { fixture.cursor().telemetry == 20 })
    #expect(fixture.report()?.isUnheard == false && fixture.report()?.counts.unheard == 1)
    #expect(fixture.report()?.text == "idle, everything is delivered")
  }

  @Test("What is no broker, and what closes at once, is retried; nobody is there is said")
  func noBroker() throws {
    let server = try WireServer { talk, number in
      if number == 0 { return }
      if number == 1 {
        talk.send(
          "HTTP/1.1 400 Bad Request\r\n\r\n" + String(repeating: "no broker here ", count: 50))
        return talk.hold()
      }
      BrokerTalk(talk: talk).serve { _ in 0 }
    }
    let fixture = PushFixture()
    fixture.fill(10)
    fixture.office.admit([Self.spec(port: server.port)])
    fixture.tell()
    #expect(fixture.passUntil { fixture.cursor().telemetry == 10 })
    #expect((fixture.report()?.counts.failures ?? 0) >= 2)
    server.stop()
    let deaf = try DeafPort()
    let other = PushFixture()
    other.office.admit([Self.spec(port: deaf.port)])
    withExtendedLifetime(deaf) {
      #expect(
        eventually { other.report()?.text.contains("Connection refused") == true },
        "\(other.report()?.text ?? "")")
    }
  }

  @Test(
    "In SenML a message is one batch or gaps, under their own id: in a property, and in 3.1.1 in the topic",
    arguments: [MQTTVersion.v3, .v5], [PushFormat.senmlJSON, .senmlCBOR])
  func senml(_ version: MQTTVersion, _ format: PushFormat) throws {
    let messages = Mutex<[BrokerTalk.Message]>([])
    let server = try WireServer { talk, _ in
      BrokerTalk(talk: talk, isV5: version == .v5).serve { message in
        messages.withLock { $0.append(message) }
        return 0
      }
    }
    defer { server.stop() }
    let fixture = PushFixture()
    fixture.store.change {
      $0.telemetryGaps = [Gap(from: 1, to: 9, epoch: 3, start: nil, end: nil, reason: .evicted)]
    }
    fixture.fill(100)
    // A commit of what this push does not see ends no message, and makes none.
    fixture.store.add((0..<70).map { PullFixture.sample(2, Int64($0), at: 200 + Double($0)) })
    fixture.fill(3, from: 300)
    fixture.office.admit([
      Self.spec(port: server.port) {
        $0.version = version
        $0.format = format
        $0.statusTopic = ""
        $0.consumer.kinds = ["manhole-cover"]
        if version == .v3 { $0.topic += "/{id}" }
      }
    ])
    fixture.tell()
    #expect(fixture.passUntil { fixture.cursor().telemetry == 182 })
    let all = messages.withLock { $0 }.sorted { $0.number < $1.number }
    let gap = "telemetry;from=1;to=9;count=9;reason=evicted"
    let ids = ["gaps.telemetry.1-9.", "3.telemetry.10-64", "3.telemetry.65-109", "3.telemetry.180-182"]
    #expect(all.count == ids.count, "\(all.map(\.topic))")
    for (message, id) in zip(all, ids) {
      let properties = String(decoding: message.properties, as: UTF8.self)
      let whole = "\(PullFixture.storeID).\(id)"
      if version == .v3 {
        let name = message.topic.dropFirst("kerb/box-7/telemetry/".count)
        #expect(id.hasSuffix(".") ? name.hasPrefix(whole) : name == whole, "\(message.topic)")
      } else {
        #expect(message.topic == "kerb/box-7/telemetry" && properties.contains(whole), "\(properties)")
        #expect(properties.contains(gap) == (id == ids[0]))
      }
    }
    let first = try #require(all.first)
    let last = try #require(all.last)
    if format == .senmlJSON {
      #expect(all.dropFirst().map { $0.json.array?.count } == [55, 45, 3])
      #expect(last.json.array?.first?["n"]?.string == "box-7/cover-1/tilt")
      let told = version == .v3 ? #"[{"n":"box-7/gap","vs":"\#(gap)"}]"# : "[]"
      #expect(String(decoding: first.payload, as: UTF8.self) == told)
    } else {
      #expect(last.payload.first == 0x9F && last.payload.last == 0xFF)
      let (name, text) = (Array("box-7/gap".utf8), Array(gap.utf8))
      let told: [UInt8] = [0x9F, 0xBF, 0x00, 0x69] + name + [0x03, 0x78, 0x2C] + text + [0xFF, 0xFF]
      #expect(first.payload == (version == .v3 ? told : [0x80]))
    }
  }
}
