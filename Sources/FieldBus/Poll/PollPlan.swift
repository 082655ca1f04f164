// Which requests a bus sends, and what each costs on the wire. Made once, when the configuration is loaded.

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
}

package struct PlannedRead: Sendable, Hashable {
  /// Index among the bus's points.
  package var point: Int
  /// In registers or bits from the request's address.
  package var offset: Int
}

package struct PollPlan: Sendable {
  package private(set) var requests: [PollRequest] = []
  /// By device of the bus: its requests, as a range (a device's requests stand together).
  package private(set) var requestsOfDevice: [Range<Int>] = []

  /// `devices`: those of this bus, in the configuration's order.
  package init(bus: BusSpec, devices: [DeviceSpec]) {
    var firstPoint = 0
    for (index, device) in devices.enumerated() {
      let first = requests.count
      var groups: [Group: [(start: Int, end: Int, point: Int)]] = [:]
      for (number, point) in device.points.enumerated() {
        guard case .register(let table, let address) = point.source else { continue }
        let length = table.isBits ? 1 : point.type.registers
        groups[Group(table: table, intervalNs: point.everyNs), default: []]
          .append((address, address + length, firstPoint + number))
      }
      for group in groups.keys.sorted() {
        let largest = group.table.isBits ? Limits.bitsPerReadMax : device.registersMax
        let spans = (groups[group] ?? []).sorted { ($0.start, $0.end, $0.point) < ($1.start, $1.end, $1.point) }
        var open: PollRequest?
        for span in spans {
          if var request = open, span.start <= request.address + request.count,
            Swift.max(span.end, request.address + request.count) - request.address <= largest
          {
            request.count = Swift.max(span.end, request.address + request.count) - request.address
            request.reads.append(PlannedRead(point: span.point, offset: span.start - request.address))
            open = request
            continue
          }
          if let request = open { requests.append(request) }
          open = PollRequest(
            device: index, unit: device.address, table: group.table, address: span.start,
            count: span.end - span.start, intervalNs: group.intervalNs,
            reads: [PlannedRead(point: span.point, offset: 0)], wireNs: 0)
        }
        if let request = open { requests.append(request) }
      }
      firstPoint += device.points.count
      requestsOfDevice.append(first..<requests.count)
    }
    for index in requests.indices { requests[index].wireNs = Self.wireNs(of: requests[index], on: bus) }
  }

  private struct Group: Hashable, Comparable {
    var table: RegisterTable
    var intervalNs: Int64
    static func < (a: Group, b: Group) -> Bool {
      (a.intervalNs, a.table.rawValue) < (b.intervalNs, b.table.rawValue)
    }
  }

  /// Request and reply, each followed by its silence, and the turnaround that the configuration grants.
  package static func wireNs(of request: PollRequest, on bus: BusSpec) -> Int64 {
    guard case .modbusRTU = bus.busProtocol else { return 0 }
    let data = request.table.isBits ? (request.count + 7) / 8 : 2 * request.count
    return Int64(8 + 5 + data) * bus.format.characterNs + 2 * bus.format.silenceNs + bus.turnaroundNs
  }

  /// The part of the line that the intervals need, 0 to 1 and beyond; what has no interval takes the rest.
  package var utilisation: Double {
    requests.reduce(0) { $0 + ($1.intervalNs > 0 ? Double($1.wireNs) / Double($1.intervalNs) : 0) }
  }

  /// All requests once, one after the other.
  package var cycleNs: Int64 { requests.reduce(0) { $0 + $1.wireNs } }
}
