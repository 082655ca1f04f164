// `kerb ports`: which serial ports there are, and who has them.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct Ports: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ports",
    abstract: "Serial ports: maker, serial number, physical path, driver, who holds them.",
    discussion: """
      Opens nothing. Whose bus a port is comes from the configuration, if there is one; who holds it from /proc, as
      far as you may look. In the configuration name the port by the stable path of the second line.

      Example:
        kerb ports
        kerb ports --json | jq '.[] | select(.held_by == []).path'
      """)

  @OptionGroup var files: ConfigurationOptions
  @Flag(help: "A JSON array; docs/cli.md lists the keys.") var json = false

  func run() throws {
    let rows = rows()
    if json { return document(rows) }
    if rows.isEmpty { return show(Messages.text(.noPorts)) }
    var table = Table(Messages.columns(.portsHead))
    var details: [String?] = []
    for row in rows {
      let what = [row.facts.maker, row.facts.product].compactMap { $0 }.joined(separator: " ")
      table.rows.append([
        Cell(row.facts.path), Cell(row.bus ?? "-"), Cell(row.facts.driver ?? "-"),
        Cell(row.holders.isEmpty ? "-" : row.holders.joined(separator: ", "), row.holders.isEmpty ? .plain : .yellow),
        Cell(what.isEmpty ? row.facts.description : what),
      ])
      let more = [row.facts.stablePath, row.facts.place, row.facts.usbID, row.facts.serialNumber].compactMap { $0 }
      details.append(more.isEmpty ? nil : "  " + Table.cut(more.joined(separator: "  "), to: Table.widthMax - 2))
    }
    let lines = table.lines()
    show(lines[0])
    for (index, line) in lines.dropFirst().enumerated() {
      show(line)
      if let detail = details[index] { show(detail) }
    }
  }

  private struct Row {
    var facts: SerialPortFacts
    var bus: String?
    var holders: [String]
  }

  private func rows() -> [Row] {
    // Without a sound configuration the ports are there all the same.
    let configuration = files.read(into: Diagnostics(), enforcesMemoryLimit: false)
    var buses: [String: String] = [:]
    for bus in configuration?.buses ?? [] {
      guard let path = bus.serialPath else { continue }
      buses[TextFile.resolved(path) ?? path] = bus.name
    }
    return SerialPorts.all().map {
      Row(facts: $0, bus: buses[$0.path], holders: PortHolders.names($0.path))
    }
  }

  private func document(_ rows: [Row]) {
    var writer = JSONWriter()
    writer.array { list in
      for row in rows {
        list.object { entry in
          func optional(_ key: String, _ value: String?) {
            entry.key(key)
            if let value { entry.string(value) } else { entry.null() }
          }
          entry.member("path", row.facts.path)
          optional("stable_path", row.facts.stablePath)
          entry.member("transport", row.facts.transport)
          entry.member("description", row.facts.description)
          optional("maker", row.facts.maker)
          optional("product", row.facts.product)
          optional("serial_number", row.facts.serialNumber)
          optional("usb_id", row.facts.usbID)
          optional("driver", row.facts.driver)
          optional("place", row.facts.place)
          entry.key("latency_ms")
          if let latency = row.facts.latencyMs { entry.integer(latency) } else { entry.null() }
          optional("bus", row.bus)
          entry.key("held_by")
          entry.array { for holder in row.holders { $0.string(holder) } }
        }
      }
    }
    show(String(decoding: writer.bytes, as: UTF8.self))
  }
}
