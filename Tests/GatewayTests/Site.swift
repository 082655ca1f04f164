// A small site for the tests: four devices of different kinds with every way in which a value can travel.

import FieldBus
import Gateway
import Store
import StreamCore

enum Site {
  static let place = SourcePlace(file: "site.toml", line: 1, column: 1)

  static func point(_ name: String, _ adjust: (inout PointSpec) -> Void = { _ in }) -> PointSpec {
    var point = PointSpec(name: name, place: place, source: .register(.holding, address: 0))
    adjust(&point)
    return point
  }

  /// Series: 0 cover-1/tilt (°, scaled), 1 cover-1/battery (V, scaled), 2 hydrant-1/flow (float), 3 hydrant-1/open
  /// (bool), 4 lift-1/state (named values), 5 lift-1/serial (text), 6 lift-1/trips (u64), 7 gate-1/card (personal),
  /// 8 and 9 cover-1/tilt by the minute: max and mean. Alarms: 0 cover-1/cover-open (critical), 1 hydrant-1/leak
  /// (warning), 2 hydrant-1/command (no alarm: commands of platforms to hydrant-1/open).
  static func configuration() -> Configuration {
    var configuration = Configuration()
    configuration.gatewayID = "box-7"
    configuration.buses = [
      BusSpec(name: "rs485-1", place: place, busProtocol: .modbusRTU, endpoint: .serialPort(path: "/dev/null"))
    ]
    let tilt = point("tilt") {
      $0.type = .i16
      $0.scale = 0.1
      $0.unit = "deg"
      $0.windows = [WindowSpec(everyNs: 60_000_000_000, statistics: [.max, .mean])]
    }
    let battery = point("battery") {
      $0.scale = 0.01
      $0.unit = "V"
    }
    configuration.devices = [
      device("cover-1", "manhole-cover", [tilt, battery], labels: ["grid": "G3"]),
      device("hydrant-1", "hydrant",
        [
          point("flow") { $0.type = .f32 },
          point("open") {
            $0.type = .bool
            $0.write = .upstream
          },
        ]),
      device(
        "lift-1", "elevator",
        [
          // No profile can say so: the reader refuses it.
          point("state") {
            $0.values = [0: "stopped", 1: "moving"]
            $0.write = .upstream
          },
          point("serial") { $0.type = .text(characters: 8) }, point("trips") { $0.type = .u64 },
        ], labels: ["grid": "G4"]),
      device("gate-1", "access-gate", [point("card") { $0.personal = true }]),
    ]
    configuration.devices[0].alarms = [alarm("cover-open", .critical, "Cover {device} of {gateway}: {tilt} deg")]
    configuration.devices[1].alarms = [alarm("leak", .warning, "Leak at {device}, flow {flow}")]
    return configuration
  }

  static func device(
    _ name: String, _ kind: String, _ points: [PointSpec], labels: [String: String] = [:]
  ) -> DeviceSpec {
    var device = DeviceSpec(name: name, place: place, bus: 0, address: 1, profile: "\(kind)/generic", kind: kind)
    device.points = points
    device.labels = labels
    return device
  }

  private static func alarm(_ name: String, _ severity: Severity, _ message: String) -> AlarmSpec {
    var alarm = AlarmSpec(name: name, place: place, when: "tilt > 15", whenPlace: place)
    alarm.severity = severity
    alarm.message = ["en": message, "zh": "井盖 {device}"]
    return alarm
  }
}

extension StoredAlarm {
  init(name: String, sequence: Int64, epoch: UInt32, catalogueVersion: UInt32, event: AlarmEvent) {
    self.init(
      name: name,
      StoredEvent(sequence: sequence, epoch: epoch, catalogueVersion: catalogueVersion, event: event))
  }
}
