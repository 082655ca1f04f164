// Which requests a bus sends, what each costs on the wire, and into what it falls apart if the device refuses
// it. Made once, when the configuration is loaded; nothing here runs with the bus.

import StreamCore

/// One read request, sent again and again.
package struct PollRequest: Sendable, Hashable {
  /// Index among the bus's devices.
  package var device: Int
  package var unit: Int
  package var table: RegisterTable
  package var address: Int
  /// Registers or bits.
  package var count: Int
  /// 0: as often as the line allows.
  package var intervalNs: Int64
  /// The bus's points that this request reads, and where each begins in it.
  package var reads: [PlannedRead]
  /// Time on the wire, silences included; 0 where there is no line (TCP).
  package var wireNs: Int64
  /// An alarm looks at one of its points: asked before others.
  package var isWatched = false
  /// What is asked instead once the device has refused this one: first without the holes, then by halves.
  /// Empty: it can't be made smaller.
  package var parts: [PollRequest] = []

  /// This one and all that it can fall into.
  package var nodeCount: Int { 1 + parts.reduce(0) { $0 + $1.nodeCount } }
  package var bindingCount: Int { reads.count + parts.reduce(0) { $0 + $1.bindingCount } }

  /// Registers or bits that no point asked for.
  package var holes: Int {
    var covered = 0
    var end = 0
    for read in reads.sorted(by: { $0.offset < $1.offset }) {
      covered += Swift.max(0, read.offset + read.length - Swift.max(end, read.offset))
      end = Swift.max(end, read.offset + read.length)
    }
    return count - covered
  }
}

package struct PlannedRead: Sendable, Hashable {
  /// Index among the bus's points.
  package var point: Int
  /// In registers or bits from the request's address.
  package var offset: Int
  package var length: Int
}

/// A span that a device has refused, as it was learned: nothing around it is asked again.
package struct RefusedSpan: Sendable, Hashable {
  package var table: RegisterTable
  package var address: Int
  package var count: Int
  package init(table: RegisterTable, address: Int, count: Int) {
    self.table = table
    self.address = address
    self.count = count
  }
}

package struct PollPlan: Sendable {
  package private(set) var requests: [PollRequest] = []
  /// By device of the bus: its requests, as a range (a device's requests stand together).
  package private(set) var requestsOfDevice: [Range<Int>] = []
  private let bus: BusSpec

  /// `devices`: those of this bus, in the configuration's order. `refused`: by device, what is known from earlier.
  package init(bus: BusSpec, devices: [DeviceSpec], refused: [[RefusedSpan]] = []) {
    self.bus = bus
    var firstPoint = 0
    for (index, device) in devices.enumerated() {
      let first = requests.count
      let watched = device.watchedPoints
      for table in RegisterTable.allCases {
        let known = index < refused.count ? refused[index].filter { $0.table == table } : []
        requests += Self.requests(of: device, index, table, firstPoint, known, watched, on: bus)
      }
      firstPoint += device.points.count
      requestsOfDevice.append(first..<requests.count)
    }
  }

  private static func requests(
    of device: DeviceSpec, _ index: Int, _ table: RegisterTable, _ firstPoint: Int, _ refused: [RefusedSpan],
    _ watched: Set<String>, on bus: BusSpec
  ) -> [PollRequest] {
    var numbers: [Int] = []
    var points: [RequestPlanner.Point] = []
    for (number, point) in device.points.enumerated() {
      guard case .register(table, let address) = point.source else { continue }
      numbers.append(number)
      points.append(
        .init(address: address, length: table.isBits ? 1 : point.type.registers, intervalNs: point.everyNs))
    }
    let largest = table.isBits ? Limits.bitsPerReadMax : device.registersMax
    let planner = RequestPlanner(
      points: points, largest: largest, refused: refused.map { $0.address..<($0.address + $0.count) }
    ) { costNs(count: $0, table: table, on: bus) }
    return planner.plan().map { planned in
      var request = PollRequest(
        device: index, unit: device.address, table: table, address: planned.address, count: planned.count,
        intervalNs: planned.intervalNs,
        reads: planned.points.map {
          PlannedRead(
            point: firstPoint + numbers[$0], offset: points[$0].address - planned.address, length: points[$0].length)
        }, wireNs: wireNs(count: planned.count, table: table, on: bus))
      request.isWatched = planned.points.contains { watched.contains(device.points[numbers[$0]].name) }
      request.parts = parts(of: request, on: bus)
      return request
    }
  }

  // MARK: Falling apart

  private static func parts(of request: PollRequest, on bus: BusSpec) -> [PollRequest] {
    let reads = request.reads.sorted { ($0.offset, $0.length) < ($1.offset, $1.length) }
    var runs: [[PlannedRead]] = []
    var end = 0
    for read in reads {
      if runs.isEmpty || read.offset > end {
        runs.append([read])
        end = read.offset + read.length
      } else {
        runs[runs.count - 1].append(read)
        end = Swift.max(end, read.offset + read.length)
      }
    }
    if runs.count == 1 {
      guard let halves = halves(reads) else { return [] }
      runs = halves
    }
    return runs.map { run in
      let start = run.map(\.offset).min() ?? 0
      let end = run.map { $0.offset + $0.length }.max() ?? 0
      var part = request
      part.address = request.address + start
      part.count = end - start
      part.reads = run.map { PlannedRead(point: $0.point, offset: $0.offset - start, length: $0.length) }
      part.wireNs = wireNs(count: part.count, table: request.table, on: bus)
      part.parts = parts(of: part, on: bus)
      return part
    }
  }

  /// Two parts at the boundary nearest to the middle that cuts no value.
  private static func halves(_ reads: [PlannedRead]) -> [[PlannedRead]]? {
    var boundaries: [(distance: Int, index: Int)] = []
    var end = 0
    let total = reads.map { $0.offset + $0.length }.max() ?? 0
    for (index, read) in reads.enumerated() {
      if index > 0, read.offset >= end { boundaries.append((abs(2 * read.offset - total), index)) }
      end = Swift.max(end, read.offset + read.length)
    }
    guard let cut = boundaries.min(by: { $0.distance < $1.distance })?.index else { return nil }
    return [Array(reads[..<cut]), Array(reads[cut...])]
  }

  // MARK: Costs

  /// Request and reply, each followed by its silence, and the turnaround that the configuration grants.
  package static func wireNs(count: Int, table: RegisterTable, on bus: BusSpec) -> Int64 {
    guard bus.busProtocol.isRTU else { return 0 }
    return Int64(8 + 5 + table.dataBytes(count: count)) * bus.format.characterNs + 2 * bus.format.silenceNs
      + bus.turnaroundNs
  }

  /// What the plan minimises. Over TCP there is no wire to fill: a round trip counts, and hardly the bytes in it.
  private static func costNs(count: Int, table: RegisterTable, on bus: BusSpec) -> Int64 {
    let wire = wireNs(count: count, table: table, on: bus)
    return wire > 0 ? wire : 1_000_000 + Int64(table.dataBytes(count: count)) * 1_000
  }

  /// The part of the line that the intervals need, 0 to 1 and beyond; what has no interval takes the rest.
  package var utilisation: Double {
    requests.reduce(0) { $0 + ($1.intervalNs > 0 ? Double($1.wireNs) / Double($1.intervalNs) : 0) }
  }

  /// All requests once, one after the other.
  package var cycleNs: Int64 { requests.reduce(0) { $0 + $1.wireNs } }

  /// The same when the `dead` devices that cost most answer no more, before they are backed off: each costs its
  /// first request, once more for each retry, and the timeout each time.
  package func cycleNs(dead: Int) -> Int64 {
    let costs = requestsOfDevice.map { range -> (living: Int64, lost: Int64) in
      let living = requests[range].reduce(0) { $0 + $1.wireNs }
      let lost = requests[range].isEmpty ? 0 : Int64(1 + bus.retries) * bus.responseTimeoutNs
      return (living, lost)
    }.sorted { $0.lost - $0.living > $1.lost - $1.living }
    return costs.prefix(dead).reduce(0) { $0 + $1.lost } + costs.dropFirst(dead).reduce(0) { $0 + $1.living }
  }
}
