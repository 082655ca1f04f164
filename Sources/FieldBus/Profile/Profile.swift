// What a device profile says: its points, windows and alarms, as read from TOML and not yet placed on a bus.

import StreamCore

/// Where in the configuration something stands. Lines and columns count from 1.
package struct SourcePlace: Sendable, Hashable {
  package var file: String
  package var line: Int
  package var column: Int
  /// Of a text in "…": every quotation mark and backslash in it has a backslash in front.
  package var hasEscapes = false
  package init(file: String, line: Int, column: Int) {
    self.file = file
    self.line = line
    self.column = column
  }

  /// "kerb.toml:12:3"; a whole file has line 0.
  package var text: String { line > 0 ? "\(file):\(line):\(column)" : file }
}

package enum RegisterTable: UInt8, BitwiseCopyable, Sendable, CaseIterable {
  case holding, input, coil, discrete

  package var isBits: Bool { self == .coil || self == .discrete }
}

package enum ValueType: Sendable, Hashable {
  case bool, u16, i16, u32, i32, u64, i64, f32, f64, bcd16, bcd32
  /// Of binary frames and meters only.
  case u8, i8
  /// Two decimal digits a byte, 1 to 7 bytes; of binary frames and meters only. `signed`: the top bit is the sign.
  case bcd(bytes: Int, signed: Bool)
  /// ASCII or UTF-8, `characters` bytes, two in a register, high byte first.
  case text(characters: Int)

  /// Registers that a value takes; 1 for a bit.
  package var registers: Int {
    switch self {
    case .bool, .u8, .i8, .u16, .i16, .bcd16: return 1
    case .bcd(let bytes, _): return (bytes + 1) / 2
    case .u32, .i32, .f32, .bcd32: return 2
    case .u64, .i64, .f64: return 4
    case .text(let characters): return (characters + 1) / 2
    }
  }

  /// Bytes that a value takes in a binary frame.
  package var bytes: Int {
    switch self {
    case .u8, .i8: return 1
    case .bcd(let bytes, _): return bytes
    case .text(let characters): return characters
    default: return 2 * registers
    }
  }
}

/// The order in which a value's bytes arrive; A is the most significant. CDAB swaps words, BADC the bytes in each word.
package enum WordOrder: UInt8, BitwiseCopyable, Sendable, CaseIterable {
  case abcd, cdab, badc, dcba
}

package enum PointSource: Hashable, Sendable {
  /// Zero-based protocol address.
  case register(RegisterTable, address: Int)
  /// Field of a line of text; from 1.
  case field(Int)
  /// Characters of a line of text, from 1; inclusive.
  case column(first: Int, last: Int)
  /// The value behind a name in a line of text.
  case key(String)
  /// Byte of a binary frame, from 0.
  case byte(Int)
  /// A meter's data item, and where in it the value begins. `unit`: the code that must follow it (CJ/T 188).
  case identifier(UInt32, offset: Int, unit: UInt8?)
  /// Nothing that is read: it is made from other points.
  case computed

  package var isRegister: Bool { if case .register = self { true } else { false } }
  package var isMeterItem: Bool { if case .identifier = self { true } else { false } }
  /// Of a line of text.
  package var isText: Bool {
    switch self {
    case .field, .column, .key: return true
    case .register, .byte, .identifier, .computed: return false
    }
  }
}

/// What a device answers when it is asked who it is (Modbus functions 0x2B/0x0E and 0x11).
package struct Identification: Sendable, Hashable {
  package var vendor: String?
  package var product: String?
  package var revision: String?
  package init() {}
}

package enum WriteAccess: UInt8, Sendable, CaseIterable {
  case no, maintenance, upstream
}

package struct WindowSpec: Sendable, Hashable {
  package var everyNs: Int64
  /// How far it moves; equal to `everyNs`: one after the other.
  package var slideNs: Int64
  /// It waits so long for late readings before it is reported.
  package var latenessNs: Int64
  package var statistics: [Statistic]
  package init(everyNs: Int64, slideNs: Int64? = nil, latenessNs: Int64 = 0, statistics: [Statistic]) {
    self.everyNs = everyNs
    self.slideNs = slideNs ?? everyNs
    self.latenessNs = latenessNs
    self.statistics = statistics
  }
}

package struct PointSpec: Sendable, Equatable {
  package var name: String
  package var place: SourcePlace
  package var source: PointSource
  package var type: ValueType = .u16
  package var order: WordOrder = .abcd
  /// Bits of the raw integer, the lowest is 0; inclusive.
  package var bits: ClosedRange<Int>?
  package var scale = 1.0
  package var offset = 0.0
  package var unit: String?
  /// 0: as often as the line allows.
  package var everyNs: Int64 = 1_000_000_000
  /// Where the interval is written; nil: nowhere, it is the default.
  package var everyPlace: SourcePlace?
  package var range: ClosedRange<Double>?
  /// Raw values (after `bits`) that mean «no value».
  package var invalid: [Int64] = []
  package var values: [Int64: String] = [:]
  package var deadband = 0.0
  /// The deadband is a part of the value last reported: 0.02 are two percent.
  package var isDeadbandRelative = false
  /// 0: only on change.
  package var heartbeatNs: Int64 = 0
  /// Nil: readings are taken as they are.
  package var conditioning: ConditioningRule?
  package var personal = false
  package var write: WriteAccess = .no
  /// Of a computed point: the expression's text, and where it stands.
  package var compute: String?
  package var computePlace: SourcePlace?
  /// What is sent for the frame that it is read from; nil: registers, meters, and devices that speak when they like.
  package var ask: AskTemplate?
  package var windows: [WindowSpec] = []

  package init(name: String, place: SourcePlace, source: PointSource) {
    self.name = name
    self.place = place
    self.source = source
  }

  /// Comes when the device sends it, and is reported each time.
  package var isOccurrence: Bool { ask == nil && !source.isRegister && !source.isMeterItem && !isComputed }
  package var isComputed: Bool { compute != nil }
}

/// Who says whether an alarm's condition holds.
package enum AlarmSource: Sendable, Hashable {
  /// `when`, over the points of its device.
  case condition
  /// The bus, of one of its devices or of itself.
  case deviceOffline
  case busLost
  /// The gateway, of itself.
  case gateway
}

package struct AlarmSpec: Sendable, Equatable {
  package var name: String
  package var source = AlarmSource.condition
  package var place: SourcePlace
  /// The condition's text, and where it stands.
  package var when: String
  package var whenPlace: SourcePlace
  package var forNs: Int64 = 0
  /// Nil: not `when`.
  package var clear: String?
  package var clearPlace: SourcePlace?
  package var clearForNs: Int64 = 0
  package var severity: Severity = .warning
  /// 0: never.
  package var remindNs: Int64 = 0
  package var escalateNs: Int64 = 0
  package var escalateTo: Severity?
  package var latches = false
  /// Alarms of the same device, or «bus-lost»: while one of them stands, this one calls nobody.
  package var suppressedBy: [String] = []
  package var suppressedByPlace: SourcePlace?
  /// By language; `{device}` and `{point}` are filled in.
  package var message: [String: String] = [:]

  package init(name: String, place: SourcePlace, when: String, whenPlace: SourcePlace) {
    self.name = name
    self.place = place
    self.when = when
    self.whenPlace = whenPlace
  }
}

package struct Profile: Sendable {
  /// "manhole-cover/generic"
  package var id: String
  package var kind: String
  package var title: [String: String] = [:]
  package var source = ""
  package var registersMax = Limits.registersPerReadMax
  /// Of a serial device or a meter; its points are parts of its frames then.
  package var frame: FrameSpec?
  package var identification = Identification()
  package var points: [PointSpec] = []
  /// Points that were reported as wrong and are not in `points`: whoever names one makes no second mistake.
  package var brokenPoints: Set<String> = []
  package var alarms: [AlarmSpec] = []

  package init(id: String, kind: String) {
    self.id = id
    self.kind = kind
  }
}

extension Profile {
  /// Its devices answer questions; else they speak when they like.
  package var isAsked: Bool { frame == nil || frame?.isMeter == true || points.contains { $0.ask != nil } }
}
