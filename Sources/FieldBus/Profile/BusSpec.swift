// A bus and its devices, as configured and checked: what FieldBus is built from.

import StreamCore

package enum BusProtocol: String, Sendable, CaseIterable {
  case modbusRTU = "modbus-rtu"
  case modbusTCP = "modbus-tcp"
  /// RTU frames carried over TCP, as serial device servers do.
  case modbusRTUTCP = "modbus-rtu-tcp"
  /// Lines of text or binary frames, described in a profile; asked for, or sent when the device likes.
  case serial
  /// Electricity meters.
  case dlt645
  /// Water, gas and heat meters.
  case cjt188
}

extension BusProtocol {
  /// Modbus in any framing.
  package var isModbus: Bool { self != .serial && !isMeter }
  package var isMeter: Bool { self == .dlt645 || self == .cjt188 }
  /// Frames on a serial line, here or behind a device server: its speed and its silences count.
  package var isRTU: Bool { self == .modbusRTU || self == .modbusRTUTCP }
}

package enum Parity: String, Sendable, CaseIterable {
  case none, even, odd
}

/// Who switches an RS-485 transceiver between sending and listening.
package enum RS485Mode: String, Sendable, CaseIterable {
  /// The adapter itself, or nobody.
  case off
  /// The kernel, with RTS high while sending.
  case kernel
  /// With RTS low while sending.
  case kernelInverted = "kernel-inverted"
}

/// How long a line rests before a request.
package enum SilenceRule: String, Sendable, CaseIterable {
  /// Three and a half characters.
  case standard
  /// As little as each unit proves to bear.
  case learned
}

/// Baud, parity and stop bits: what a character costs on the wire.
package struct LineFormat: Sendable, Hashable {
  package var baud = 9600
  package var parity = Parity.none
  package var stopBits = 1

  package init(baud: Int = 9600, parity: Parity = .none, stopBits: Int = 1) {
    self.baud = baud
    self.parity = parity
    self.stopBits = stopBits
  }

  /// Start bit, eight data bits, parity, stop bits.
  package var bitsPerCharacter: Int { 9 + (parity == .none ? 0 : 1) + stopBits }
  package var characterNs: Int64 { Int64(bitsPerCharacter) * 1_000_000_000 / Int64(baud) }
  /// The silence between frames (Modbus over Serial Line V1.02, 2.5.1.1): 3.5 characters, fixed above 19,200 baud.
  package var silenceNs: Int64 { baud > 19_200 ? 1_750_000 : characterNs * 7 / 2 }
}

package enum BusEndpoint: Sendable, Hashable {
  case serialPort(path: String)
  case tcp(host: String, port: Int)
}

package struct BusSpec: Sendable, Equatable {
  package var name: String
  package var place: SourcePlace
  package var busProtocol: BusProtocol
  package var endpoint: BusEndpoint
  package var format = LineFormat()
  /// The ceiling for a reply.
  package var responseTimeoutNs: Int64 = 500_000_000
  /// Extra silence that a slow device needs.
  package var turnaroundNs: Int64 = 0
  package var retries = 1
  package var rs485 = RS485Mode.off
  package var silence = SilenceRule.standard
  /// Of the bus itself.
  package var alarms: [AlarmSpec] = []

  package init(name: String, place: SourcePlace, busProtocol: BusProtocol, endpoint: BusEndpoint) {
    self.name = name
    self.place = place
    self.busProtocol = busProtocol
    self.endpoint = endpoint
  }

  /// Nil: no serial line.
  package var serialPath: String? {
    if case .serialPort(let path) = endpoint { return path }
    return nil
  }
}

package struct DeviceSpec: Sendable, Equatable {
  package var name: String
  package var place: SourcePlace
  /// Index in the configuration's buses.
  package var bus: Int
  /// Modbus unit 1 to 247 (0 to 255 on TCP); on a serial bus what {address} stands for; 0 where there is none.
  package var address: Int
  /// "manhole-cover/generic"; empty if the device has only points of its own.
  package var profile: String
  package var kind: String
  package var labels: [String: String] = [:]
  package var registersMax = Limits.registersPerReadMax
  /// On a serial or meter bus: how its frames are cut up.
  package var frame: FrameSpec?
  /// On a meter bus.
  package var meterAddress: MeterAddress?
  /// The profile's points with the device's own merged in (same name: the device's wins).
  package var points: [PointSpec] = []
  package var alarms: [AlarmSpec] = []

  package init(name: String, place: SourcePlace, bus: Int, address: Int, profile: String, kind: String) {
    self.name = name
    self.place = place
    self.bus = bus
    self.address = address
    self.profile = profile
    self.kind = kind
  }

  /// Of a platform. Nothing of an elevator is ever written, whatever a profile says.
  package func takesCommand(_ point: PointSpec) -> Bool {
    guard kind != "elevator", point.write == .upstream, !point.personal else { return false }
    if case .register(let table, _) = point.source { return table == .holding || table == .coil }
    return false
  }
  package var takesCommands: Bool { points.contains(where: takesCommand) }

  /// As a person would write it.
  package var addressText: String { meterAddress?.text ?? "\(address)" }
  /// Something is sent to it, and it answers.
  package var isAsked: Bool { frame == nil || frame?.isMeter == true || points.contains { $0.ask != nil } }
}
