// `kerb plan`: what the configuration will cost, before anything runs: each bus's timetable, and the memory by line.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct Plan: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Show what the configuration costs: requests and use of each line, memory by line.",
    discussion: """
      Needs no running agent and opens no line.

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
    }
    _ = try files.read()
  }

  // MARK: For a person

  private func show(_ layout: BusLayout) {
    let spec = layout.spec
    say("bus \(spec.name)  \(spec.busProtocol.rawValue)  \(spec.endpoint.text)")
    guard spec.busProtocol.isModbus else {
      if layout.isAsked { return showAsks(layout) }
      say("  listens; the device speaks when it likes\n")
      return
    }
    for (index, device) in layout.devices.enumerated() {
      for request in layout.plan.requests[layout.plan.requestsOfDevice[index]] {
        let last = request.address + request.count - 1
        let every = request.intervalNs == 0 ? "always" : durationText(request.intervalNs)
        say(
          "  " + column(device.name, 22) + column("\(request.unit)", 5)
            + column("\(request.table) \(request.address)-\(last)", 22) + column(every, 8)
            + column("\(request.reads.count) points", 11)
            + (request.wireNs > 0 ? "\(tenths(Double(request.wireNs) / 1e6)) ms" : ""))
      }
    }
    if spec.busProtocol.isRTU {
      say(
        "  line: \(tenths(layout.plan.utilisation * 100)) % used, a full cycle takes "
          + "\(tenths(Double(layout.plan.cycleNs) / 1e6)) ms on the wire")
      let dead = (1...Swift.max(1, Swift.min(3, layout.devices.count))).map {
        "\(tenths(Double(layout.plan.cycleNs(dead: $0)) / 1e6)) ms with \($0)"
      }
      say("  silence before a request: \(silence(layout))")
      say("  the first cycle after devices die, before they are backed off: \(dead.joined(separator: ", "))")
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
    for (index, device) in layout.devices.enumerated() {
      for request in layout.asks.requests[layout.asks.requestsOfDevice[index]] {
        let every = request.intervalNs == 0 ? "always" : durationText(request.intervalNs)
        say(
          "  " + column(device.name, 22) + column(device.addressText, 15) + column(request.title, 22) + column(every, 8)
            + column("\(request.points.count) points", 11) + "\(tenths(Double(request.wireNs) / 1e6)) ms")
      }
    }
    say(
      "  line: \(tenths(layout.asks.utilisation * 100)) % used, a full cycle takes "
        + "\(tenths(Double(layout.asks.cycleNs) / 1e6)) ms on the wire\n")
  }

  private func show(_ memory: MemoryPlan, limit: Int) {
    say("memory, in KiB")
    for line in memory.lines where line.bytes > 0 {
      say("  " + column(line.holder, 22) + column(line.part, 12) + right(tenths(Double(line.bytes) / 1_024), 10))
    }
    say(
      "  " + column("sum", 34) + right(tenths(Double(memory.totalBytes) / 1_024), 10)
        + "   of \(tenths(Double(limit) / 1_024)) allowed")
  }

  private func show(_ flash: FlashPlan) {
    let daily = tenths(flash.bytesPerDay / 1e6)
    say("\nflash, at the most: \(daily) MB a day, of \(tenths(flash.samplesPerSecond)) samples a second")
    guard let years = flash.years, let bears = flash.enduranceTBW else {
      return say("  for the years that it lasts, give [buffer] endurance_tbw")
    }
    say("  new flash of \(tenths(bears)) TB endurance lasts \(years < 100 ? tenths(years) : "more than 100") years")
  }

  /// What belongs to one device alone, in bytes; `--json` has each point, window and alarm.
  private func show(_ devices: [DeviceMemory]) {
    guard !devices.isEmpty else { return }
    say("\nof this by device, in bytes")
    let parts = RuleMemory.Part.allCases
    say("  " + column("", 22) + parts.map { right($0.rawValue, 14) }.joined() + right("sum", 10))
    for device in devices {
      say(
        "  " + column(device.name, 22) + parts.map { right("\(device.bytes($0))", 14) }.joined()
          + right("\(device.bytes)", 10))
    }
  }

  private func say(_ line: String) { StandardOutput.write(line + "\n") }

  private func column(_ text: String, _ width: Int) -> String {
    text.count >= width ? text + " " : text + String(repeating: " ", count: width - text.count)
  }
  private func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: Swift.max(0, width - text.count)) + text
  }
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
