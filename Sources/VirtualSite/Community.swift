// A small community: what stands on its lines. The demo shows it, the simulation lives through a month of it.

package struct CommunityDevice: Sendable {
  package var name: String
  /// "KIND/NAME"
  package var profile: String
  package var line: String
  package var address: Int
}

package enum Community {
  package static let lines = ["rs485-1", "rs485-2"]

  /// What stands on each of the lines: six kinds, twelve devices.
  private static let street = [
    ("manhole", "manhole-cover", 3), ("streetlight", "streetlight", 3), ("hydrant", "hydrant", 2),
    ("smoke", "smoke-detector", 2), ("elevator", "elevator", 1), ("gate", "access-gate", 1),
  ]

  package static var devices: [CommunityDevice] {
    var devices: [CommunityDevice] = []
    var numbers: [String: Int] = [:]
    for line in lines {
      var address = 1
      for (name, kind, count) in street {
        for _ in 0..<count {
          let number = numbers[name, default: 0] + 1
          numbers[name] = number
          let full = "\(name)-\(number < 10 ? "0" : "")\(number)"
          devices.append(CommunityDevice(name: full, profile: "\(kind)/generic", line: line, address: address))
          address += 1
        }
      }
    }
    return devices
  }
}
