// Which questions a bus of asked frames sends, and what each costs on the wire. Made once, when the
// configuration is loaded.

import StreamCore

/// One question, sent again and again.
package struct AskRequest: Sendable, Hashable {
  /// Index among the bus's devices.
  package var device: Int
  /// What goes out, preamble included.
  package var bytes: [UInt8]
  package var preamble: Int
  /// Of CJ/T 188: the question has a serial number, which is another one each time.
  package var isNumbered: Bool
  /// Its reply can be no other question's of the bus: see AskMachine.
  package var isTold = false
  /// "di 00010000", or what is sent, for who reads the plan.
  package var title: String
  /// 0: as often as the line allows.
  package var intervalNs: Int64
  /// The bus's points that its reply holds.
  package var points: [Int]
  /// Time on the wire, silences included. The length of a meter's reply is known from its points only.
  package var wireNs: Int64
}

package struct AskPlan: Sendable {
  package private(set) var requests: [AskRequest] = []
  /// By device of the bus: its requests, as a range.
  package private(set) var requestsOfDevice: [Range<Int>] = []

  /// `devices`: those of this bus, in the configuration's order.
  package init(bus: BusSpec, devices: [DeviceSpec]) {
    var firstPoint = 0
    for (index, device) in devices.enumerated() {
      let first = requests.count
      var byQuestion: [Question: Int] = [:]
      for (number, point) in device.points.enumerated() {
        guard var request = Self.question(to: device, for: point) else { continue }
        let key = Question(bytes: request.bytes, intervalNs: point.everyNs)
        let place = byQuestion[key] ?? requests.count
        if place == requests.count {
          byQuestion[key] = place
          request.device = index
          requests.append(request)
        }
        requests[place].points.append(firstPoint + number)
        let reply = Self.replyBytes(device.frame, point)
        let cost = bus.askNs(sent: requests[place].bytes.count, received: reply)
        requests[place].wireNs = Swift.max(requests[place].wireNs, cost)
      }
      firstPoint += device.points.count
      requestsOfDevice.append(first..<requests.count)
    }
    let keys = Self.replyKeys(requests, devices)
    var uses: [[UInt8]: Int] = [:]
    for key in keys { uses[key, default: 0] += 1 }
    for (index, key) in keys.enumerated() { requests[index].isTold = uses[key] == 1 }
  }

  /// What each reply repeats of its question: two with the same can be taken for one another.
  private static func replyKeys(_ requests: [AskRequest], _ devices: [DeviceSpec]) -> [[UInt8]] {
    let isOpen = devices.contains { $0.meterAddress?.hasWildcard == true }
    let frames = Set(devices.compactMap { $0.frame?.binaryFrame })
    let hasText = devices.contains { $0.frame?.textFrame != nil }
    let shortest = requests.map { $0.bytes.count }.min() ?? 0
    return requests.map { request in
      let device = devices[request.device]
      if device.frame?.isMeter == true {
        return Array(((isOpen ? "" : device.meterAddress?.text ?? "") + request.title).utf8)
      }
      guard frames.count == 1, !hasText, let frame = device.frame?.binaryFrame else { return [] }
      return (0..<Swift.min(shortest, 64)).filter { frame.echo >> UInt64($0) & 1 == 1 }.map { request.bytes[$0] }
    }
  }

  private struct Question: Hashable {
    var bytes: [UInt8]
    var intervalNs: Int64
  }

  /// Nil: it is not asked for.
  package static func question(to device: DeviceSpec, for point: PointSpec) -> AskRequest? {
    let frame = device.frame
    var request = AskRequest(
      device: 0, bytes: [], preamble: 0, isNumbered: false, title: "", intervalNs: point.everyNs, points: [], wireNs: 0)
    if case .identifier(let identifier, _, _) = point.source, let frame, frame.isMeter {
      request.preamble = frame.preamble
      request.isNumbered = frame.format != .dlt645
      request.title = "di \(hex(identifier, digits: request.isNumbered ? 4 : 8))"
      request.bytes = meterQuestion(device, frame, identifier)
      return request
    }
    guard let ask = point.ask else { return nil }
    request.bytes = ask.bytes(address: device.address, frame: frame?.binaryFrame)
    request.title =
      frame?.textFrame == nil
      ? request.bytes.map { hex(UInt32($0), digits: 2) }.joined(separator: " ")
      : String(decoding: request.bytes.filter { $0 >= 0x20 && $0 < 0x7F }, as: UTF8.self)
    return request
  }

  private static func meterQuestion(_ device: DeviceSpec, _ frame: FrameSpec, _ identifier: UInt32) -> [UInt8] {
    let room = Swift.max(DLT645.requestBytes, CJT188.requestBytes)
    var bytes = Array(repeating: MeterAddress.preambleByte, count: frame.preamble)
    bytes += [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
      count = 0
      guard let start = buffer.baseAddress else { return }
      if case .cjt188(let type) = frame.format {
        let address = device.meterAddress ?? .any(MeterAddress.cjt188Bytes)
        count = CJT188.putRead(
          start, type: type, address: address, identifier: UInt16(truncatingIfNeeded: identifier), serial: 0)
      } else {
        let address = device.meterAddress ?? .any(MeterAddress.dlt645Bytes)
        count = DLT645.putRead(start, address: address, identifier: identifier)
      }
    }
    return bytes
  }

  /// A reply that holds this point, as short as it can be.
  private static func replyBytes(_ frame: FrameSpec?, _ point: PointSpec) -> Int {
    switch (frame?.format, point.source) {
    case (.dlt645, .identifier(_, let offset, _)): return DLT645.requestBytes + offset + point.type.bytes
    case (.cjt188, .identifier(_, let offset, let unit)):
      return CJT188.requestBytes + offset + point.type.bytes + (unit == nil ? 0 : 1)
    case (.binary(let binary), .byte(let offset)):
      return binary.size > 0 ? binary.size : Swift.max(binary.leastBytes, offset + point.type.bytes)
    case (.text(let text), .column(_, let last)): return last + text.end.count
    case (.text(let text), _): return Self.usualFieldBytes + text.end.count
    default: return 0
    }
  }

  /// A number with its name.
  private static let usualFieldBytes = 8

  private static func hex(_ value: UInt32, digits: Int) -> String {
    let text = String(value, radix: 16, uppercase: true)
    return String(repeating: "0", count: Swift.max(0, digits - text.utf8.count)) + text
  }

  /// The part of the line that the intervals need, 0 to 1 and beyond.
  package var utilisation: Double {
    requests.reduce(0) { $0 + ($1.intervalNs > 0 ? Double($1.wireNs) / Double($1.intervalNs) : 0) }
  }

  /// All requests once, one after the other.
  package var cycleNs: Int64 { requests.reduce(0) { $0 + $1.wireNs } }
}

extension BusSpec {
  /// Question, reply, and the silence before each.
  package func askNs(sent: Int, received: Int) -> Int64 {
    Int64(sent + received) * format.characterNs + 2 * format.silenceNs + turnaroundNs
  }
}
