import FieldBus
import Gateway
import StreamCore
import TestSupport
import Testing

@Suite struct LearnedFileTests {
  private func some() -> [String: LearnedDevice] {
    var device = LearnedDevice()
    for took in [10, 12, 11, 40] { device.latency.add(Int64(took) * 1_000_000) }
    device.refused = [
      RefusedSpan(table: .input, address: 7, count: 12), RefusedSpan(table: .coil, address: 0, count: 1),
    ]
    device.tolerance = Tolerance(step: 5, limit: 6, blames: 2)
    device.silenceNs = 3_645_831
    var other = LearnedDevice()
    other.latency.add(5)
    return ["manhole-1": device, "gate \"x\"": other]
  }

  @Test("what was learned is the same after a restart")
  func roundTrip() throws {
    let folder = try TemporaryFolder()
    var file = LearnedFile(statePath: folder.path)
    let before = file.read()
    #expect(before.isEmpty)
    let isWritten = file.write(some())
    #expect(isWritten)
    var again = LearnedFile(statePath: folder.path)
    let after = again.read()
    #expect(after == some())
  }

  @Test(
    "a damaged file is begun anew, and what is out of range is not believed",
    arguments: [
      "", "{", "[]", "{\"devices\":[]}", "{\"devices\":{\"a\":{\"refused\":[{\"table\":\"x\"}]}}}",
      "{\"devices\":{\"a\":{\"refused\":[{\"table\":\"input\",\"address\":-1,\"count\":3}]}}}",
      "{\"devices\":{\"a\":{\"refused\":[{\"table\":\"input\",\"address\":1,\"count\":99999}]}}}",
      "{\"devices\":{\"a\":{\"silence_of_ns\":1750000,\"silence_step\":9,\"silence_limit\":9}}}",
      "{\"devices\":{\"a\":{\"silence_of_ns\":1750000,\"silence_step\":3,\"silence_limit\":2}}}",
      "{\"devices\":{\"a\":{\"silence_of_ns\":1750000,\"silence_step\":-1,\"silence_blames\":999999999999}}}",
    ])
  func damaged(text: String) throws {
    let folder = try TemporaryFolder()
    try folder.write("learned.json", text)
    var file = LearnedFile(statePath: folder.path)
    for device in file.read().values {
      #expect(device.refused.isEmpty)
      #expect(device.tolerance == Tolerance())
    }
  }

  @Test("what is forgotten is gone, and the others' stays")
  func forget() throws {
    let folder = try TemporaryFolder()
    var file = LearnedFile(statePath: folder.path)
    var isWritten = file.write(some())
    #expect(isWritten)
    var again = LearnedFile(statePath: folder.path)
    isWritten = again.forget(["manhole-1", "nobody"])
    #expect(isWritten)
    var last = LearnedFile(statePath: folder.path)
    let after = last.read()
    #expect(Array(after.keys) == ["gate \"x\""])
    isWritten = last.forget(["gate \"x\""])
    #expect(isWritten)
    var none = LearnedFile(statePath: folder.path)
    let nothing = none.read()
    #expect(nothing.isEmpty)
  }

  @Test("a folder that can't be written is said, not died of")
  func unwritable() {
    var file = LearnedFile(statePath: "/nonexistent/folder")
    let isWritten = file.write(some())
    #expect(!isWritten)
  }
}
