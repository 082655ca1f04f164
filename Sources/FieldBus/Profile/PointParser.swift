// One `[[point]]` table, of a profile or of a device: every rule of its keys, each broken one reported at its place.

import StreamCore

/// What a device's points are read from.
package enum PointForm: Sendable {
  case registers(max: Int)
  case frame(FrameSpec)
  /// Not known because something before was wrong: either is taken.
  case any
}

/// The points of a table, and the names of those that were reported as wrong.
package struct ParsedPoints {
  package var points: [PointSpec] = []
  package var broken: Set<String> = []
}

package struct PointParser {
  let reader: TableReader
  private let form: PointForm
  private let kind: String

  /// All `[[point]]` tables of a profile or device.
  package static func points(of owner: TableReader, form: PointForm, kind: String) -> ParsedPoints {
    var result = ParsedPoints()
    var names = UniqueNames()
    for reader in owner.tables("point") {
      let reportsBefore = owner.diagnostics.count
      let name = reader.name()
      if let name { names.claim(name, in: reader) }
      let point = PointParser(reader: reader, form: form, kind: kind).point(name: name ?? "")
      reader.finish()
      if let point, owner.diagnostics.count == reportsBefore {
        result.points.append(point)
      } else if let name {
        result.broken.insert(name)
      }
    }
    return result
  }

  /// Nil without a source; what else is wrong is reported, and keeps its default.
  private func point(name: String) -> PointSpec? {
    let formula = formula()
    let source = reader.has("compute") ? .computed : SourceParser(reader: reader, form: form).source()
    let ask = source == .computed ? nil : ask(source)
    let type = source == .computed ? (formula?.isCondition == true ? .bool : .f64) : type(of: source)
    let personal = reader.bool("personal") ?? false
    rejectMeaningless(source: source, type: type, personal: personal, isAsked: ask != nil)

    var point = PointSpec(name: name, place: reader.table.place, source: source ?? .field(1))
    point.type = type ?? .u16
    point.personal = personal
    point.ask = ask
    if source == .computed { take(formula, into: &point) }
    if personal, let type, !type.isInteger, !type.isText {
      reader.report("personal", "only a text or an integer can be personal: it becomes a pseudonym")
    }
    if let source, let type { checkPlace(source, type) }
    // Meters send the lowest byte first, always.
    point.order = reader.choice("order", among: WordOrder.words) ?? (source?.isMeterItem == true ? .dcba : .abcd)
    if let type { checkOrder(point.order, type) }
    point.bits = bits(of: type)
    scaling(&point)
    interval(&point, source)
    let raw = point.bits.map { 0...((Int64(1) << $0.count) - 1) } ?? type?.rawRange
    point.invalid = invalid(in: raw, type)
    point.values = values(in: raw, type)
    point.conditioning = ConditioningParser.conditioning(
      of: reader, type: type, bits: point.bits, personal: personal, isOccurrence: source != nil && point.isOccurrence)
    point.windows = WindowParser.windows(of: reader, everyNs: point.everyNs)
    point.write = write(source)
    return source == nil ? nil : point
  }

  /// The point's own question, or its frame's.
  private func ask(_ source: PointSource?) -> AskTemplate? {
    guard case .frame(let frame) = form, !frame.isMeter else {
      reader.reject(["ask"], because: "belongs to points of a [frame] of text or binary")
      return nil
    }
    return FrameParser.ask(reader, frame: frame) ?? frame.ask
  }

  /// Decimal, or hexadecimal after 0x.
  package static func address(_ text: Substring) -> Int? {
    guard text.utf8.first.map({ (0x30...0x39).contains($0) }) == true else { return nil }
    return text.hasPrefix("0x") ? Int(text.dropFirst(2), radix: 16) : Int(text)
  }

  // MARK: What it is

  private func type(of source: PointSource?) -> ValueType? {
    var onBits = false
    if case .register(let table, _) = source { onBits = table.isBits }
    if source?.isMeterItem == true { reader.require("type") }
    guard reader.has("type") else {
      _ = reader.item("type")
      if source?.isMeterItem == true { return nil }
      return onBits ? .bool : .u16
    }
    guard let text = reader.string("type") else { return nil }
    guard let type = ValueType.named(text) else {
      reader.report("type", typeProblem(text))
      return nil
    }
    if onBits, type != .bool {
      reader.report("type", "a coil or discrete input is a bit: only \"bool\" fits, got \"\(text)\"")
      return nil
    }
    if case .register = source, type.isOfFrames {
      reader.report("type", "\"\(text)\" has no place in a register of 16 bits: it belongs to binary frames and meters")
      return nil
    }
    if source?.isText == true, !type.fitsField {
      reader.report("type", "\"\(text)\" is not a type of a text's field: allowed are text:N, integers, f32 and f64")
      return nil
    }
    if source != nil, source?.isText == false, source?.isRegister == false, type == .bool {
      reader.report("type", "a byte is no bool: write type = \"u8\" and bits = \"0\" for one bit of it")
      return nil
    }
    return type
  }

  private func typeProblem(_ text: String) -> String {
    if text.hasPrefix("bcd:") || text.hasPrefix("sbcd:") {
      let most = ValueType.bcdBytes.upperBound
      return "\"\(text)\" is not understood: write \"bcd:N\" or \"sbcd:N\", N bytes from 1 to \(most)"
    }
    guard text.hasPrefix("text:") else {
      return TableReader.unknownWord(text, among: ValueType.words.map(\.word) + ["bcd:N", "sbcd:N", "text:N"])
    }
    guard let bytes = Int(text.dropFirst(5)), bytes > 0 else {
      return "\"\(text)\" is not understood: write \"text:N\", N bytes from 1 to \(Limits.textBytesMax)"
    }
    let (registers, most) = (bytes / 2 + bytes % 2, Limits.registersPerReadMax)
    if case .frame = form {} else if registers > most {
      return "takes \(registers) registers: a request reads at most \(most), and a text is at most "
        + "\(Limits.textBytesMax) bytes long"
    }
    return "a text is at most \(Limits.textBytesMax) bytes long, got \(bytes)"
  }

  /// Keys that say nothing about this kind of value are errors: whoever writes one expects an effect.
  private func rejectMeaningless(source: PointSource?, type: ValueType?, personal: Bool, isAsked: Bool) {
    switch source {
    case .field, .column, .key:
      reader.reject(["order", "bits"], because: "has no meaning for a field of a text line")
      if !isAsked { reader.reject(["every"], because: "has no meaning for a field of a text line") }
    case .byte:
      if !isAsked {
        reader.reject(["every"], because: "has no meaning for a frame that comes when the device sends it")
      }
    case .identifier: reader.reject(["order"], because: "has no meaning for a meter: the standard fixes it")
    case .register(let table, _) where table.isBits:
      reader.reject(["order", "bits"], because: "has no meaning for a coil or discrete input")
    default: break
    }
    let ofNumbers = ["scale", "offset", "unit", "range", "deadband"]
    switch type {
    case .text:
      reader.reject(["bits", "invalid", "values", "windows"] + ofNumbers, because: "has no meaning for a text")
    case .bool: reader.reject(["bits", "invalid"] + ofNumbers, because: "has no meaning for a bool")
    case .f32, .f64: reader.reject(["bits", "values"], because: "has no meaning for a floating-point number")
    case .bcd16, .bcd32, .bcd: reader.reject(["bits"], because: "has no meaning for decimal digits")
    default: break
    }
    if personal {
      reader.reject(
        ["values", "windows"] + ofNumbers, because: "has no meaning for a personal point: only its pseudonym is kept")
    }
  }

  /// A value is read in one request, and ends within the table.
  private func checkPlace(_ source: PointSource, _ type: ValueType) {
    switch source {
    case .byte(let offset):
      if offset + type.bytes > Limits.serialFrameBytesMax {
        reader.report(
          "read", "takes \(type.bytes) bytes from \(offset): a frame has at most \(Limits.serialFrameBytesMax)")
      } else if case .frame(let frame) = form, let binary = frame.binaryFrame, binary.size > 0,
        offset + type.bytes > binary.size
      {
        reader.report(
          "read", "takes \(type.bytes) bytes from \(offset) and passes the frame's end, byte \(binary.size - 1)")
      }
    case .identifier(_, let offset, _):
      let isDLT = if case .frame(let frame) = form { frame.format == .dlt645 } else { false }
      let most = isDLT ? Limits.dlt645DataBytesMax - 4 : Limits.cjt188DataBytesMax - 3
      if offset + type.bytes > most {
        reader.report("read", "takes \(type.bytes) bytes from \(offset): a meter's reply holds at most \(most)")
      }
    default: break
    }
    guard case .register(let table, let address) = source, !table.isBits else { return }
    if address + type.registers > Limits.registersPerTable {
      reader.report(
        "read",
        "takes \(type.registers) registers from \(address) and passes the last one, \(Limits.registersPerTable - 1)")
    }
    if case .registers(let most) = form, type.registers > most {
      reader.report("type", "takes \(type.registers) registers: a request to this device reads at most \(most)")
    }
  }

  /// Words can be swapped only where there are words.
  private func checkOrder(_ order: WordOrder, _ type: ValueType) {
    guard type.bytes % 2 == 1 || type.isOfFrames, reader.has("order"), order == .cdab || order == .badc else { return }
    if type.isText { return }
    reader.report("order", "a \(type.word) has no words to swap: allowed are \"ABCD\" and \"DCBA\"")
  }

  private func bits(of type: ValueType?) -> ClosedRange<Int>? {
    guard let text = reader.string("bits") else { return nil }
    let ends = text.split(separator: ".", omittingEmptySubsequences: false)
    let numbers = ends.compactMap { Self.address($0) }
    let one = ends.count == 1 && numbers.count == 1
    guard one || (ends.count == 3 && ends[1].isEmpty && numbers.count == 2), let low = numbers.first,
      let high = numbers.last
    else {
      reader.report(
        "bits", "\"\(text)\" is not understood: write \"3\" for one bit, \"4..7\" for several, the lowest is 0")
      return nil
    }
    if low > high {
      reader.report("bits", "\"\(text)\" runs backwards: write \"\(high)..\(low)\"")
      return nil
    }
    guard let type else { return nil }
    let width = type.bytes * 8
    guard high < width, high - low < 63 else {
      reader.report(
        "bits",
        "\"\(text)\" does not fit: a \(type.word) has the bits 0 to \(width - 1), of which at most 63 are taken")
      return nil
    }
    return low...high
  }

  // MARK: What it means

  private func scaling(_ point: inout PointSpec) {
    if let scale = reader.number("scale") {
      if scale == 0 {
        reader.report("scale", "0 makes every value the same: leave it out, or write what one step is worth")
      }
      point.scale = scale
    }
    point.offset = reader.number("offset") ?? 0
    if let unit = reader.string("unit") {
      if unit.isEmpty || unit.utf8.count > Limits.unitBytesMax {
        reader.report(
          "unit", "a unit has 1 to \(Limits.unitBytesMax) bytes, got \(unit.utf8.count); leave it out for none")
      }
      point.unit = unit
    }
    if let deadband = ConditioningParser.deadband(of: reader) {
      point.deadband = deadband.distance
      point.isDeadbandRelative = deadband.isRelative
    }
    point.range = range()
  }

  private func range() -> ClosedRange<Double>? {
    guard let items = reader.array("range", of: "two numbers, [lowest, highest]") else { return nil }
    let numbers = items.compactMap { TableReader.number($0.value) }
    guard items.count == 2, numbers.count == 2 else {
      reader.report("range", "expected two numbers, [lowest, highest]")
      return nil
    }
    guard numbers[0] <= numbers[1] else {
      reader.report("range", "the lowest value comes first: [\(numbers[1]), \(numbers[0])]")
      return nil
    }
    return numbers[0]...numbers[1]
  }

  private func invalid(in raw: ClosedRange<Int64>?, _ type: ValueType?) -> [Int64] {
    guard let items = reader.array("invalid", of: "an array of raw values") else { return [] }
    var result: [Int64] = []
    for item in items {
      guard case .integer(let value) = item.value else {
        reader.diagnostics.report(
          item.place, reader.keyPath("invalid"), "expected a raw integer, got \(item.value.typeName)")
        continue
      }
      checkRaw(value, in: raw, type, at: item.place, key: "invalid")
      result.append(value)
    }
    if result.count > Limits.invalidPerPointMax {
      reader.report("invalid", "has \(result.count) values: allowed are \(Limits.invalidPerPointMax)")
    }
    return result
  }

  private func values(in raw: ClosedRange<Int64>?, _ type: ValueType?) -> [Int64: String] {
    let example = "a table such as { 0 = \"closed\", 1 = \"open\" }"
    guard let members = reader.members("values", of: example) else { return [:] }
    var result: [Int64: String] = [:]
    for member in members {
      let key = "values.\(member.key)"
      func report(_ place: SourcePlace, _ message: String) {
        reader.diagnostics.report(place, reader.keyPath(key), message)
      }
      guard let value = Self.integer(member.key) else {
        report(member.keyPlace, "the key is not an integer")
        continue
      }
      guard case .string(let text) = member.item.value, !text.isEmpty, text.utf8.count <= Limits.nameBytesMax else {
        report(
          member.item.place,
          "expected a string of 1 to \(Limits.nameBytesMax) bytes, got \(member.item.value.typeName)")
        continue
      }
      checkRaw(value, in: raw, type, at: member.keyPlace, key: key)
      if result.updateValue(text, forKey: value) != nil { report(member.keyPlace, "is named twice") }
    }
    if result.count > Limits.valuesPerPointMax {
      reader.report("values", "has \(result.count) names: allowed are \(Limits.valuesPerPointMax)")
    }
    return result
  }

  private static func integer(_ text: String) -> Int64? {
    if text.hasPrefix("0x") { return Int64(text.dropFirst(2), radix: 16) }
    return text.hasPrefix("+") ? nil : Int64(text)
  }

  /// A raw value that the type never has would be waited for in vain. What means «no value» to the whole register may
  /// stand beside `bits` that are too few for it.
  private func checkRaw(
    _ value: Int64, in raw: ClosedRange<Int64>?, _ type: ValueType?, at place: SourcePlace, key: String
  ) {
    guard let raw, let type, !raw.contains(value) else { return }
    let what = raw == type.rawRange ? type.word : "these bits"
    var message = "\(value) never occurs: the raw values of \(what) are \(raw.lowerBound) to \(raw.upperBound)"
    let span = raw.upperBound.subtractingReportingOverflow(raw.lowerBound).partialValue
    if raw.lowerBound < 0, value > raw.upperBound, value - span - 1 < 0 {
      message += "; did you mean \(value - span - 1)?"
    }
    if key == "invalid", raw != type.rawRange, type.rawRange?.contains(value) == true {
      reader.diagnostics.warn(place, reader.keyPath(key), message)
    } else {
      reader.diagnostics.report(place, reader.keyPath(key), message)
    }
  }

  // MARK: When it is read and reported

  private func interval(_ point: inout PointSpec, _ source: PointSource?) {
    // What speaks when it likes has no interval; a meter's register moves slowly, and its line is slow.
    if let source {
      if point.isOccurrence || source == .computed { point.everyNs = 0 }
      if source.isMeterItem { point.everyNs = Limits.meterIntervalNs }
    }
    if let every = reader.duration("every", in: 0...Limits.intervalNsMax) {
      point.everyNs = every
      point.everyPlace = reader.valuePlace("every")
    }
    point.heartbeatNs = reader.duration("heartbeat", in: 0...Limits.intervalNsMax) ?? 0
  }

  private func write(_ source: PointSource?) -> WriteAccess {
    let write = reader.choice("write", among: WriteAccess.words) ?? .no
    guard write != .no else { return .no }
    if kind == "elevator" { reader.report("write", "nothing of an elevator is ever written: leave it out") }
    switch source {
    case .field, .column, .key: reader.report("write", "a field of a text line can't be written: leave it out")
    case .byte, .identifier: reader.report("write", "what is read from a frame can't be written: leave it out")
    case .register(let table, _) where table == .input || table == .discrete:
      reader.report("write", "input registers and discrete inputs can't be written: leave it out")
    default: break
    }
    return write
  }
}
