// A point's `read`: registers, parts of a line of text, bytes of a frame, a meter's data items.

import StreamCore

struct SourceParser {
  let reader: TableReader
  let form: PointForm

  func source() -> PointSource? {
    reader.require("read")
    guard let text = reader.string("read") else { return nil }
    let words = text.split(separator: " ")
    guard let first = words.first, words.count >= 2 else { return refuse(text) }
    switch first {
    case "field", "column", "key": return textPart(text, words)
    case "byte": return byte(text, words)
    case "di": return identifier(text, words)
    default: return register(text, words)
    }
  }

  private func refuse(_ text: String) -> PointSource? {
    reader.report("read", "\"\(text)\" is not understood: \(allowedForms)")
    return nil
  }

  private var frame: FrameSpec? { if case .frame(let frame) = form { frame } else { nil } }
  private var isAny: Bool { if case .any = form { true } else { false } }

  private var allowedForms: String {
    switch frame?.format {
    case .text: return "write \"field N\", N from 1, \"column 5..9\" or \"key T\""
    case .binary: return "write \"byte N\", N from 0, the first byte of the frame"
    case .dlt645: return "write \"di 00010000\", or \"di 0201FF00 offset 2\" for a part of a block"
    case .cjt188: return "write \"di 901F\" and where, for example \"di 901F offset 0 unit 2C\""
    case nil:
      return "write for example \"holding 0\", \"input 0x10\", \"coil 3\" or \"discrete 3\", with the address from 0"
    }
  }

  // MARK: Registers

  private func register(_ text: String, _ words: [Substring]) -> PointSource? {
    guard words.count == 2, let address = PointParser.address(words[1]) else { return refuse(text) }
    guard let table = RegisterTable.words.first(where: { $0.word == words[0] })?.value else {
      let all = RegisterTable.words.map(\.word) + ["field", "column", "key", "byte", "di"]
      var message = "\"\(words[0])\" is not understood: \(allowedForms)"
      if let near = nearestMatch(to: String(words[0]), among: all) { message += "; did you mean \"\(near)\"?" }
      reader.report("read", message)
      return nil
    }
    if let frame {
      reader.report("read", "a \(frame.isMeter ? "meter" : "serial device") has no registers; \(allowedForms)")
      return nil
    }
    guard (0..<Limits.registersPerTable).contains(address) else {
      reader.report("read", "address \(address) is out of range: allowed are 0 to \(Limits.registersPerTable - 1)")
      return nil
    }
    return .register(table, address: address)
  }

  // MARK: Lines of text

  private func textPart(_ text: String, _ words: [Substring]) -> PointSource? {
    guard words.count == 2 else { return refuse(text) }
    if words[0] == "field", PointParser.address(words[1]) == nil { return refuse(text) }
    guard isAny || frame?.textFrame != nil else {
      let what = words[0] == "field" ? "fields belong" : "a \(words[0]) belongs"
      let place = frame == nil ? "a [frame]" : "a [frame] of text"
      reader.report("read", "\(what) to a serial device with \(place); \(allowedForms)")
      return nil
    }
    switch words[0] {
    case "field":
      guard let number = PointParser.address(words[1]) else { return refuse(text) }
      guard (1...Limits.textFieldsMax).contains(number) else {
        reader.report("read", "field \(number) is out of range: allowed are 1 to \(Limits.textFieldsMax)")
        return nil
      }
      return .field(number)
    case "column": return column(text, words[1])
    default:
      guard words[1].utf8.count <= Limits.fieldKeyBytesMax else {
        reader.report("read", "a name has at most \(Limits.fieldKeyBytesMax) bytes, got \(words[1].utf8.count)")
        return nil
      }
      return .key(String(words[1]))
    }
  }

  private func column(_ text: String, _ range: Substring) -> PointSource? {
    let ends = range.split(separator: ".", omittingEmptySubsequences: false)
    let numbers = ends.compactMap { PointParser.address($0) }
    guard ends.count == 1 && numbers.count == 1 || ends.count == 3 && ends[1].isEmpty && numbers.count == 2,
      let first = numbers.first, let last = numbers.last
    else { return refuse(text) }
    guard first >= 1, first <= last, last <= Limits.textLineBytesMax else {
      reader.report(
        "read", "columns \(range) are out of range: allowed are 1 to \(Limits.textLineBytesMax), the lower one first")
      return nil
    }
    return .column(first: first, last: last)
  }

  // MARK: Frames

  private func byte(_ text: String, _ words: [Substring]) -> PointSource? {
    guard isAny || frame?.binaryFrame != nil else {
      reader.report("read", "bytes belong to a serial device with a binary [frame]; \(allowedForms)")
      return nil
    }
    guard words.count == 2, let offset = PointParser.address(words[1]) else { return refuse(text) }
    guard offset < Limits.serialFrameBytesMax else {
      reader.report("read", "byte \(offset) is out of range: allowed are 0 to \(Limits.serialFrameBytesMax - 1)")
      return nil
    }
    return .byte(offset)
  }

  private func identifier(_ text: String, _ words: [Substring]) -> PointSource? {
    guard isAny || frame?.isMeter == true else {
      reader.report("read", "data identifiers belong to meters, on a bus with dlt645 or cjt188; \(allowedForms)")
      return nil
    }
    let isWater = if case .cjt188 = frame?.format { true } else { false }
    let digits = isAny ? words[1].utf8.count : isWater ? 4 : 8
    guard words[1].utf8.count == digits, words[1].allSatisfy(\.isHexDigit), let number = UInt32(words[1], radix: 16)
    else {
      reader.report("read", "\"\(words[1])\" is not a data identifier of \(digits) hexadecimal digits: \(allowedForms)")
      return nil
    }
    var offset = 0
    var unit: UInt8?
    var rest = words.dropFirst(2)
    while let name = rest.popFirst() {
      guard let value = rest.popFirst() else { return refuse(text) }
      switch name {
      case "offset":
        guard let place = PointParser.address(value) else { return refuse(text) }
        offset = place
      case "unit" where isWater || isAny:
        guard value.utf8.count == 2, let code = UInt8(value, radix: 16) else { return refuse(text) }
        unit = code
      default: return refuse(text)
      }
    }
    guard offset <= Limits.dlt645DataBytesMax else {
      reader.report("read", "offset \(offset) is out of range: allowed are 0 to \(Limits.dlt645DataBytesMax)")
      return nil
    }
    return .identifier(number, offset: offset, unit: unit)
  }
}
