import FieldBus
import StreamCore
import TestSupport
import Testing

private typealias Burst = ScriptedFrames.Burst

@Suite("A device that its profile asks")
struct AskedProfileTests {
  private static let level = frameProfile(
    """
    [frame]
    format = "binary"
    start = "AA 55"
    length = { at = 4, adds = 7 }
    checksum = { type = "crc16-modbus" }
    ask = "AA 55 {address} 03 00 {checksum}"
    echo = [2, 3]
    [[point]]
    name = "level"
    read = "byte 5"
    type = "u16"
    [[point]]
    name = "state"
    read = "byte 7"
    type = "u8"
    ask = "AA 55 {address} 04 00 {checksum}"
    """)

  private func frame(_ question: [UInt8], _ data: [UInt8]) -> [UInt8] {
    guard let rule = Self.level.frame?.binaryFrame else { return [] }
    var bytes = Array(question[0..<4]) + [0] + data + [0, 0]
    rule.seal(&bytes)
    return bytes
  }

  @Test("shares its line with others, each asked by its address, each group of points by its question")
  func addresses() {
    let devices = [3, 9].map { frameDevice(Self.level, address: "\($0)", name: "d\($0)") }
    let rig = FrameRig(devices) { question, _ in
      // The level says who and what was asked.
      [Burst(afterNs: 5 * millisecond, bytes: frame(question, [question[2], question[3], 7]))]
    }
    rig.run(untilNs: 4 * second)
    rig.finish()
    #expect(Set(rig.loop.port.sent.map { Array($0.bytes[2...3]) }) == [[3, 3], [3, 4], [9, 3], [9, 4]])
    #expect(Set(rig.good(0)) == [0x0303] && Set(rig.good(2)) == [0x0903])
    #expect(Set(rig.good(1)) == [7] && Set(rig.good(3)) == [7])
  }

  @Test("is not believed when another device or another question's reply comes")
  func echo() {
    let rig = FrameRig([frameDevice(Self.level, address: "3")]) { question, _ in
      var other = question
      other[3] ^= 7
      return [Burst(afterNs: 5 * millisecond, bytes: frame(other, [1, 2, 3]))]
    }
    rig.run(questions: 4)
    #expect(rig.samples.allSatisfy { $0.quality == .bad } && rig.board.bus[.good] == 0)
    #expect(rig.board.bus[.otherErrors] == 4)
  }

  @Test("answers in lines, of which an overlong one is never taken in part")
  func text() {
    let profile = frameProfile(
      """
      [frame]
      format = "text"
      end = "\\r"
      split = ","
      ask = "#{address:02X}\\r"
      [[point]]
      name = "a"
      read = "field 2"
      type = "i16"
      """)
    let rig = FrameRig([frameDevice(profile, address: "31")]) { question, number in
      let said: String
      switch number {
      case 1: said = "#1F\r>1F,-17\r"  // the echo of an adapter in front
      case 2: said = String(repeating: "x", count: 600) + ",5\r"
      default: said = ">1F,\(number)\r"
      }
      return [Burst(afterNs: 5 * millisecond, bytes: Array(said.utf8))]
    }
    rig.run(questions: 1)
    #expect(rig.loop.port.sent.map { String(decoding: $0.bytes, as: UTF8.self) } == ["#1F\r"])
    #expect(rig.good(0) == [-17])
    rig.run(questions: 4)
    #expect(rig.good(0) == [-17, 4])
  }

  @Test("leaves nothing of a personal answer in memory")
  func personal() {
    let profile = frameProfile(
      """
      [frame]
      format = "text"
      ask = "CARD?\\r\\n"
      [[point]]
      name = "card"
      read = "field 1"
      type = "text:12"
      personal = true
      """)
    let rig = FrameRig([frameDevice(profile, address: "")]) { _, _ in
      [Burst(afterNs: 5 * millisecond, bytes: Array("0012345678\r\n".utf8))]
    }
    rig.run(questions: 1)
    #expect(rig.texts.first?.count == Limits.pseudonymBytes)
    let frames = rig.board.blackBox.frames(after: 0)
    #expect(frames.map(\.kind) == [.opened, .request, .reply] && frames[1].bytes == Array("CARD?\r\n".utf8))
    #expect(frames[2].isMasked && frames[2].bytes == Array(repeating: 0, count: 12))
    let clear = Array("0012345678".utf8)
    let all = rig.everything
    let starts = all.indices.dropLast(clear.count).filter { all[$0] == clear[0] }
    #expect(!starts.contains { Array(all[$0..<($0 + clear.count)]) == clear })
  }
}
