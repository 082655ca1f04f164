// A bus's tables, filled from its layout before the thread runs.

import StreamCore

extension BusLayout {
  /// Points, windows, alarms and their programs. `left`: the alarms as they were at the last stop, by alarm of the bus.
  package func fill(_ pipeline: inout Pipeline, left: [AlarmEvent?], at now: Instant) {
    points.fill(&pipeline)
    alarms.fill(&pipeline, left: left, at: now)
    for (index, rule) in computed.enumerated() { pipeline.setComputed(index, rule) }
    for (index, word) in programs.code.enumerated() { pipeline.setCode(index, word) }
  }
}

extension BusLoop where Line: ~Copyable {
  /// Units, requests and what is cut out of each.
  func fill(_ layout: BusLayout) {
    var specs: [PointSpec] = []
    var firstInvalid: [Int] = []
    var alarm = 0
    var invalid = 0
    for (index, device) in layout.devices.enumerated() {
      machine.units[index].address = UInt8(truncatingIfNeeded: device.address)
      machine.units[index].registersMax = UInt16(device.registersMax)
      machine.units[index].firstPoint = UInt16(specs.count)
      machine.units[index].pointCount = UInt16(device.points.count)
      machine.units[index].firstAlarm = UInt16(alarm)
      machine.units[index].alarmCount = UInt16(device.alarms.count)
      alarm += device.alarms.count
      for spec in device.points {
        specs.append(spec)
        firstInvalid.append(invalid)
        invalid += spec.invalid.count
      }
      let range = layout.nodesOfDevice[index]
      machine.units[index].firstRequest = UInt32(range.lowerBound)
      machine.units[index].requestCount = UInt32(range.count)
      machine.units[index].latency = layout.latencies[index]
      machine.units[index].tolerance = layout.tolerances[index]
    }
    var binding = 0
    for (index, request) in layout.nodes.enumerated() {
      var slot = RequestSlot()
      slot.unit = UInt16(request.device)
      slot.table = request.table
      slot.address = UInt16(request.address)
      slot.count = UInt16(request.count)
      slot.intervalNs = request.intervalNs
      slot.wireNs = request.wireNs
      slot.isWatched = request.isWatched
      slot.firstBinding = UInt32(binding)
      slot.bindingCount = UInt16(request.reads.count)
      slot.firstPart = UInt32(layout.partsOfNode[index].lowerBound)
      slot.partCount = UInt16(request.parts.count)
      for read in request.reads {
        let spec = specs[read.point]
        bindings[binding] = Binding(spec, point: read.point, offset: read.offset)
        bindings[binding].setSentinels(first: firstInvalid[read.point], count: spec.invalid.count)
        binding += 1
      }
      machine.requests[index] = slot
    }
    // Each device begins with the whole requests of the plan.
    for (device, range) in layout.nodesOfDevice.enumerated() {
      for index in range.prefix(layout.plan.requestsOfDevice[device].count) { machine.requests[index].isActive = true }
    }
  }
}
