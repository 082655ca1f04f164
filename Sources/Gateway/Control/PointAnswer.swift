// A point's reading, a frame, and what can go wrong with a command, as JSON and as words: the same whether the agent
// answers or a tool has opened the line itself.

import FieldBus
import StreamCore

package struct PointAnswer {
  private let name: String
  private let series: CatalogueSeries

  package init(_ name: String, _ series: CatalogueSeries) {
    self.name = name
    self.series = series
  }

  /// {point, v or vb or vs, label, u, q, registers[] or bytes, took_ms}
  package func write(_ reading: PointReading, into writer: inout JSONWriter) {
    writer.object {
      $0.member("point", name)
      writeMembers(reading, into: &$0)
    }
  }

  package func write(before: PointReading, after: PointReading, into writer: inout JSONWriter) {
    writer.object { root in
      root.member("point", name)
      root.key("before")
      root.object { writeMembers(before, into: &$0) }
      root.key("after")
      root.object { writeMembers(after, into: &$0) }
    }
  }

  private func writeMembers(_ reading: PointReading, into writer: inout JSONWriter) {
    RecordWriter(catalogue: Catalogue(), timeline: Timeline(epoch: 0, now: .zero, clocks: []), pseudonymKey: nil)
      .writeValue(series, raw: reading.raw, text: reading.text, quality: reading.quality, into: &writer)
    if reading.words.isEmpty {
      writer.member("bytes", Hexadecimal.text(reading.bytes))
    } else {
      writer.key("registers")
      writer.array { for word in reading.words { $0.integer(word) } }
    }
    writer.member("took_ms", Double(reading.tookNs) / 1e6)
  }
}

package enum FrameRecord {
  /// {number, mono_ns, kind, origin, cause, masked, length, bytes}; times are of CLOCK_MONOTONIC.
  package static func write(_ frame: LineFrame, into writer: inout JSONWriter) {
    writer.member("number", frame.number)
    writer.member("mono_ns", frame.at.nanoseconds)
    writer.member("kind", "\(frame.kind)")
    writer.member("origin", "\(frame.origin)")
    if let cause = frame.cause { writer.member("cause", "\(cause)") }
    if frame.isMasked { writer.member("masked", true) }
    writer.member("length", frame.length)
    writer.member("bytes", Hexadecimal.text(frame.bytes))
  }

  /// Nil if it is none.
  package static func read(_ record: JSONValue) -> LineFrame? {
    guard let number = record["number"]?.integer, let at = record["mono_ns"]?.integer,
      let kind = FrameKind.named(record["kind"]?.string), let bytes = Hexadecimal.bytes(record["bytes"]?.string ?? "")
    else { return nil }
    return LineFrame(
      number: number, at: Instant(nanoseconds: at), kind: kind,
      origin: FrameOrigin.named(record["origin"]?.string) ?? .line,
      cause: Corruption.named(record["cause"]?.string), isMasked: record["masked"]?.bool == true,
      length: record["length"]?.integer.map { Int($0) }, bytes: bytes)
  }
}

extension FrameKind {
  fileprivate static func named(_ name: String?) -> FrameKind? {
    [.request, .reply, .broken, .silence, .stray, .opened, .lost].first { "\($0)" == name }
  }
}

extension FrameOrigin {
  fileprivate static func named(_ name: String?) -> FrameOrigin? {
    [.poll, .fence, .command, .line, .ask].first { "\($0)" == name }
  }
}

extension Corruption {
  fileprivate static func named(_ name: String?) -> Corruption? {
    [.checksum, .wrongUnit, .wrongShape, .echo].first { "\($0)" == name }
  }
}

// MARK: What can go wrong

extension LineFailure {
  /// The error's code at the control socket.
  package var word: String {
    switch self {
    case .noReply: "no_reply"
    case .corrupt: "corrupt"
    case .refused: "refused"
    case .lineLost: "line_lost"
    case .notServed: "not_served"
    case .busy: "busy"
    case .tooLate: "too_late"
    case .notPossible: "not_possible"
    }
  }

  package static func named(_ word: String, exception: UInt8) -> LineFailure? {
    let all: [LineFailure] = [
      .noReply, .corrupt(.wrongShape), .refused(exception), .lineLost, .notServed, .busy, .tooLate, .notPossible,
    ]
    return all.first { $0.word == word }
  }

  /// What happened, and what to do.
  package var text: String {
    switch self {
    case .noReply: "no reply; is the device powered, and the address right?"
    case .corrupt(.checksum): "the reply's checksum is wrong: noise or missing termination; try again"
    case .corrupt(.wrongUnit): "another unit answered; try again"
    case .corrupt(.wrongShape): "what came back is no answer to the request; try again"
    case .refused(let code): "the device refused: exception \(code), \(Self.exceptionText(code))"
    case .corrupt(.echo): "the request itself came back: the adapter's receiver stays on while it sends"
    case .lineLost: "the line is lost; `kerb status` says why"
    case .notServed: "nobody serves the bus: it rests, or the agent is stopping; try again"
    case .busy: "too many commands wait for this bus; try again"
    case .tooLate: "it was not the command's turn in time; try again"
    case .notPossible: "nothing can be asked there: its device speaks when it likes, or the frame is no question"
    }
  }

  /// Modbus Application Protocol V1.1b3, section 7.
  package static func exceptionText(_ code: UInt8) -> String {
    switch code {
    case 1: "illegal function"
    case 2: "illegal data address"
    case 3: "illegal data value"
    case 4: "device failure"
    case 5: "acknowledged, working"
    case 6: "device busy"
    case 8: "memory parity error"
    case 10: "gateway path unavailable"
    case 11: "gateway target did not answer"
    default: "unknown"
    }
  }
}

extension LineFailure {
  /// What a device of that protocol means by its refusal.
  package static func refusalText(_ code: UInt8, _ busProtocol: BusProtocol) -> String {
    switch busProtocol {
    case .modbusRTU, .modbusTCP, .modbusRTUTCP: return exceptionText(code)
    case .serial: return "unknown"
    case .cjt188: return "the meter's status \(Hexadecimal.text([code]))"
    case .dlt645:
      // DL/T 645-2007, annex on the error word.
      let names = [
        "other error", "no such data", "wrong password, or not permitted", "speed can't be changed",
        "too many year zones", "too many day slots", "too many tariffs",
      ]
      let said = names.indices.filter { code >> UInt8($0) & 1 == 1 }.map { names[$0] }
      return said.isEmpty ? "unknown" : said.joined(separator: ", ")
    }
  }
}

extension PointProblem {
  package func text(_ busProtocol: BusProtocol) -> String {
    if case .line(.refused(let code)) = self {
      return "the device refused: error \(code), \(LineFailure.refusalText(code, busProtocol))"
    }
    return text
  }

  package var word: String {
    switch self {
    case .line(let failure): failure.word
    case .personal: "personal"
    case .noRegister, .computed: "not_possible"
    case .personalReply: "personal_reply"
    case .onlyRead: "only_read"
    case .notWritable: "not_writable"
    case .badValue: "bad_value"
    }
  }

  package var text: String {
    switch self {
    case .line(let failure): failure.text
    case .personal: "is personal: its value is read for nobody"
    case .noRegister: "can't be asked for: the device speaks when it likes"
    case .personalReply(let other): "comes in one reply with \(other), which is personal: read for nobody"
    case .onlyRead: "can't be written: on lines of meters and of frames Kerb only reads"
    case .computed: "is computed from other points: `kerb points` shows it"
    case .notWritable: "can't be written: its profile does not say write = \"maintenance\" or \"upstream\""
    case .badValue(let allowed): "takes \(allowed)"
    }
  }
}
