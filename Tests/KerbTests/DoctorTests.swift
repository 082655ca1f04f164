import Gateway
import Testing

@testable import kerb

/// Each illness by itself: facts in, finding out.
@Suite("The doctor")
struct DoctorTests {
  private func well() throws -> DoctorFacts {
    var facts = DoctorFacts()
    facts.configurationPath = "kerb.toml"
    (facts.buses, facts.devices, facts.consumers) = (1, 2, 1)
    facts.agent = .running
    facts.status = try JSONParser.parse(
      """
      {"version":"1","uptime_s":60,"buses":[{"name":"b","good":9,"utilisation":0.1,"verdict":{"code":"fine"}}],
      "buffer":{"samples":5,"bytes":10,"capacity_bytes":20,"lost":0},
      "consumers":[{"name":"city","last_seen_age_s":3,"lag_records":0}]}
      """)
    facts.buffer = try JSONParser.parse("{\"state\":\"good\"}")
    facts.ports = [DoctorFacts.Port(bus: "b", path: "/dev/kerb/b")]
    facts.statePath = "/state"
    facts.freeBytes = 100
    facts.wantedBytes = 10
    facts.keyMode = 0o600
    facts.isClockSynchronised = true
    facts.unixSeconds = 1_800_000_000
    return facts
  }

  private func codes(_ facts: DoctorFacts, _ level: Finding.Level) -> [String] {
    Doctor(facts).findings.filter { $0.level == level }.map(\.code)
  }

  @Test("finds nothing wrong with a box that is well, and says what it looked at")
  func nothing() throws {
    let doctor = Doctor(try well())
    #expect(doctor.isWell)
    #expect(!doctor.findings.contains { $0.level != .good })
    #expect(
      doctor.findings.map(\.code) == [
        "configuration", "agent", "clock", "bus", "buffer", "consumer", "alarms", "disk",
      ])
  }

  @Test(
    "names each illness, and the next step in both languages",
    arguments: [
      "configuration-wrong", "agent-not-running", "agent-silent", "clock-wrong", "port-missing", "port-taken",
      "bus-all-silent", "buffer-full", "samples-lost", "consumer-away", "state-missing", "key-open", "disk-full",
      "certificate-expired", "push-failing", "push-unheard",
    ])
  func illness(_ code: String) throws {
    var facts = try well()
    switch code {
    case "configuration-wrong": facts.mistakes = ["kerb.toml:1:1: x: is wrong"]
    case "agent-not-running": facts.agent = .none
    case "agent-silent": facts.agent = .silent
    case "clock-wrong": facts.unixSeconds = 1_000
    case "port-missing": facts.ports[0].missing = ("there is none", "没有")
    case "port-taken": facts.ports[0].strangers = ["minicom (7)"]
    case "bus-all-silent":
      facts.status = try JSONParser.parse(
        "{\"buses\":[{\"name\":\"b\",\"verdict\":{\"code\":\"all-silent\",\"en\":\"silent\",\"zh\":\"无应答\"}}]}")
    case "buffer-full": facts.buffer = try JSONParser.parse("{\"state\":\"full\",\"last_failure\":\"disk full\"}")
    case "samples-lost": facts.status = try JSONParser.parse("{\"buffer\":{\"lost\":3}}")
    case "consumer-away":
      facts.status = try JSONParser.parse(
        "{\"consumers\":[{\"name\":\"city\",\"last_seen_age_s\":7200,\"lag_records\":9}]}")
    case "push-failing":
      facts.status = try JSONParser.parse(
        """
        {"consumers":[{"name":"city","push":{"failing":true,"needs_person":true,
        "says":{"en":"waiting 9 s; it answered 401","zh":"等待 9 秒；应答 401"}}}]}
        """)
    case "push-unheard":
      facts.status = try JSONParser.parse(
        """
        {"consumers":[{"name":"city","push":{"failing":false,"nobody_listens":true,
        "says":{"en":"idle; nobody is subscribed","zh":"空闲；无人订阅"}}}]}
        """)
    case "state-missing": facts.stateExists = false
    case "key-open": facts.keyMode = 0o644
    case "disk-full": facts.wantedBytes = 1_000
    default: facts.certificateExpires = facts.unixSeconds - 1
    }
    #expect(codes(facts, .wrong) == [code])
    let finding = try #require(Doctor(facts).findings.first { $0.code == code })
    for language in [Language.english, .chinese] {
      #expect(!finding.text(in: language).isEmpty && !finding.text(in: language).contains("{"))
      let step = try #require(finding.step(in: language))
      #expect(!step.isEmpty && !step.contains("{"))
    }
  }

  @Test("names what a finding is about once")
  func named() {
    func line(_ subject: String, _ text: String) -> String {
      Finding(level: .wrong, code: "x", subject: subject, text: Phrase(text, text)).line(in: .english)
    }
    #expect(line("/state", "/state/alarm.db is a folder") == "/state/alarm.db is a folder")
    #expect(line("city", "was here") == "city: was here")
  }

  @Test("tells a platform that never acknowledges from one that never comes", arguments: [0, 1, 60])
  func unacknowledged(_ answers: Int) throws {
    var facts = try well()
    func tell(_ age: String) throws {
      facts.status = try JSONParser.parse(
        """
        {"consumers":[{"name":"city","last_seen_age_s":\(age),"lag_records":9,
        "unacknowledged_answers":\(answers)}]}
        """)
    }
    for age in ["null", "7200"] {
      try tell(age)
      let code = answers > 0 ? "consumer-unacknowledged" : age == "null" ? "consumer-never" : "consumer-away"
      let found = try #require(Doctor(facts).findings.first { $0.subject == "city" })
      #expect(found.code == code)
      #expect(found.level == (answers > 1 || code == "consumer-away" ? .wrong : .note))
      if answers > 0 {
        #expect(found.text(in: .english).contains("(\(answers) answers)"))
        #expect(found.step(in: .english)?.contains("`after`") == true && found.step(in: .chinese)?.isEmpty == false)
      }
    }
    try tell("3")
    #expect(Doctor(facts).findings.first { $0.subject == "city" }?.code == "consumer")
  }

  @Test("says of the clock what its alarm says, however much it is trusted")
  func clockAlarm() throws {
    var facts = try well()
    let said = #"{"n":"box/clock-wrong","active":true,"message":{"en":"box: the clock has jumped","zh":"时间跳变"}}"#
    facts.alarms = [try JSONParser.parse(said)]
    #expect(codes(facts, .wrong) == ["clock-wrong"] && !codes(facts, .good).contains("clock"))
    let finding = try #require(Doctor(facts).findings.first { $0.code == "clock-wrong" })
    #expect(finding.text(in: .english) == "box: the clock has jumped" && finding.text(in: .chinese) == "时间跳变")
    #expect(finding.step(in: .chinese)?.contains("date -s") == true)
    facts.alarms = [try JSONParser.parse(said.replacing("true", with: "false"))]
    #expect(codes(facts, .good).contains("clock") && codes(facts, .wrong) == [])
  }

  @Test("tells of a state folder that can't be used once, and of no buffer beside it")
  func stateless() throws {
    var facts = try well()
    facts.status = try JSONParser.parse(#"{"buffer":{"state":"failing"}}"#)
    facts.buffer = .null
    facts.troubles = [Trouble("state-unusable", "/state", "/state is no folder", "/state 不是目录")]
    #expect(codes(facts, .wrong) == ["state-unusable"])
  }

  @Test("notes what may become an illness, and what hides from this user, without calling it wrong")
  func notes() throws {
    var facts = try well()
    facts.ports[0].isNumbered = true
    facts.certificateExpires = facts.unixSeconds + 86_400
    facts.isClockSynchronised = false
    facts.consumers = 0
    #expect(codes(facts, .note) == ["no-consumer", "clock-unsynchronised", "port-numbered", "certificate-expires"])
    facts.agent = .forbidden
    facts.isReadable = false
    #expect(codes(facts, .wrong) == [])
    #expect(codes(facts, .note).contains("agent-forbidden"))
  }
}

@Suite("The support bundle")
struct SupportBundleTests {
  @Test("masks who acknowledged an alarm, and what they wrote")
  func people() throws {
    let log = try JSONParser.parse(#"[{"alarm":"a","by":"Zhang","note":"at home","values":{"tilt":3}},{"alarm":"b"}]"#)
    let masked = try JSONParser.parse(
      #"[{"alarm":"a","by":"(masked)","note":"(masked)","values":{"tilt":3}},{"alarm":"b"}]"#)
    #expect(Masked.people(log) == masked)
  }

  @Test("masks users and passwords in addresses, and nothing else of them")
  func addresses() {
    #expect(Masked.withoutUser("mqtts://u:p@broker:8883/x") == "mqtts://(masked)@broker:8883/x")
    #expect(Masked.withoutUser("https://host/a@b") == "https://host/a@b")
    #expect(Masked.withoutUser("someone@example.org") == "someone@example.org")
  }

  @Test("is an archive whose every header carries its own checksum")
  func checksums() {
    var tar = Tar(unixSeconds: 1_800_000_000)
    tar.add("a/short.txt", Array("x".utf8))
    tar.add("a/block.txt", [UInt8](repeating: 7, count: 512))
    #expect(tar.bytes.count == 512 * (2 + 2 + 2))
    for start in [0, 1_024] {
      var head = Array(tar.bytes[start..<(start + 512)])
      let stored = Int64(String(decoding: head[148..<154], as: UTF8.self), radix: 8)
      for index in 148..<156 { head[index] = 0x20 }
      #expect(stored == head.reduce(0) { $0 + Int64($1) })
    }
  }
}
