import Gateway
import Glibc
import Store
import StreamCore
import Testing

@Suite struct CursorTests {
  @Test("A cursor comes back as it was sealed", arguments: [0, 1, 255, 1 << 40, Int64.max])
  func roundTrip(sequence: Int64) throws {
    let seal = try #require(CursorSeal(storeID: PullFixture.storeID, key: [1, 2, 3]))
    let position = Position(alarms: sequence, telemetry: Int64.max - sequence)
    let token = seal.token(position)
    #expect(token.count == 66)
    #expect(try seal.position(token) == position)
  }

  @Test("No single changed bit, no cut and no addition is accepted")
  func forgery() throws {
    let seal = try #require(CursorSeal(storeID: PullFixture.storeID, key: [1, 2, 3]))
    let token = seal.token(Position(alarms: 5, telemetry: 700))
    let bytes = try #require(Sodium.bytes(base64URL: token))
    for index in bytes.indices {
      for bit in 0..<8 {
        var changed = bytes
        changed[index] ^= 1 << bit
        #expect(throws: CursorFailure.self) { try seal.position(Sodium.base64URL(changed)) }
      }
    }
    for count in 0..<bytes.count {
      #expect(throws: CursorFailure.malformed) { try seal.position(Sodium.base64URL(Array(bytes[..<count]))) }
    }
    #expect(throws: CursorFailure.malformed) { try seal.position(Sodium.base64URL(bytes + [0])) }
    for text in ["", token + "=", token + "A", " " + token, token.replacing("A", with: "*"), "é"]
    where text != token {
      #expect(throws: CursorFailure.self) { try seal.position(text) }
    }
  }

  @Test("A cursor of another consumer, another box or another store is refused")
  func foreign() throws {
    let seal = try #require(CursorSeal(storeID: PullFixture.storeID, key: [1, 2, 3]))
    let otherKey = try #require(CursorSeal(storeID: PullFixture.storeID, key: [1, 2, 4]))
    let otherStore = try #require(CursorSeal(storeID: "00000000-4b5a-4c7d-8e9f-0a1b2c3d4e5f", key: [1, 2, 3]))
    #expect(throws: CursorFailure.forged) { try seal.position(otherKey.token(Position(alarms: 1, telemetry: 1))) }
    #expect(throws: CursorFailure.otherStore) { try seal.position(otherStore.token(Position())) }
    #expect(CursorSeal(storeID: "not-a-uuid", key: []) == nil)
  }

  @Test(
    "Over HTTP: forged 400, another store's 409 with the new store, ahead of everything 409; no cursor moves by any"
  )
  func overHTTP() throws {
    let fixture = try PullFixture([PullFixture.consumer("other")])
    fixture.store.add([PullFixture.sample(0, 1, at: 1), PullFixture.sample(0, 2, at: 2)])
    let good = fixture.cursor(Position(alarms: 0, telemetry: 1))
    let bytes = try #require(Sodium.bytes(base64URL: good))
    let client = try fixture.client()
    for index in bytes.indices {
      var changed = bytes
      changed[index] ^= 0x10
      let response = try client.get("/v1/batches?after=\(Sodium.base64URL(changed))", token: "token-all")
      #expect(response.status == ((1...16).contains(index) ? 409 : 400), "byte \(index)")
    }
    #expect(try fixture.get("/v1/batches?after=\(good)", as: "other").status == 400)
    let foreign = fixture.cursor(Position(), storeID: "00000000-4b5a-4c7d-8e9f-0a1b2c3d4e5f")
    let conflict = try fixture.get("/v1/batches?after=\(foreign)")
    #expect(conflict.status == 409)
    #expect(conflict.json["store"] == .string(PullFixture.storeID))
    #expect(conflict.detail.contains("without `after`"))
    let ahead = fixture.cursor(Position(alarms: 0, telemetry: 3))
    #expect(try fixture.get("/v1/batches?after=\(ahead)").status == 409)
    #expect(fixture.store.change { $0.acknowledged.isEmpty })
    #expect(try fixture.get("/v1/batches?after=\(good)").records.count == 1)
    #expect(fixture.store.change { $0.acknowledged.map(\.position) } == [Position(alarms: 0, telemetry: 1)])
  }
}

@Suite struct BoxKeyTests {
  /// A folder of its own, gone with the test.
  final class Folder {
    let path: String
    init() throws {
      var template = Array("/tmp/kerb-test-XXXXXX".utf8CString)
      guard mkdtemp(&template) != nil else { throw WireFailure(what: "mkdtemp") }
      path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
    deinit {
      for name in ["box.key", "control.sock", "pull.sock"] { unlink("\(path)/\(name)") }
      rmdir(path)
    }
  }

  @Test("The key is made once, with mode 0600, and is the same ever after")
  func made() throws {
    let folder = try Folder()
    let first = try BoxKey.open(statePath: folder.path)
    var facts = stat()
    #expect(stat("\(folder.path)/box.key", &facts) == 0)
    #expect(facts.st_mode & 0o777 == 0o600)
    #expect(facts.st_size == 32)
    #expect(try BoxKey.open(statePath: folder.path).derived("x") == first.derived("x"))
    #expect(first.derived("cursor:a") != first.derived("cursor:b"))
    #expect(first.cursorKey(consumer: "a") != first.consumerKey("a"))
    let other = try Folder()
    #expect(try BoxKey.open(statePath: other.path).derived("x") != first.derived("x"))
  }

  @Test("A key that others can read, or of another size, is refused and left as it is")
  func refused() throws {
    let folder = try Folder()
    let path = "\(folder.path)/box.key"
    _ = try BoxKey.open(statePath: folder.path)
    chmod(path, 0o640)
    #expect(throws: BoxKeyFailure.tooOpen(path: path, mode: 0o100640)) { try BoxKey.open(statePath: folder.path) }
    chmod(path, 0o600)
    truncate(path, 31)
    #expect(throws: BoxKeyFailure.wrongSize(path: path, bytes: 31)) { try BoxKey.open(statePath: folder.path) }
    var facts = stat()
    #expect(stat(path, &facts) == 0)
    #expect(facts.st_size == 31)
    #expect(throws: BoxKeyFailure.unusable(path: "\(folder.path)/no/box.key", code: ENOENT)) {
      try BoxKey.open(statePath: "\(folder.path)/no")
    }
  }

  @Test("A rotation changes the pseudonyms and nothing else, keeps mode and owner, and can be done again")
  func rotated() throws {
    let folder = try Folder()
    let path = "\(folder.path)/box.key"
    let before = try BoxKey.open(statePath: folder.path)
    var seen: Set = [before.pseudonymKey]
    for _ in 0..<3 {
      try BoxKey.rotate(statePath: folder.path)
      let after = try BoxKey.open(statePath: folder.path)
      #expect(seen.insert(after.pseudonymKey).inserted)
      #expect(after.pseudonymKey.count == 32)
      #expect(after.cursorKey(consumer: "a") == before.cursorKey(consumer: "a"))
      #expect(after.consumerKey("a") == before.consumerKey("a"))
      var facts = stat()
      #expect(stat(path, &facts) == 0)
      #expect(facts.st_mode & 0o777 == 0o600 && facts.st_size == 64)
    }
    #expect(before.consumerKey("a", number: 2) != before.consumerKey("a"))
    #expect(before.consumerKey("a", number: 1) == before.consumerKey("a"))
    let empty = try Folder()
    #expect(throws: BoxKeyFailure.unusable(path: "\(empty.path)/box.key", code: ENOENT)) {
      try BoxKey.rotate(statePath: empty.path)
    }
  }

  @Test("HMAC-SHA-256 and SHA-256 are those of RFC 4231 and FIPS 180-4")
  func vectors() {
    let mac = Sodium.hmac(Array("what do ya want for nothing?".utf8), key: Array("Jefe".utf8))
    #expect(Hexadecimal.text(mac) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    #expect(
      Hexadecimal.text(Sodium.sha256(Array("abc".utf8)))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }
}
