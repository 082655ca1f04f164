// A virtual site as its file describes it, checked: lines, devices, what their values do, and what happens when.

import FieldBus
import StreamCore

package struct SiteSpec: Sendable {
  /// All that looks random follows from it.
  package var seed: UInt64 = 1
  package var lines: [SiteLine] = []
  package var devices: [SiteDevice] = []
  package var events: [SiteEvent] = []

  package init(lines: [SiteLine] = [], devices: [SiteDevice] = [], events: [SiteEvent] = [], seed: UInt64 = 1) {
    self.lines = lines
    self.devices = devices
    self.events = events
    self.seed = seed
  }
}

package enum LineEnd: Sendable, Hashable {
  /// A link at this path to a pty's slave side.
  case link(path: String)
  /// Port 0: any free one; `VirtualSite.port(of:)` says which.
  case listen(host: String, port: Int)
}

package struct SiteLine: Sendable {
  package var name: String
  package var place: SourcePlace
  package var busProtocol: BusProtocol
  package var end: LineEnd
  package var format = LineFormat()
  /// Bytes take their time on the wire.
  package var paced = true
  /// A request that begins before t3.5 of silence is ignored, as a slave does that holds to the standard; and
  /// one at another speed.
  package var strict = true
  /// What a device thinks between request and reply.
  package var turnaroundNs: Int64 = 0

  package init(
    name: String, place: SourcePlace = .inCode, busProtocol: BusProtocol = .modbusRTU, end: LineEnd,
    format: LineFormat = LineFormat(), paced: Bool = true, strict: Bool? = nil, turnaroundNs: Int64 = 0
  ) {
    self.name = name
    self.place = place
    self.busProtocol = busProtocol
    self.end = end
    self.format = format
    self.paced = paced
    self.strict = strict ?? paced
    self.turnaroundNs = turnaroundNs
  }
}

/// A register that the site file sets by address.
package struct FixedRegister: Sendable, Hashable {
  package var table: RegisterTable
  package var address: Int
  package var value: UInt16
  package init(_ table: RegisterTable, _ address: Int, _ value: UInt16) {
    self.table = table
    self.address = address
    self.value = value
  }
}

/// What a device does with registers between those that it has.
package enum Holes: String, Sendable, CaseIterable {
  /// Reads them as 0.
  case zero
  /// Answers «illegal data address».
  case refuse
}

package struct SiteDevice: Sendable {
  package var name: String
  package var place: SourcePlace
  /// Index in the site's lines.
  package var line: Int
  /// Modbus unit; on a serial line what {address} stands for.
  package var address: Int
  package var meterAddress: MeterAddress?
  package var profile: Profile
  package var signals: [String: Signal]
  package var registers: [FixedRegister]
  package var holes = Holes.zero
  /// Requests that come sooner than this after the last byte on the line are ignored, on Modbus RTU. On a
  /// strict line that is t3.5 for all.
  package var silenceNs: Int64 = 0
  /// Mean time between two lines of text that a serial device sends by itself; 0: only at events.
  package var speaksEveryNs: Int64 = 0

  package init(
    name: String, place: SourcePlace = .inCode, line: Int = 0, address: Int, profile: Profile,
    signals: [String: Signal] = [:], registers: [FixedRegister] = [], holes: Holes = .zero
  ) {
    self.name = name
    self.place = place
    self.line = line
    self.address = address
    self.profile = profile
    self.signals = signals
    self.registers = registers
    self.holes = holes
  }
}

/// A value that somebody puts into a device.
package enum SiteValue: Sendable, Hashable {
  /// In the point's unit.
  case number(Double)
  /// A text, or the name of an enumeration's value.
  case text(String)
  case flag(Bool)
  /// As the register holds it, before scale and offset: a sentinel, say.
  case raw(Int64)

  package var text: String {
    switch self {
    case .number(let value): return value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
    case .text(let text): return text
    case .flag(let on): return on ? "true" : "false"
    case .raw(let value): return "raw \(value)"
    }
  }
}

package enum SiteAction: Sendable, Hashable {
  case value(point: String, SiteValue)
  case fault(Fault)
  /// The whole line: its far end is pulled out, and comes back under another number.
  case lineUnplugged
}

package struct SiteEvent: Sendable {
  package var place: SourcePlace
  /// After the site's start.
  package var atNs: Int64
  /// Nil: once.
  package var everyNs: Int64?
  /// Nil: for good.
  package var forNs: Int64?
  /// A device's name, or a line's for `lineUnplugged`.
  package var target: String
  package var action: SiteAction

  package init(
    place: SourcePlace = .inCode, atNs: Int64, everyNs: Int64? = nil, forNs: Int64? = nil, target: String,
    action: SiteAction
  ) {
    self.place = place
    self.atNs = atNs
    self.everyNs = everyNs
    self.forNs = forNs
    self.target = target
    self.action = action
  }
}

/// Something that happened on the site, as it is told to who watches.
package struct SiteHappening: Sendable {
  /// Monotonic: no reply before this moment carries it.
  package var at: Instant
  /// After the site's start.
  package var sinceStartNs: Int64
  package var target: String
  package var what: What

  package enum What: Sendable, Hashable {
    case value(point: String, SiteValue)
    /// The point follows its own signal again.
    case released(point: String)
    case fault(Fault)
    case faultOver(Fault)
    case lineUnplugged
    case linePlugged
    /// A serial device sent this line of text.
    case spoke(String)
  }
}

/// What the caller does about it: tell the user, with the path and the system's reason.
package enum SiteFailure: Error, Sendable, Hashable {
  /// Something that is not ours stands at the link's path.
  case linkTaken(path: String)
  /// Another running simulation serves this link.
  case linkServed(path: String)
  case linkFailed(path: String, code: Int32)
  case noPty(code: Int32)
  case cannotListen(host: String, port: Int, code: Int32)
  case outOfMemory
  case noThread(code: Int32)
}

extension SourcePlace {
  /// Of what no file says.
  package static let inCode = SourcePlace(file: "", line: 0, column: 0)
}
