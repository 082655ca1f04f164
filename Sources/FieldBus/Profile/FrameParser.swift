// The `[frame]` of a profile and the questions in it: every rule of its keys, each broken one reported at its place.

import StreamCore

enum FrameParser {
  /// What is sound of it; nil without a format.
  static func frame(_ profile: TableReader) -> FrameSpec? {
    guard let reader = profile.table("frame") else { return nil }
    reader.require("format")
    let format = reader.choice("format", among: [("text", 0), ("binary", 1), ("dlt645", 2), ("cjt188", 3)])
    let text = ["split", "assign"]
    let binary = ["start", "size", "length", "checksum", "echo"]
    let asked = ["end", "ask"]
    let meters = ["preamble"]
    var spec: FrameSpec
    switch format {
    case 1:
      reader.reject(text + meters + ["meter_type"], because: "has no meaning for binary frames")
      spec = FrameSpec(.binary(binaryFrame(reader)))
    case 2:
      reader.reject(
        text + binary + asked + ["meter_type"], because: "has no meaning for dlt645: the standard fixes its frames")
      spec = .dlt645
    case 3:
      reader.reject(text + binary + asked, because: "has no meaning for cjt188: the standard fixes its frames")
      let type = reader.integer("meter_type", in: CJT188.meterTypes)
      spec = FrameSpec(.cjt188(meterType: UInt8(type ?? 0x10)))
    default:
      reader.reject(binary + meters + ["meter_type"], because: "has no meaning for lines of text")
      spec = FrameSpec(.text(textFrame(reader)))
    }
    spec.preamble = reader.integer("preamble", in: 0...Limits.meterPreambleMax) ?? spec.preamble
    // Every key of the section is asked for, whatever the format: documentation and schema know them all.
    spec.ask = ask(reader, frame: spec)
    reader.finish()
    return format == nil ? FrameSpec.text(end: [0x0D, 0x0A], split: nil) : spec
  }

  // MARK: Text

  private static func textFrame(_ reader: TableReader) -> TextFrame {
    let end = Array((reader.string("end") ?? "\r\n").utf8)
    if !(1...Limits.frameEndBytesMax).contains(end.count) {
      reader.report("end", "a line's end has 1 to \(Limits.frameEndBytesMax) bytes, got \(end.count)")
    }
    var frame = TextFrame(end: end, split: nil)
    frame.split = oneByte(
      "split", reader, end: end, what: "fields are split by one byte", orElse: "leave it out for whole lines")
    let assign = oneByte(
      "assign", reader, end: end, what: "a name and its value are parted by one byte",
      orElse: "it is \"=\" if left out")
    if let assign {
      if assign == frame.split {
        reader.report("assign", "is also `split`: names, values and fields could not be told apart")
      } else {
        frame.assign = assign
      }
    }
    return frame
  }

  private static func oneByte(
    _ key: String, _ reader: TableReader, end: [UInt8], what: String, orElse: String
  ) -> UInt8? {
    guard let text = reader.string(key) else { return nil }
    let bytes = Array(text.utf8)
    if bytes.count != 1 {
      reader.report(key, "\(what), got \(bytes.count); \(orElse)")
    } else if end.contains(bytes[0]) {
      reader.report(key, "is also part of `end`: lines and fields could not be told apart")
    } else {
      return bytes[0]
    }
    return nil
  }

  // MARK: Binary

  private static func binaryFrame(_ reader: TableReader) -> BinaryFrame {
    var frame = BinaryFrame()
    frame.start = short("start", reader, most: Limits.frameStartBytesMax)
    frame.end = short("end", reader, most: Limits.frameEndBytesMax)
    if let size = reader.integer("size", in: 1...Limits.serialFrameBytesMax) { frame.size = size }
    length(&frame, reader)
    checksum(&frame, reader)
    echo(&frame, reader)
    if !reader.has("size"), !reader.has("length") {
      reader.diagnostics.report(
        reader.table.place, reader.path,
        "has neither size nor length: write size = 9, or length = { at = 2, adds = 4 }")
    }
    if reader.has("size"), reader.has("length") {
      reader.report("length", "and `size` exclude each other: a frame has one length")
    }
    if !reader.has("start"), !reader.has("checksum") {
      reader.diagnostics.report(
        reader.table.place, reader.path, "has neither start nor checksum: its frames could not be told from noise")
    }
    if frame.size > 0, frame.size < frame.leastBytes {
      reader.report("size", "\(frame.size) is too short: start, checksum and end take \(frame.leastBytes) bytes")
    }
    return frame
  }

  private static func short(_ key: String, _ reader: TableReader, most: Int) -> ShortBytes {
    guard let text = reader.string(key) else { return ShortBytes() }
    guard let bytes = hexBytes(text[...]), (1...most).contains(bytes.count) else {
      reader.report(
        key, "\"\(text)\" is not understood: write 1 to \(most) bytes in hexadecimal, for example \"AA 55\"")
      return ShortBytes()
    }
    return ShortBytes(bytes)
  }

  private static func length(_ frame: inout BinaryFrame, _ reader: TableReader) {
    guard let inner = reader.table("length") else { return }
    inner.require("at")
    frame.lengthAt = inner.integer("at", in: 0...(Limits.serialFrameBytesMax - 2)) ?? 0
    frame.lengthBytes = inner.choice("type", among: [("u8", 1), ("u16", 2)]) ?? 1
    frame.lengthIsHighFirst = inner.choice("order", among: [("ABCD", true), ("DCBA", false)]) ?? true
    frame.lengthAdds = inner.integer("adds", in: -Limits.serialFrameBytesMax...Limits.serialFrameBytesMax) ?? 0
    inner.finish()
  }

  private static func checksum(_ frame: inout BinaryFrame, _ reader: TableReader) {
    guard let inner = reader.table("checksum") else { return }
    inner.require("type")
    frame.checksum = inner.choice("type", among: FrameChecksum.words)
    frame.checksumFrom = inner.integer("from", in: 0...(Limits.serialFrameBytesMax - 2)) ?? 0
    frame.checksumIsSwapped = inner.bool("swapped") ?? false
    if let sum = frame.checksum, sum.byteCount == 1 {
      if frame.checksumIsSwapped { inner.report("swapped", "has no meaning for a checksum of one byte") }
    }
    inner.finish()
  }

  private static func echo(_ frame: inout BinaryFrame, _ reader: TableReader) {
    guard let items = reader.array("echo", of: "an array of offsets") else { return }
    for item in items {
      guard case .integer(let offset) = item.value, (0..<64).contains(offset) else {
        reader.diagnostics.report(item.place, reader.keyPath("echo"), "expected offsets from 0 to 63")
        continue
      }
      frame.echo |= 1 << UInt64(offset)
    }
    if items.count > Limits.frameEchoMax {
      reader.report("echo", "has \(items.count) offsets: allowed are \(Limits.frameEchoMax)")
    }
  }

  /// "AA 55": two digits each, with or without blanks between.
  static func hexBytes(_ text: Substring) -> [UInt8]? {
    var bytes: [UInt8] = []
    for word in text.split(separator: " ") {
      guard word.utf8.count % 2 == 0 else { return nil }
      var rest = word
      while !rest.isEmpty {
        let pair = rest.prefix(2)
        guard pair.allSatisfy(\.isHexDigit), let byte = UInt8(pair, radix: 16) else { return nil }
        bytes.append(byte)
        rest = rest.dropFirst(2)
      }
    }
    return bytes.isEmpty ? nil : bytes
  }

  // MARK: Questions

  /// The key `ask` of a [frame] or a point.
  static func ask(_ reader: TableReader, frame: FrameSpec) -> AskTemplate? {
    guard let text = reader.string("ask") else { return nil }
    let pieces = frame.textFrame == nil ? binaryPieces(text, reader, frame) : textPieces(text, reader)
    guard let pieces else { return nil }
    let template = AskTemplate(pieces)
    let length = template.bytes(address: 255, frame: frame.binaryFrame).count
    guard (1...Limits.askBytesMax).contains(length) else {
      reader.report("ask", "a question has 1 to \(Limits.askBytesMax) bytes, got \(length)")
      return nil
    }
    return template
  }

  private static func binaryPieces(_ text: String, _ reader: TableReader, _ frame: FrameSpec) -> [AskTemplate.Piece]? {
    var pieces: [AskTemplate.Piece] = []
    for word in text.split(separator: " ") {
      switch word {
      case "{address}": pieces.append(.address(.byte))
      case "{checksum}":
        if frame.binaryFrame?.checksum == nil {
          reader.report("ask", "{checksum} needs a `checksum` in the [frame]")
          return nil
        }
        pieces.append(.checksum)
      default:
        guard let bytes = hexBytes(word) else {
          reader.report(
            "ask",
            "\"\(word)\" is not understood: write bytes in hexadecimal, {address} and {checksum}, "
              + "for example \"AA {address} 03 {checksum}\"")
          return nil
        }
        pieces.append(.bytes(bytes))
      }
    }
    return pieces
  }

  private static func textPieces(_ text: String, _ reader: TableReader) -> [AskTemplate.Piece]? {
    var pieces: [AskTemplate.Piece] = []
    var rest = text[...]
    while let open = rest.firstIndex(of: "{") {
      if open > rest.startIndex { pieces.append(.bytes(Array(rest[..<open].utf8))) }
      guard let close = rest[open...].firstIndex(of: "}") else { break }
      let forms: [(Substring, AskTemplate.AddressForm)] = [
        ("{address}", .digits(least: 1, radix: 10)), ("{address:02}", .digits(least: 2, radix: 10)),
        ("{address:02X}", .digits(least: 2, radix: 16)),
      ]
      guard let form = forms.first(where: { $0.0 == rest[open...close] })?.1 else {
        reader.report(
          "ask",
          "\"\(rest[open...close])\" is not understood: allowed are {address}, {address:02} and {address:02X}")
        return nil
      }
      pieces.append(.address(form))
      rest = rest[rest.index(after: close)...]
    }
    if !rest.isEmpty { pieces.append(.bytes(Array(rest.utf8))) }
    return pieces
  }
}
