// `kerb read` and `kerb write`: one point at once, through the running agent between its polls, or on a line that
// nobody has.

import ArgumentParser
import FieldBus
import Gateway
import Glibc
import StreamCore

struct Read: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "read",
    abstract: "Read one point from its device now.",
    discussion: """
      Through the running agent, between two of its polls; without an agent the port is opened for it. The value that
      the agent last polled is in `kerb points`.

      Example:
        kerb read manhole-17 tilt
        kerb read manhole-17 battery --json
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("The device's name.", valueName: "DEVICE")) var device: String
  @Argument(help: ArgumentHelp("The point's name.", valueName: "POINT")) var point: String
  @Flag(help: "One JSON object; docs/cli.md lists the keys.") var json = false

  func run() throws {
    let answer = try PointDesk(files, device, point).read()
    if json { return show(answer) }
    show("\(device)/\(point)  \(PointDesk.line(answer))")
  }
}

struct Write: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "write",
    abstract: "Write one point of a device, and read it back.",
    discussion: """
      Only points whose profile says write = "maintenance" or "upstream"; nothing of an elevator is ever written. Asks
      first, unless --yes is given. Needs root or group kerb-admin where an agent runs, which logs it.

      Example:
        kerb write lamp-3 lamp on
        kerb write gate-1 relay 1 --yes --json
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("The device's name.", valueName: "DEVICE")) var device: String
  @Argument(help: ArgumentHelp("The point's name.", valueName: "POINT")) var point: String
  @Argument(help: ArgumentHelp("A number in the point's unit, on or off, or a value's name.", valueName: "VALUE"))
  var value: String
  @Flag(help: "Don't ask.") var yes = false
  @Flag(help: "One JSON object: point, before, after.") var json = false

  func run() throws {
    let desk = try PointDesk(files, device, point)
    if !yes { try confirm(desk) }
    let answer = try desk.write(value)
    if json { return show(answer) }
    show(
      Messages.text(
        .pointWritten, "\(device)/\(point)", PointDesk.value(answer["before"]), PointDesk.value(answer["after"])))
  }

  private func confirm(_ desk: PointDesk) throws {
    guard isatty(0) == 1 else {
      throw CommandFailure(Messages.text(.writeNeedsYes), exitCode: CommandFailure.usage)
    }
    let now = PointDesk.value(try desk.read())
    _ = Array(Messages.text(.writeAsks, "\(device)/\(point)", now, value).utf8).withUnsafeBytes {
      Glibc.write(2, $0.baseAddress, $0.count)
    }
    guard let answer = readLine(), ["y", "yes", "是"].contains(answer.lowercased()) else {
      throw CommandFailure(Messages.text(.writeLeft), exitCode: CommandFailure.usage)
    }
  }
}

/// One point: asked of the agent, or by ourselves.
struct PointDesk {
  private let files: ConfigurationOptions
  private let device: String
  private let point: String
  private let client: ControlClient?

  init(_ files: ConfigurationOptions, _ device: String, _ point: String) throws {
    self.files = files
    self.device = device
    self.point = point
    client = try Agent(options: files).clientIfRunning()
  }

  func read() throws -> JSONValue {
    if let client { return try call(client, "read", []) }
    let own = try own()
    do throws(PointProblem) {
      let reading = try own.access.read()
      return try parsed { PointAnswer("\(device)/\(point)", own.series).write(reading, into: &$0) }
    } catch { throw CommandFailure(error, "\(device)/\(point)", own.busProtocol) }
  }

  func write(_ value: String) throws -> JSONValue {
    if let client { return try call(client, "write", [("value", value)]) }
    let own = try own()
    do throws(PointProblem) {
      let (before, after) = try own.access.write(value)
      return try parsed { PointAnswer("\(device)/\(point)", own.series).write(before: before, after: after, into: &$0) }
    } catch { throw CommandFailure(error, "\(device)/\(point)") }
  }

  private func call(_ client: ControlClient, _ method: String, _ more: [(String, String)]) throws -> JSONValue {
    let subject = "\(device)/\(point)"
    do throws(ControlFailure) {
      return try client.call(method, [("device", device), ("point", point)] + more)
    } catch {
      // What has words in the reader's language is said so; the agent's own are English.
      guard case .refused(let code, _) = error else { throw CommandFailure(error, files) }
      switch code {
      case "personal": throw CommandFailure(PointProblem.personal, subject)
      case "only_read": throw CommandFailure(PointProblem.onlyRead, subject)
      case "personal_reply": throw CommandFailure(error, files)
      case "not_writable": throw CommandFailure(PointProblem.notWritable, subject)
      case "refused": throw CommandFailure(error, files)
      default:
        guard let failure = LineFailure.named(code, exception: 0) else { throw CommandFailure(error, files) }
        throw CommandFailure(failure, subject)
      }
    }
  }

  private func own() throws -> (access: PointAccess<AskedLine>, series: CatalogueSeries, busProtocol: BusProtocol) {
    let configuration = try files.read()
    switch PointName.find(device, point, in: configuration.devices) {
    case .failure(let problem): throw CommandFailure(problem.text, exitCode: CommandFailure.usage)
    case .success(let found):
      let bus = configuration.buses[found.device.bus]
      let access = PointAccess(
        try AskedLine.opened(found.device.bus, configuration), device: found.device,
        number: configuration.numberOnBus(found.device), point: found.point, timeoutNs: bus.responseTimeoutNs)
      return (access, Catalogue(configuration).series[found.number], bus.busProtocol)
    }
  }

  private func parsed(_ write: (inout JSONWriter) -> Void) throws(PointProblem) -> JSONValue {
    var writer = JSONWriter()
    write(&writer)
    do { return try JSONParser.parse(writer.bytes) } catch { throw .line(.corrupt(.wrongShape)) }
  }

  // MARK: For a person

  static func value(_ answer: JSONValue?) -> String {
    guard let answer, let value = answer["v"] ?? answer["vb"] ?? answer["vs"] else { return "-" }
    var text = Shown.scalar(value)
    if let label = answer["label"]?.string { text += " \(label)" }
    if let unit = answer["u"]?.string { text += " \(unit)" }
    return text
  }

  static func line(_ answer: JSONValue) -> String {
    let words = (answer["registers"]?.array ?? []).map { word in
      Hexadecimal.text(words: [UInt16(truncatingIfNeeded: word.integer ?? 0)])
    }
    let took = Shown.tenths(answer["took_ms"]?.double ?? 0)
    let held = answer["bytes"]?.string ?? words.joined(separator: " ")
    return "\(value(answer))  \(answer["q"]?.string ?? "")  [\(held)]  \(took) ms"
  }
}
