// `kerb plan`: what the configuration will cost, before anything runs: each bus's timetable, and the memory by line.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Show what the configuration costs: requests and use of each line, memory, flash, upstream bytes.",
    discussion: """
      Needs no running agent and opens no line. What goes to the flash and to each platform in a day is the most that
      can come: every reading and every window reported.

      Example:
        kerb plan -c /etc/kerb/kerb.toml
      """)

  @OptionGroup var files: ConfigurationOptions
  @Flag(help: "Print one JSON object.") var json = false

  func run() throws {
    // The plan of what is too large is what shows where to save.
    let configuration = try files.read(enforcesMemoryLimit: false)
    let layouts = Field.layouts(buses: configuration.buses, devices: configuration.devices)
    let memory = MemoryPlan(configuration)
    if json {
      StandardOutput.write(document(configuration, layouts, memory) + [0x0A])
    } else {
      for layout in layouts { show(layout) }
      show(memory, limit: configuration.memoryLimitBytes)
      show(layouts.flatMap(\.deviceMemory))
      show(FlashPlan(configuration))
      show(UpstreamPlan(configuration))
    }
    _ = try files.read()
  }

  // MARK: For a person

  private func show(_ layout: BusLayout) {
    let spec = layout.spec
    // A path of /dev/serial/by-id is long, and must stay whole.
    let head = "bus \(spec.name)  \(spec.busProtocol.rawValue)"
    let isShort = Table.width(head) + 2 + Table.width(spec.endpoint.text) <= Table.widthMax
    say("\(head)\(isShort ? "  " : "\n  ")\(spec.endpoint.text)")
    guard spec.busProtocol.isModbus else {
      if layout.isAsked { return showAsks(layout) }
      say("  listens; the device speaks when it likes\n")
      return
    }
    var table = Table(["device", "unit", "reads", "every", "points", "on the wire"], rightAligned: [1, 4, 5])
    for (index, device) in layout.devices.enumerated() {
      for request in layout.plan.requests[layout.plan.requestsOfDevice[index]] {
        let last = request.address + request.count - 1
        table.rows.append([
          Cell(device.name), Cell("\(request.unit)"), Cell("\(request.table) \(request.address)-\(last)"),
          Cell(every(request.intervalNs)), Cell("\(request.reads.count)"), Cell(wire(request.wireNs)),
        ])
      }
    }
    show(table)
    if spec.busProtocol.isRTU {
      say(
        "  line: \(tenths(layout.plan.utilisation * 100)) % used, a full cycle takes "
          + "\(tenths(Double(layout.plan.cycleNs) / 1e6)) ms on the wire")
      let dead = (1...Swift.max(1, Swift.min(3, layout.devices.count))).map {
        "\(tenths(Double(layout.plan.cycleNs(dead: $0)) / 1e6)) ms with \($0)"
      }
      show(wrapping: "silence before a request: \(silence(layout))")
      show(wrapping: "the first cycle after devices die, before they are backed off: \(dead.joined(separator: ", "))")
    }
    say("")
  }

  private func silence(_ layout: BusLayout) -> String {
    let spec = layout.spec
    let whole = "\(tenths(Double(spec.format.silenceNs) / 1e6)) ms"
    if spec.silence == .standard { return whole }
    let least = layout.plan.cycleNs - Int64(layout.plan.requests.count) * spec.format.silenceNs
    return "\(whole), learned down to none: a full cycle then takes \(tenths(Double(least) / 1e6)) ms"
  }

  private func showAsks(_ layout: BusLayout) {
    var table = Table(["device", "address", "asks", "every", "points", "on the wire"], rightAligned: [4, 5])
    for (index, device) in layout.devices.enumerated() {
      for request in layout.asks.requests[layout.asks.requestsOfDevice[index]] {
        table.rows.append([
          Cell(device.name), Cell(device.addressText), Cell(request.title), Cell(every(request.intervalNs)),
          Cell("\(request.points.count)"), Cell(wire(request.wireNs)),
        ])
      }
    }
    show(table)
    say(
      "  line: \(tenths(layout.asks.utilisation * 100)) % used, a full cycle takes "
        + "\(tenths(Double(layout.asks.cycleNs) / 1e6)) ms on the wire\n")
  }

  private func show(_ memory: MemoryPlan, limit: Int) {
    say("memory, in KiB")
    var table = Table(["of", "for", "KiB"], rightAligned: [2])
    for line in memory.lines where line.bytes > 0 {
      table.rows.append([Cell(line.holder), Cell(line.part), Cell(tenths(Double(line.bytes) / 1_024))])
    }
    show(table)
    let (sum, most) = (tenths(Double(memory.totalBytes) / 1_024), tenths(Double(limit) / 1_024))
    say("  sum \(sum) of \(most) allowed")
  }

  private func show(_ flash: FlashPlan) {
    let daily = tenths(flash.bytesPerDay / 1e6)
    say("\nflash, at the most: \(daily) MB a day, of \(tenths(flash.samplesPerSecond)) samples a second")
    guard let years = flash.years, let bears = flash.enduranceTBW else {
      return say("  for the years that it lasts, give [buffer] endurance_tbw")
    }
    say("  new flash of \(tenths(bears)) TB endurance lasts \(years < 100 ? tenths(years) : "more than 100") years")
  }

  private func show(_ upstream: UpstreamPlan) {
    guard !upstream.platforms.isEmpty else { return }
    say("\nupstream in a day, at the most, without alarms")
    var table = Table(["platform", "format", "records", "bytes each", "MB"], rightAligned: [2, 3, 4])
    for platform in upstream.platforms {
      let format = (platform.push.map { "\($0.rawValue) " } ?? "pulls ") + platform.format.rawValue
      table.rows.append([
        Cell(platform.name), Cell(format + (platform.isGzip ? ", gzip" : "")),
        Cell("\(Int(platform.recordsPerDay.rounded()))"), Cell(tenths(platform.bytesPerRecord)),
        Cell(tenths(platform.bytesPerDay / 1e6)),
      ])
    }
    show(table)
    say("  sum \(tenths(upstream.bytesPerDay / 1e6)) MB")
  }

  /// Below a heading.
  private func show(_ table: Table) {
    for line in table.lines(width: Table.widthMax - 2) { say("  " + line) }
  }

  /// What belongs to one device alone, in bytes; `--json` has each point, window and alarm.
  private func show(_ devices: [DeviceMemory]) {
    guard !devices.isEmpty else { return }
    say("\nof this by device, in bytes")
    let parts = RuleMemory.Part.allCases
    var table = Table(
      ["device"] + parts.map(\.rawValue) + ["sum"], rightAligned: Set(1...(parts.count + 1)))
    for device in devices {
      table.rows.append(
        [Cell(device.name)] + parts.map { Cell("\(device.bytes($0))") } + [Cell("\(device.bytes)")])
    }
    show(table)
  }

  private func say(_ line: String) { StandardOutput.write(line + "\n") }

  private func every(_ intervalNs: Int64) -> String { intervalNs == 0 ? "always" : durationText(intervalNs) }
  private func wire(_ wireNs: Int64) -> String { wireNs > 0 ? "\(tenths(Double(wireNs) / 1e6)) ms" : "" }
  private func show(wrapping text: String) { for line in ProfileText.wrapped(text) { say(line) } }
  private func tenths(_ value: Double) -> String {
    let scaled = (value * 10).rounded()
    return "\(Int(scaled) / 10).\(abs(Int(scaled)) % 10)"
  }

  // MARK: For a program

  private func document(_ configuration: Configuration, _ layouts: [BusLayout], _ memory: MemoryPlan) -> [UInt8] {
    var json = JSONWriter()
    json.object { root in
      root.member("gateway", configuration.gatewayID)
      root.key("buses")
      root.array { list in for layout in layouts { list.object { write(layout, into: &$0) } } }
      root.key("flash")
      root.object { part in
        let flash = FlashPlan(configuration)
        part.member("samples_per_second_max", flash.samplesPerSecond)
        part.member("bytes_per_day_max", Int64(min(1e18, flash.bytesPerDay)))
        if let bears = flash.enduranceTBW { part.member("endurance_tbw", bears) }
        if let years = flash.years { part.member("life_years", years) }
      }
      root.key("upstream")
      root.object { write(UpstreamPlan(configuration), into: &$0) }
      root.key("memory")
      root.object { part in
        part.key("devices")
        part.array { list in
          for device in layouts.flatMap(\.deviceMemory) { list.object { write(device, into: &$0) } }
        }
        part.member("total_bytes", memory.totalBytes)
        part.member("limit_bytes", configuration.memoryLimitBytes)
        part.key("lines")
        part.array { list in
          for line in memory.lines {
            list.object {
              $0.member("holder", line.holder)
              $0.member("part", line.part)
              $0.member("bytes", line.bytes)
            }
          }
        }
      }
    }
    return json.bytes
  }

  private func write(_ upstream: UpstreamPlan, into json: inout JSONWriter) {
    json.member("bytes_per_day_max", Int64(min(1e18, upstream.bytesPerDay)))
    json.key("platforms")
    json.array { list in
      for platform in upstream.platforms {
        list.object {
          $0.member("name", platform.name)
          $0.key("push")
          if let push = platform.push { $0.string(push.rawValue) } else { $0.null() }
          $0.member("format", platform.format.rawValue)
          $0.member("gzip", platform.isGzip)
          $0.member("records_per_day_max", Int64(min(1e18, platform.recordsPerDay.rounded())))
          $0.member("bytes_per_record", platform.bytesPerRecord)
          $0.member("bytes_per_day_max", Int64(min(1e18, platform.bytesPerDay)))
        }
      }
    }
  }

  private func write(_ device: DeviceMemory, into json: inout JSONWriter) {
    json.member("name", device.name)
    json.member("bytes", device.bytes)
    json.key("rules")
    json.array { list in
      for rule in device.rules {
        list.object {
          $0.member("part", rule.part.rawValue)
          $0.member("name", rule.name)
          $0.member("bytes", rule.bytes)
        }
      }
    }
  }

  private func write(_ layout: BusLayout, into json: inout JSONWriter) {
    json.member("name", layout.spec.name)
    json.member("protocol", layout.spec.busProtocol.rawValue)
    let isModbus = layout.spec.busProtocol.isModbus
    json.member("utilisation", isModbus ? layout.plan.utilisation : layout.asks.utilisation)
    json.member("cycle_ms", Double(isModbus ? layout.plan.cycleNs : layout.asks.cycleNs) / 1e6)
    if layout.spec.busProtocol.isRTU {
      json.member("silence", layout.spec.silence.rawValue)
      json.member("silence_ms", Double(layout.spec.format.silenceNs) / 1e6)
    }
    json.key("cycle_dead_ms")
    json.array { list in
      for dead in 1...Swift.max(1, layout.devices.count) {
        list.number(Double(layout.plan.cycleNs(dead: dead)) / 1e6)
      }
    }
    json.key("requests")
    json.array { list in
      for request in layout.asks.requests {
        list.object {
          $0.member("device", layout.devices[request.device].name)
          $0.member("address", layout.devices[request.device].addressText)
          $0.member("ask", request.title)
          $0.member("points", request.points.count)
          $0.member("every_ms", Double(request.intervalNs) / 1e6)
          $0.member("wire_ms", Double(request.wireNs) / 1e6)
        }
      }
      for request in layout.plan.requests {
        list.object {
          $0.member("device", layout.devices[request.device].name)
          $0.member("unit", request.unit)
          $0.member("table", "\(request.table)")
          $0.member("address", request.address)
          $0.member("count", request.count)
          $0.member("points", request.reads.count)
          $0.member("holes", request.holes)
          $0.member("every_ms", Double(request.intervalNs) / 1e6)
          $0.member("wire_ms", Double(request.wireNs) / 1e6)
        }
      }
    }
  }
}
