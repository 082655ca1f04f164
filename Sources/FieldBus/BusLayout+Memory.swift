// What each device and each of its rules takes of its bus's memory: what `kerb plan` prints beside the sums. The
// rest of a sum is what devices share: rules, programs, and the rounding of each table to a cache line.

import StreamCore

/// A part of a bus's memory that belongs to one rule of one device.
package struct RuleMemory: Sendable, Hashable {
  package enum Part: String, Sendable, CaseIterable {
    case points, conditioning, windows, quantiles, alarms
  }
  package var part: Part
  /// "tilt", "tilt/1m", "cover-open"
  package var name: String
  package var bytes: Int
}

package struct DeviceMemory: Sendable {
  package var name: String
  package var rules: [RuleMemory] = []

  package var bytes: Int { rules.reduce(0) { $0 + $1.bytes } }
  package func bytes(_ part: RuleMemory.Part) -> Int { rules.reduce(0) { $0 + ($1.part == part ? $1.bytes : 0) } }
}

extension BusLayout {
  /// By device of the bus.
  package var deviceMemory: [DeviceMemory] {
    devices.map { device in
      var memory = DeviceMemory(name: device.name)
      func add(_ part: RuleMemory.Part, _ name: String, _ bytes: Int) {
        if bytes > 0 { memory.rules.append(RuleMemory(part: part, name: name, bytes: bytes)) }
      }
      for point in device.points {
        add(.points, point.name, MemoryLayout<PointState>.stride + PointBoard.cellBytes)
        add(.conditioning, point.name, 8 * (point.conditioning?.words ?? 0))
        for window in point.windows {
          let rule = WindowRule(window)
          let name = "\(point.name)/\(durationText(window.everyNs))"
          add(.windows, name, MemoryLayout<WindowState>.stride + 8 * (rule.words - rule.sketchWords))
          add(.quantiles, name, 8 * rule.sketchWords)
        }
      }
      for alarm in device.alarms { add(.alarms, alarm.name, PipelineSize.bytesPerAlarm) }
      return memory
    }
  }
}
