// What the configuration will take of memory, line by line: what is sized from it is summed before anything
// runs, and a sum over `memory_limit` is refused.

import FieldBus
import Store
import StreamCore

package struct MemoryPlan: Sendable {
  package struct Line: Sendable {
    /// "rs485-1", "store", "pull".
    package var holder: String
    package var part: String
    package var bytes: Int
  }

  package private(set) var lines: [Line] = []
  package var totalBytes: Int { lines.reduce(0) { $0 + $1.bytes } }

  package init(_ configuration: Configuration) {
    for layout in Field.layouts(buses: configuration.buses, devices: configuration.devices) {
      for (part, bytes) in layout.memory {
        lines.append(Line(holder: layout.spec.name, part: part, bytes: bytes))
      }
      lines.append(Line(holder: layout.spec.name, part: "stack", bytes: BusThread.stackBytes))
    }
    let series = Numbering(devices: configuration.devices).seriesCount
    lines.append(Line(holder: "store", part: "pages", bytes: Limits.storeCacheBytes))
    lines.append(Line(holder: "store", part: "blocks", bytes: StoreConfiguration.blockBytes(seriesCount: series)))
    if configuration.reserveBytes > 0 || configuration.personalNs != nil {
      lines.append(
        Line(
          holder: "store", part: "reserve",
          bytes: StoreConfiguration.strideBytes(seriesCount: series, hasReserve: configuration.reserveBytes > 0)))
    }
    let spare = configuration.consumers.count * (Limits.answerBytesMin + Limits.answerPieceBytes)
    lines.append(Line(holder: "pull", part: "answers", bytes: Limits.answersBytesMax + spare))
    lines.append(
      Line(holder: "pull", part: "compression", bytes: Limits.compressionsMax * Limits.compressionBytes))
    // In both formats.
    lines.append(
      Line(holder: "pull", part: "names", bytes: 2 * RecordForms.bytes(of: Catalogue(configuration))))
    let commanders = configuration.consumers.count(where: \.commands)
    if commanders > 0 {
      lines.append(Line(holder: "pull", part: "commands", bytes: commanders * CommandBook.bytes))
    }
    for push in configuration.pushes {
      for (part, bytes) in push.memory { lines.append(Line(holder: push.name, part: part, bytes: bytes)) }
    }
    if configuration.certificate != nil {
      lines.append(Line(holder: "pull", part: "TLS", bytes: Limits.connectionsMax * Limits.tlsBytesPerConnection))
    }
  }
}
