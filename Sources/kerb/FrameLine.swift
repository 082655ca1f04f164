// One frame as a line for a person: when, which way, who, what it says.

import FieldBus
import Gateway
import Glibc

struct FrameLine {
  /// What the last request to each unit asked: a reply is told by it.
  private var asked: [UInt8: (address: Int, at: Int64)] = [:]
  private let showsBytes: Bool
  private let busProtocol: BusProtocol
  private let points: HeardPoints

  init(showsBytes: Bool, _ busProtocol: BusProtocol, _ points: HeardPoints = HeardPoints()) {
    self.points = points
    self.showsBytes = showsBytes
    self.busProtocol = busProtocol
  }

  /// `offsetNs`: from its time to the wall's; nil: that is not known, and it is told since the box's start.
  mutating func text(_ frame: LineFrame, offsetNs: Int64?) -> String {
    let said = said(frame)
    let mark = frame.origin == .command ? " *" : frame.origin == .fence ? " ~" : ""
    let time = offsetNs.map { Self.clock(frame.at.nanoseconds + $0) } ?? Self.sinceStart(frame.at.nanoseconds)
    let head = "\(time)  \(said)\(mark)"
    guard showsBytes, !frame.bytes.isEmpty else { return Table.cut(head, to: Table.widthMax) }
    return "\(head)\n    \(Hexadecimal.text(frame.bytes))"
  }

  private mutating func said(_ frame: LineFrame) -> String {
    let bytes = frame.bytes
    switch frame.kind {
    case .opened: return Colour.green.apply(Messages.text(.lineOpened))
    case .lost: return Colour.red.apply(Messages.text(.lineClosed))
    case .silence: return Colour.yellow.apply("<     " + Messages.text(.silentUnit))
    case .stray: return Colour.yellow.apply("?     " + Messages.text(.strayBytes, "\(frame.length)", hex(frame)))
    case .broken:
      let cause = frame.cause.map { "\($0)" } ?? ""
      return Colour.red.apply("<     " + Messages.text(.brokenFrame, cause, hex(frame)))
    case .request, .reply: break
    }
    if !busProtocol.isModbus {
      return "\(frame.kind == .request ? ">" : "<")     \(words(frame))"
    }
    guard bytes.count >= 4 else { return "?     \(hex(frame))" }
    let isRequest = frame.kind == .request
    let unit = "\(bytes[0])"
    let head = "\(isRequest ? ">" : "<") \(unit)" + String(repeating: " ", count: max(0, 4 - unit.count))
    if isRequest {
      asked[bytes[0]] = (bytes.count >= 6 ? Int(bytes[2]) << 8 | Int(bytes[3]) : 0, frame.at.nanoseconds)
      return head + request(Array(bytes.dropLast(2)))
    }
    let took = asked[bytes[0]].map { "  \(Shown.tenths(Double(frame.at.nanoseconds - $0.at) / 1e6)) ms" } ?? ""
    let answer = reply(Array(bytes.dropLast(2)), isMasked: frame.isMasked)
    // The time must not be cut off with the values.
    return head + Table.cut(answer, to: Table.widthMax - 22 - took.count) + took
  }

  /// Of a frame that is none of Modbus: in a meter's words, point by point, as text, or as bytes.
  private func words(_ frame: LineFrame) -> String {
    if frame.isMasked { return "\(Messages.text(.maskedFrame)) \(frame.length)" }
    if busProtocol.isMeter { return MeterLine.text(frame.bytes, busProtocol) ?? hex(frame) }
    let bytes = HeardPoints.line(frame.bytes) ?? hex(frame)
    return points.text(frame).map { "\($0)  \(bytes)" } ?? bytes
  }

  private func request(_ body: [UInt8]) -> String {
    func word(_ place: Int) -> Int { place + 1 < body.count ? Int(body[place]) << 8 | Int(body[place + 1]) : 0 }
    let (address, count) = (word(2), word(4))
    let range = count > 1 ? "\(address)-\(address + count - 1)" : "\(address)"
    switch body[1] {
    case 1...4:
      let table = RegisterTable.allCases.first { $0.readFunction == body[1] }
      return "read \(table.map { "\($0)" } ?? "") \(range)"
    case 5: return "write coil \(address) = \(count == 0 ? 0 : 1)"
    case 6: return "write holding \(address) = \(Hexadecimal.text(words: [UInt16(count)]))"
    case 15: return "write coil \(range)"
    case 16: return "write holding \(range) = \(Hexadecimal.text(body.dropFirst(7)))"
    case CommandFrame.reportUnit: return "report unit"
    case CommandFrame.identify: return "identify"
    default: return "function \(body[1])  \(Hexadecimal.text(body.dropFirst(2)))"
    }
  }

  private func reply(_ body: [UInt8], isMasked: Bool) -> String {
    if body[1] & 0x80 != 0, body.count >= 3 {
      return Colour.yellow.apply("exception \(body[2]), \(LineFailure.exceptionText(body[2]))")
    }
    if isMasked { return Messages.text(.maskedFrame) }
    switch body[1] {
    case 1, 2:
      let bits = body.dropFirst(3).flatMap { byte in (0..<8).map { byte >> UInt8($0) & 1 == 1 ? "1" : "0" } }
      return bits.joined()
    case 3, 4:
      let words = stride(from: 3, to: body.count - 1, by: 2).map { UInt16(body[$0]) << 8 | UInt16(body[$0 + 1]) }
      return Hexadecimal.text(words: words)
    case 5, 6, 15, 16: return "written"
    case CommandFrame.reportUnit: return CommandFrame.reportText(body)
    case CommandFrame.identify: return CommandFrame.objects(body).objects.map(\.text).joined(separator: " · ")
    default: return Hexadecimal.text(body.dropFirst(2))
    }
  }

  private func hex(_ frame: LineFrame) -> String {
    frame.isMasked ? Messages.text(.maskedFrame) : Hexadecimal.text(frame.bytes)
  }

  /// "+   4711.250", as wide as a time of day.
  static func sinceStart(_ ns: Int64) -> String {
    let milliseconds = "\(1_000 + ns / 1_000_000 % 1_000)".dropFirst()
    let text = "\(ns / 1_000_000_000).\(milliseconds)"
    return "+" + String(repeating: " ", count: max(0, 11 - text.count)) + text
  }

  /// "12:03:04.123"
  static func clock(_ unixNs: Int64) -> String {
    var moment = time_t(unixNs / 1_000_000_000)
    var parts = tm()
    localtime_r(&moment, &parts)
    func digits(_ number: Int64, _ width: Int) -> String {
      let text = "\(number)"
      return String(repeating: "0", count: max(0, width - text.count)) + text
    }
    return "\(digits(Int64(parts.tm_hour), 2)):\(digits(Int64(parts.tm_min), 2)):\(digits(Int64(parts.tm_sec), 2))"
      + ".\(digits(unixNs / 1_000_000 % 1_000, 3))"
  }
}
