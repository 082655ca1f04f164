import FieldBus
import Gateway
import Store
import StreamCore
import Synchronization
import Testing

@Suite struct ReloadTests {
  private static let base = """
    [gateway]
    id = "box-1"
    [[bus]]
    name = "rs485-1"
    protocol = "modbus-rtu"
    port = "/dev/null"
    [[device]]
    name = "meter"
    bus = "rs485-1"
    address = 1
      [[device.point]]
      name = "power"
      read = "holding 0"
      type = "u16"

    """

  private func configuration(_ text: String = base, _ consumers: String = "", pull: String = "") throws
    -> Configuration
  {
    let site = try ConfigurationSite(text + pull + consumers)
    #expect(site.problems == [])
    return try #require(site.configuration)
  }

  private func consumer(_ name: String, _ digit: String, _ more: String = "") -> String {
    "[[consumer]]\nname = \"\(name)\"\ntoken_sha256 = \"\(String(repeating: digit, count: 64))\"\n\(more)\n"
  }

  @Test(
    "Places and comments, the order of keys and consumers mean nothing to the rest; what is written otherwise does")
  func prints() throws {
    let old = try configuration()
    let spaced = Self.base.replacing("id = \"box-1\"", with: "id  =  'box-1' # its name")
    let moved = try configuration("# moved\n\n" + spaced)
    #expect(moved.needsRestart(after: old) == [])
    let swapped = try configuration(
      Self.base.replacing("port = \"/dev/null\"", with: "").replacing(
        "protocol = \"modbus-rtu\"", with: "port = \"/dev/null\"\nprotocol = \"modbus-rtu\""))
    #expect(swapped.needsRestart(after: old) == [])
    #expect(try configuration(Self.base, consumer("a", "1")).needsRestart(after: old) == [])
    for same in [moved, swapped] { #expect(same.houseChanges(since: old) == []) }
    #expect(try configuration(Self.base.replacing("box-1", with: "box-2")).needsRestart(after: old) == ["gateway"])
    let listens = try configuration(pull: "[pull]\nlisten = [\"127.0.0.1:9\"]\n")
    #expect(listens.needsRestart(after: old) == ["pull.listen"])
    let buffered = try configuration(pull: "[buffer]\ncommit_every = \"5s\"\n")
    #expect(buffered.needsRestart(after: old) == ["buffer"])
  }

  @Test("Buses and devices that came, went or are otherwise now are named; none of them waits for a restart")
  func house() throws {
    let second = "[[bus]]\nname = \"rs485-2\"\nprotocol = \"modbus-rtu\"\nport = \"/dev/zero\"\n"
    let tank =
      "[[device]]\nname = \"tank\"\nbus = \"rs485-2\"\naddress = 2\n"
      + "[[device.point]]\nname = \"level\"\nread = \"input 0\"\ntype = \"u16\"\n"
    let old = try configuration()
    for (from, to, change) in [
      ("holding 0", "holding 1", "device meter changed"), ("rtu\"", "rtu\"\nbaud = 19200", "bus rs485-1 changed"),
      ("address = 1", "address = 1\nlabels = { street = \"a\" }", "device meter changed"),
      ("address = 1", "address = 1\nkeep = \"long\"", "device meter changed"),
    ] {
      let new = try configuration(Self.base.replacing(from, with: to))
      #expect(new.houseChanges(since: old) == [change] && new.needsRestart(after: old) == [])
      #expect(old.houseChanges(since: new) == [change])
    }
    let larger = try configuration(Self.base + second + tank)
    #expect(larger.houseChanges(since: old) == ["bus rs485-2 added", "device tank added"])
    #expect(old.houseChanges(since: larger) == ["bus rs485-2 removed", "device tank removed"])
    let moved = try configuration(Self.base + second + tank.replacing("rs485-2", with: "rs485-1"))
    #expect(moved.houseChanges(since: larger) == ["device tank changed"])
    // In another order: the same.
    let other = try configuration(second + tank + Self.base)
    #expect(other.houseChanges(since: larger) == [] && larger.needsRestart(after: other) == [])
    let silent = try configuration(Self.base, "[alarms]\nclock-wrong = false\n")
    #expect(silent.houseChanges(since: old) == ["alarms of the box changed"] && silent.needsRestart(after: old) == [])
  }

  @Test("Who came, went, got another token or another scope is named")
  func consumers() throws {
    let old = try configuration(Self.base, consumer("a", "1") + consumer("b", "2") + consumer("c", "3"))
    let new = try configuration(
      Self.base, consumer("b", "4") + consumer("c", "3", "lanes = [\"alarms\"]") + consumer("d", "5"))
    #expect(
      new.consumerChanges(since: old) == [
        "consumer a removed", "consumer b: another token", "consumer c: another scope: lanes alarms",
        "consumer d added",
      ])
    #expect(old.consumerChanges(since: old) == [])
  }

  @Test("After a reload a new consumer is served, a removed one is nobody, and a scope is the new one")
  func admitted() throws {
    let fixture = try PullFixture([PullFixture.consumer("gone"), PullFixture.consumer("narrow")])
    fixture.store.add([PullFixture.sample(0, 34, at: 1), PullFixture.sample(3, 1, at: 2)])
    #expect(try fixture.get("/v1/batches", as: "gone").records.count == 2)
    #expect(try fixture.get("/v1/batches", as: "narrow").records.count == 2)
    #expect(try fixture.get("/v1/batches", as: "new").status == 401)
    fixture.server.admit([
      PullFixture.consumer("new"), PullFixture.consumer("narrow") { $0.kinds = ["hydrant"] },
    ])
    #expect(try fixture.get("/v1/batches", as: "gone").status == 401)
    #expect(try fixture.get("/v1/batches", as: "all").status == 401)
    #expect(try fixture.get("/v1/batches", as: "new").records.count == 2)
    #expect(try fixture.get("/v1/batches", as: "narrow").names == ["box-7/hydrant-1/open"])
  }

  @Test("A long poll of a removed consumer ends at once, and gets nothing any more")
  func sentHome() throws {
    let fixture = try PullFixture([PullFixture.consumer("gone")])
    let client = try fixture.client()
    client.sendRequest("/v1/batches?wait=60", token: "token-gone")
    #expect(eventually { fixture.counts.waiting == 1 })
    fixture.server.admit([PullFixture.consumer("all")])
    #expect(try client.response().status == 204)
    fixture.store.add([PullFixture.sample(0, 34, at: 1)])
    fixture.tell()
    #expect(try client.get("/v1/batches?wait=60", token: "token-gone").status == 401)
  }

  @Test("A thousand reloads leave a consumer's own scope, and no more than one")
  func often() throws {
    let fixture = try PullFixture()
    fixture.store.add([PullFixture.sample(0, 34, at: 1), PullFixture.sample(3, 1, at: 2)])
    for turn in 0..<1_000 {
      let kind = turn % 2 == 0 ? "hydrant" : "manhole-cover"
      fixture.server.admit([PullFixture.consumer("all") { $0.kinds = [kind] }])
      if turn % 100 < 2 {
        let name = turn % 2 == 0 ? "box-7/hydrant-1/open" : "box-7/cover-1/tilt"
        #expect(try fixture.get("/v1/batches").names == [name])
      }
    }
  }

  @Test("The wish goes to whoever reloads, and the outcome back to everyone who asked, once")
  func door() {
    let rung = Atomic<Int>(0)
    let door = ReloadDoor { rung.add(1, ordering: .relaxed) }
    let heard = Mutex<[String]>([])
    for name in ["a", "b"] { door.ask { outcome in heard.withLock { $0.append(name + outcome.restart.joined()) } } }
    var outcome = ReloadOutcome()
    outcome.restart = ["bus"]
    door.answer(outcome)
    door.answer(ReloadOutcome())
    #expect(rung.load(ordering: .relaxed) == 2)
    #expect(heard.withLock { $0 } == ["abus", "bbus"])
  }
}
