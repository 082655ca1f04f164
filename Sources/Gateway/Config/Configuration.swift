// The whole configuration, read and checked. What stands here is possible: `kerb run` starts with nothing else.

import FieldBus
import Store
import StreamCore

package enum ListenAddress: Sendable, Hashable {
  /// Plain HTTP.
  case tcp(host: String, port: Int)
  case tls(host: String, port: Int)
  case unix(path: String)
}

/// `auto`: the wall clock is believed once the kernel says that it is disciplined. `trusted`: at once (a box with a
/// battery-backed clock and no time server).
package enum ClockTrust: String, Sendable, CaseIterable {
  case auto, trusted
}

package enum Lane: UInt8, Sendable, CaseIterable {
  case alarms = 0
  case telemetry = 1

  package var name: String { self == .alarms ? "alarms" : "telemetry" }
}

package enum PersonalTreatment: String, Sendable, CaseIterable {
  case omit, pseudonym
}

/// Whose progress and traffic /metrics shows: one's own, or everybody's.
package enum MetricsReach: String, Sendable, CaseIterable {
  case own, all
}

/// A platform: who it is, what it may see. An empty list of the scope means «all».
package struct ConsumerSpec: Sendable, Equatable {
  package var name: String
  package var place: SourcePlace
  /// SHA-256 of the token, 64 lower-case hexadecimal digits.
  package var tokenSHA256: String
  package var devices: [String] = []
  package var kinds: [String] = []
  /// All of these must be equal on the device.
  package var labels: [String: String] = [:]
  /// "point", or "device/point"
  package var points: [String] = []
  package var severityMin: Severity = .notice
  package var lanes: [Lane] = [.alarms, .telemetry]
  package var personal: PersonalTreatment = .omit
  /// Which of these keys makes its pseudonyms: another number, other pseudonyms.
  package var pseudonymKey = 1
  package var metrics = MetricsReach.own
  /// It may write points whose profile says `write = "upstream"`.
  package var commands = false

  package init(name: String, place: SourcePlace, tokenSHA256: String) {
    self.name = name
    self.place = place
    self.tokenSHA256 = tokenSHA256
  }
}

package struct Configuration: Sendable {
  /// Files read, in order.
  package var files: [String] = []
  package var prints = SectionPrints()
  package var gatewayID = "kerb"
  package var statePath = "/var/lib/kerb"
  package var runtimePath = "/run/kerb"
  package var memoryLimitBytes = Limits.memoryLimitBytesDefault
  package var clock: ClockTrust = .auto
  /// What the box is, if somebody said so.
  package var board: Board?
  /// Of a board that is unknown or has mistakes in its file: told, and no reason to stand still. It gives names only.
  package var boardProblems: [Diagnostic] = []
  /// What has no effect in the files that were read.
  package var warnings: [Diagnostic] = []

  package var telemetryBytes = 256 << 20
  package var alarmBytes = 16 << 20
  package var commitNs: Int64 = 60_000_000_000
  /// Part of `telemetryBytes` for what outlives the ring; nil: as it is needed.
  package var reserve: Int?
  /// By device; normal where nothing is said.
  package var keep: [String: KeepClass] = [:]
  package var isThinning = false
  /// Personal telemetry is kept so long; nil: as long as the rest.
  package var personalNs: Int64?
  package var flashEnduranceTBW: Double?

  package var listen: [ListenAddress] = []
  /// Plain HTTP on other than loopback and unix sockets was asked for in so many words.
  package var insecure = false
  /// What TLS listeners show.
  package var certificate: CertificateFiles?

  package var consumers: [ConsumerSpec] = []
  package var pushes: [PushSpec] = []
  package var buses: [BusSpec] = []
  package var devices: [DeviceSpec] = []
  /// Of the box itself.
  package var alarms: [AlarmSpec] = []

  package init() {}
}

extension Configuration {
  /// Those of a bus, in the order of the file: what numbers them on their bus.
  package func devices(on bus: Int) -> [DeviceSpec] { devices.filter { $0.bus == bus } }

  /// Of a device among those of its bus.
  package func numberOnBus(_ device: DeviceSpec) -> Int {
    devices(on: device.bus).firstIndex { $0.name == device.name } ?? 0
  }
}
