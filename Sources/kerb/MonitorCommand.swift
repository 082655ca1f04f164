// `kerb monitor`: the frames of a bus as they pass: the agent's own out of its black box, or, without an agent, what
// others say on a line that is only listened to.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc
import Store
import StreamCore

struct Monitor: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor",
    abstract: "A bus's frames as they pass, decoded, with times.",
    discussion: """
      Begins with the last frames that the agent remembers. A * marks a command's frame, a ~ one that only makes sure
      that no late reply is on its way. Of a device that speaks when it likes all is shown that it sends, with its
      points' values. Without an agent a line of Modbus is listened to: another master's requests and the replies.
      Personal values are zeros. Ends on Ctrl-C.

      Wireshark and tshark decode the file as Modbus RTU; with -o mbrtu.tcp.port:502 they also tell the query from the
      response where both look alike (functions 5, 6, 15, 16). Frames of other buses are bytes without a dissector there
      (link type USER0).

      Example:
        kerb monitor rs485-1
        kerb monitor rs485-1 --seconds 60 --write line.pcapng && tshark -r line.pcapng
      """)

  @OptionGroup var files: ConfigurationOptions
  @Argument(help: ArgumentHelp("The bus's name.", valueName: "BUS")) var bus: String
  @Option(help: ArgumentHelp("Also write the frames to this pcapng file.", valueName: "FILE")) var write: String?
  @Option(help: ArgumentHelp("End after so many seconds; 0: with what is remembered.", valueName: "N")) var seconds:
    Int?
  @Option(help: ArgumentHelp("End after so many frames.", valueName: "N")) var count: Int?
  @Flag(help: "Show the bytes below each line.") var bytes = false
  @Flag(
    help: "One object a frame: t, unsynchronised, number, mono_ns, kind, origin, cause, masked, length, bytes, values.")
  var json = false

  func run() throws {
    // An agent runs on although its file is wrong by now, or unreadable.
    let configuration = files.read(into: Diagnostics())
    let busProtocol = configuration?.buses.first { $0.name == bus }?.busProtocol ?? .modbusRTU
    let points = HeardPoints(bus: bus, configuration)
    let capture = try write.map { try CaptureFile($0, bus: bus, isModbus: busProtocol.isModbus) }
    var out = FrameOutput(
      json: json, line: FrameLine(showsBytes: bytes, busProtocol, points), points: points, capture: capture,
      left: count ?? .max)
    let deadline = seconds.map { kerb_monotonic_ns() + Int64(max(0, $0)) * 1_000_000_000 } ?? .max
    if let client = try Agent(options: files).clientIfRunning() {
      try follow(client, until: deadline, &out)
    } else {
      try listen(until: deadline, &out)
    }
  }

  /// The frames are kept for seconds; a fifth of one between two looks loses none and is as good as live.
  private static let lookNs: Int64 = 200_000_000

  private func follow(_ client: ControlClient, until deadline: Int64, _ out: inout FrameOutput) throws {
    var next: Int64 = 0
    while out.left > 0, StandardOutput.isOpen {
      let answer = try Agent(options: files).ask(client, "frames", [("bus", bus), ("after", "\(next)")])
      out.offsetNs = answer["clock_offset_ns"]?.integer
      for record in answer["frames"]?.array ?? [] {
        guard let frame = FrameRecord.read(record) else { continue }
        if next > 0, frame.number > next + 1 { out.missed(frame.number - next - 1) }
        next = frame.number
        try out.put(frame)
      }
      next = max(next, answer["next"]?.integer ?? 0)
      let now = kerb_monotonic_ns()
      if now >= deadline { return }
      _ = kerb_poll_until(nil, 0, min(deadline, now + Self.lookNs))
    }
  }

  private func listen(until deadline: Int64, _ out: inout FrameOutput) throws {
    let configuration = try files.read()
    guard let index = configuration.buses.firstIndex(where: { $0.name == bus }) else {
      throw CommandFailure(PointName.noBus(bus, configuration.buses), exitCode: CommandFailure.usage)
    }
    let spec = configuration.buses[index]
    guard let path = spec.serialPath, spec.busProtocol.isModbus else {
      throw CommandFailure(Messages.text(.notListened, bus), exitCode: CommandFailure.unavailable)
    }
    let personal = configuration.devices.filter { $0.bus == index && $0.points.contains(where: \.personal) }
    var port = TextPort(path: path, format: spec.format)
    do throws(PortFailure) { try port.open() } catch {
      throw CommandFailure(
        Messages.text(.portMissing, path, String(cString: strerror(error.code))), exitCode: CommandFailure.unavailable)
    }
    var splitter = FrameSplitter(
      format: spec.format, personalUnits: Set(personal.map { UInt8(truncatingIfNeeded: $0.address) }))
    let buffer = UnsafeMutablePointer<UInt8>.allocate(capacity: Limits.frameBytesMax)
    defer { buffer.deallocate() }
    complain(Messages.text(.listening, bus, path))
    var clock = WallClock(trust: configuration.clock)
    while out.left > 0, StandardOutput.isOpen, kerb_monotonic_ns() < deadline {
      let until = min(splitter.deadline ?? .max, kerb_monotonic_ns() + Self.lookNs, deadline)
      do throws(ReadFailure) {
        let count = try port.read(into: buffer, capacity: Limits.frameBytesMax, until: Instant(nanoseconds: until))
        splitter.take(UnsafeBufferPointer(start: buffer, count: count), at: kerb_monotonic_ns())
      } catch {
        throw CommandFailure(Messages.text(.lineLost, bus), exitCode: CommandFailure.unavailable)
      }
      if let offsetNs = clock.poll() { out.offsetNs = offsetNs }
      for frame in splitter.frames(at: kerb_monotonic_ns()) { try out.put(frame) }
    }
  }
}

/// Where frames go: lines or JSON on standard output, and a file. Where the wall's time is not known only the file has
/// absolute ones, by what the box takes for the time: its format knows no others.
struct FrameOutput {
  let json: Bool
  var line: FrameLine
  let points: HeardPoints
  let capture: CaptureFile?
  var left: Int
  /// From the monotonic clock to the wall's; nil: that is not known.
  var offsetNs: Int64?

  mutating func put(_ frame: LineFrame) throws {
    guard left > 0 else { return }
    left -= 1
    let now = kerb_monotonic_ns()
    try capture?.put(frame, unixNs: frame.at.nanoseconds + (kerb_realtime_ns() - now))
    if json { return show(Self.object(frame, offsetNs, now: now, values: points.values(frame))) }
    show(line.text(frame, offsetNs: offsetNs))
  }

  /// With its time as every record has it.
  static func object(
    _ frame: LineFrame, _ offsetNs: Int64?, now: Int64, values: [JSONValue] = []
  ) -> JSONWriter {
    let timeline = Timeline(
      epoch: 0, now: Instant(nanoseconds: now), clocks: [EpochClock(epoch: 0, offsetNs: offsetNs)])
    var writer = JSONWriter()
    writer.object {
      timeline.write(frame.at, epoch: 0, into: &$0)
      FrameRecord.write(frame, into: &$0)
      guard !values.isEmpty else { return }
      $0.key("values")
      $0.value(.array(values))
    }
    return writer
  }

  func missed(_ count: Int64) { complain(Messages.text(.framesMissed, "\(count)")) }
}

/// Owns the file's descriptor; whole packets only, so that a break leaves a sound file.
final class CaptureFile {
  private let path: String
  private let fd: Int32
  private let isModbus: Bool

  init(_ path: String, bus: String, isModbus: Bool) throws(CommandFailure) {
    self.path = path
    self.isModbus = isModbus
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o640)
    if fd < 0 { throw CommandFailure(cannotWrite: path, errno) }
    try put(Pcapng.head(bus: bus, isModbus: isModbus))
  }

  deinit { if fd >= 0 { close(fd) } }

  func put(_ frame: LineFrame, unixNs: Int64) throws(CommandFailure) {
    try put(Pcapng.packet(frame, unixNs: unixNs, isModbus: isModbus))
  }

  private func put(_ bytes: [UInt8]) throws(CommandFailure) {
    if bytes.isEmpty { return }
    let code = WholeWrite.bytes(bytes, to: fd)
    if code != 0 { throw CommandFailure(cannotWrite: path, code) }
  }
}
