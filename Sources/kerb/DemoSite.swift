// The community of the demo: what stands on which line, what goes wrong when, and the files that say so to simulator,
// agent and platform. All in one temporary folder.

import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore
import VirtualSite

struct DemoSite {
  let folder: String
  let port: Int
  let seconds: Int
  let profiles: String
  let devices: [CommunityDevice]

  var sitePath: String { folder + "/site.toml" }
  var configurationPath: String { folder + "/kerb.toml" }
  var tokenPath: String { folder + "/token" }
  var ledgerPath: String { folder + "/platform.json" }
  var agentAccountPath: String { folder + "/agent.json" }
  var controlPath: String { runtimePath + "/control.sock" }
  var statePath: String { folder + "/state" }
  var runtimePath: String { folder + "/run" }
  var lines: [String] { Community.lines }

  static let consumer = "demo-platform"
  static let coverDevice = "manhole-03"
  static let coverAlarm = "cover-open"
  static let pulledDevice = "hydrant-02"
  static let lampDevice = "streetlight-02"
  static let readerDevice = "card-reader"
  static let card = "0012345678"

  init(folder: String, port: Int, seconds: Int, profiles: String) {
    self.folder = folder
    self.port = port
    self.seconds = seconds
    self.profiles = profiles
    devices = Community.devices
  }

  // MARK: When

  /// A short demo has its story told faster.
  private func at(_ second: Double) -> String {
    "\(Int(second * 1_000 * Swift.min(1, Double(seconds) / 30)))ms"
  }

  // MARK: Files

  /// Nil: all stand; else what is wrong.
  func write() -> String? {
    guard let token = Sodium.randomBytes(24).map(Hexadecimal.text) else { return "the system gives no random numbers" }
    let files = [
      (sitePath, siteText), (configurationPath, configurationText(token: token)), (tokenPath, token + "\n"),
    ]
    for path in [statePath, runtimePath] where mkdir(path, 0o700) < 0 {
      return "can't make \(path): \(String(cString: strerror(errno)))"
    }
    for (path, text) in files where !DemoFiles.replace(path, Array(text.utf8), mode: 0o600) {
      return "can't write \(path): \(String(cString: strerror(errno)))"
    }
    return nil
  }

  private var siteText: String {
    var text = "seed = 20_260_101\n"
    for line in lines {
      text += """

        [[line]]
        name = "\(line)"
        protocol = "modbus-rtu"
        link = "\(folder)/\(line)"
        baud = 9600
        paced = true

        """
    }
    text += """

      [[line]]
      name = "cards"
      protocol = "serial"
      link = "\(folder)/cards"

      [[device]]
      name = "\(DemoSite.readerDevice)"
      line = "cards"
      profile = "access-gate/card-reader"
      speaks_every = "11s"

      """
    for device in devices {
      text += """

        [[device]]
        name = "\(device.name)"
        line = "\(device.line)"
        address = \(device.address)
        profile = "\(device.profile)"

        """
    }
    for event in events { text += "\n[[event]]\n\(event)\n" }
    return text
  }

  private var events: [String] {
    func value(_ second: Double, _ device: String, _ point: String, _ value: String, _ length: String?) -> String {
      "at = \"\(at(second))\"\ndevice = \"\(device)\"\npoint = \"\(point)\"\nvalue = \(value)"
        + (length.map { "\nfor = \"\($0)\"" } ?? "")
    }
    return [
      value(6, DemoSite.coverDevice, "tilt", "34", "8s"),
      value(6, DemoSite.coverDevice, "state", "\"open\"", "8s"),
      "at = \"\(at(10))\"\ndevice = \"\(DemoSite.pulledDevice)\"\nfault = \"unplugged\"\nfor = \"8s\"",
      value(13, DemoSite.lampDevice, "current", "0", nil),
      value(13, DemoSite.lampDevice, "power", "0.4", nil),
      value(16, DemoSite.readerDevice, "card", "\"\(DemoSite.card)\"", "1s"),
    ]
  }

  private func configurationText(token: String) -> String {
    var text = """
      [gateway]
      id = "demo"
      state = "\(statePath)"
      runtime = "\(runtimePath)"
      clock = "trusted"

      [buffer]
      telemetry = "4MiB"
      alarms = "1MiB"
      commit_every = "1s"

      [pull]
      listen = ["127.0.0.1:\(port)"]

      [[consumer]]
      name = "\(DemoSite.consumer)"
      token_sha256 = "\(Hexadecimal.text(Sodium.sha256(Array(token.utf8))))"
      personal = "pseudonym"

      """
    for line in lines {
      text += """

        [[bus]]
        name = "\(line)"
        protocol = "modbus-rtu"
        port = "\(folder)/\(line)"
        baud = 9600

        """
    }
    text += """

      [[bus]]
      name = "cards"
      protocol = "serial"
      port = "\(folder)/cards"
      baud = 9600

      [[device]]
      name = "\(DemoSite.readerDevice)"
      bus = "cards"
      profile = "access-gate/card-reader"

      """
    for device in devices {
      text += """

        [[device]]
        name = "\(device.name)"
        bus = "\(device.line)"
        address = \(device.address)
        profile = "\(device.profile)"

        """
    }
    return text
  }

  // MARK: Finding a place

  /// A fresh folder under TMPDIR or /tmp; nil: errno says why.
  static func makeFolder() -> String? {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/kerb-demo-XXXXXX".utf8CString)
    return template.withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress, mkdtemp(start) != nil else { return nil }
      return String(cString: start)
    }
  }

  static func freePort() -> Int? {
    let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(fd, $0, size) == 0 && getsockname(fd, $0, &size) == 0
      }
    }
    return bound ? Int(UInt16(bigEndian: address.sin_port)) : nil
  }

  /// Everything that the demo made, and nothing else.
  static func remove(folder: String) {
    for name in (try? TextFile.names(in: folder)) ?? [] {
      let path = folder + "/" + name
      var about = stat()
      guard lstat(path, &about) == 0 else { continue }
      if about.st_mode & S_IFMT == S_IFDIR { remove(folder: path) } else { unlink(path) }
    }
    rmdir(folder)
  }
}
