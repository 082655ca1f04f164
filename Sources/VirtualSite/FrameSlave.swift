// What a virtual device with a [frame] says: its whole frame, or the reply to a question. Pure but for the
// values, which come from the device. Lives behind its line's lock.

import FieldBus
import StreamCore

struct FrameSlave {
  private let frame: FrameSpec
  private let meterAddress: MeterAddress?
  private let points: [PointSpec]
  /// Questions of a device that a profile describes, and the points that the reply holds.
  private let questions: [AskRequest]

  init?(_ spec: SiteDevice) {
    guard let frame = spec.profile.frame else { return nil }
    self.frame = frame
    meterAddress = spec.meterAddress
    points = spec.profile.points
    var device = DeviceSpec(
      name: spec.name, place: spec.place, bus: 0, address: spec.address, profile: "", kind: spec.profile.kind)
    device.frame = frame
    device.meterAddress = spec.meterAddress
    device.points = spec.profile.points
    let bus = BusSpec(name: "", place: spec.place, busProtocol: frame.busProtocol, endpoint: .serialPort(path: ""))
    questions = AskPlan(bus: bus, devices: [device]).requests
  }

  var framing: Framing {
    switch frame.format {
    case .text: return .text
    case .binary(let binary): return .binary(binary)
    case .dlt645: return .dlt645
    case .cjt188: return .cjt188
    }
  }

  /// A device that speaks when it likes says all that it has.
  func spoken(_ value: (Int) -> SiteValue) -> [UInt8] { said(Array(points.indices), to: [], value) }

  /// Nil: the question is for another device. Empty: it is not answered. `refusal`: an error to answer with.
  func reply(to request: [UInt8], refusal: UInt8?, _ value: (Int) -> SiteValue) -> [UInt8]? {
    let bare = Array(request.drop { $0 == MeterAddress.preambleByte })
    switch frame.format {
    case .dlt645: return dlt645(bare, refusal, value)
    case .cjt188(let type): return cjt188(bare, type, refusal, value)
    case .text, .binary:
      guard let question = questions.first(where: { $0.bytes == request }) else { return nil }
      return said(question.points, to: request, value)
    }
  }

  // MARK: Profiles

  private func said(_ indices: [Int], to request: [UInt8], _ value: (Int) -> SiteValue) -> [UInt8] {
    if let text = frame.textFrame { return line(indices, text, value) }
    guard let binary = frame.binaryFrame else { return [] }
    var ends = binary.leastBytes
    let tail = (binary.checksum?.byteCount ?? 0) + binary.end.count
    for index in indices {
      if case .byte(let offset) = points[index].source {
        ends = Swift.max(ends, offset + points[index].type.bytes + tail)
      }
    }
    var bytes = Array(repeating: UInt8(0), count: binary.size > 0 ? binary.size : ends)
    for offset in 0..<Swift.min(64, bytes.count, request.count) where binary.echo >> UInt64(offset) & 1 == 1 {
      bytes[offset] = request[offset]
    }
    for index in indices {
      if case .byte(let offset) = points[index].source {
        FrameCode.put(value(index), points[index], at: offset, into: &bytes)
      }
    }
    binary.seal(&bytes)
    return bytes
  }

  private func line(_ indices: [Int], _ text: TextFrame, _ value: (Int) -> SiteValue) -> [UInt8] {
    var fields: [Int: [UInt8]] = [:]
    var named: [[UInt8]] = []
    var columns: [UInt8] = []
    for index in indices {
      let said = Array(decimals(value(index), points[index]).utf8)
      switch points[index].source {
      case .field(let number): fields[number] = said
      case .key(let name): named.append(Array(name.utf8) + [text.assign] + said)
      case .column(let first, let last):
        while columns.count < last { columns.append(0x20) }
        for (place, byte) in said.prefix(last - first + 1).enumerated() { columns[first - 1 + place] = byte }
      case .register, .byte, .identifier, .computed: break
      }
    }
    let numbered = fields.keys.max().map { last in (1...last).map { fields[$0] ?? [] } } ?? []
    var line = columns
    for (place, part) in (numbered + named).enumerated() {
      if place > 0, let split = text.split { line.append(split) }
      line += part
    }
    return line + text.end
  }

  /// A number as such a device prints it: what the agent reads with the point's scale.
  private func decimals(_ value: SiteValue, _ point: PointSpec) -> String {
    guard !point.type.isText else { return value.text }
    switch point.type {
    case .f32, .f64:
      guard case .number(let number) = value else { return value.text }
      let scaled = ((number - point.offset) / (point.scale == 0 ? 1 : point.scale) * 1_000).rounded() / 1_000
      return scaled == scaled.rounded() && abs(scaled) < 1e15 ? "\(Int64(scaled))" : "\(scaled)"
    default: return RegisterCode.raw(of: value, for: point).map { "\($0)" } ?? ""
    }
  }

  // MARK: Meters

  /// The data item with its values; nil: the meter has no such item.
  private func item(_ identifier: UInt32, _ value: (Int) -> SiteValue) -> [UInt8]? {
    var data: [UInt8] = []
    var isKnown = false
    for (index, point) in points.enumerated() {
      guard case .identifier(identifier, let offset, let unit) = point.source else { continue }
      isKnown = true
      let end = offset + point.type.bytes + (unit == nil ? 0 : 1)
      while data.count < end { data.append(0) }
      FrameCode.put(value(index), point, at: offset, into: &data)
      if let unit { data[end - 1] = unit }
    }
    return isKnown ? data : nil
  }

  private func dlt645(_ request: [UInt8], _ refusal: UInt8?, _ value: (Int) -> SiteValue) -> [UInt8]? {
    guard let own = meterAddress, isWhole(request, .dlt645), request[8] & DLT645.fromMeter == 0,
      MeterAddress(wire: Array(request[1...6])).matches(own)
    else { return nil }
    let control = request[8]
    if let refusal { return dlt645Reply(own, control | DLT645.fromMeter | DLT645.refusal, [refusal]) }
    switch control {
    case DLT645.readAddress: return dlt645Reply(own, control | DLT645.fromMeter, (0..<own.count).map { own[$0] })
    case DLT645.readData:
      guard request.count == DLT645.requestBytes else { return [] }
      let wire = (0..<4).map { request[DLT645.headBytes + $0] &- DLT645.disguise }
      let identifier = wire.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      guard let data = item(identifier, value) else {
        return dlt645Reply(own, control | DLT645.fromMeter | DLT645.refusal, [Self.noSuchItem])
      }
      return dlt645Reply(own, control | DLT645.fromMeter, wire + data)
    default: return []
    }
  }

  /// Error word of DL/T 645-2007, annex A: bit 1, «no requested data».
  private static let noSuchItem: UInt8 = 0x02

  private func dlt645Reply(_ own: MeterAddress, _ control: UInt8, _ data: [UInt8]) -> [UInt8] {
    var bytes = [DLT645.start] + (0..<own.count).map { own[$0] } + [DLT645.start, control, UInt8(data.count)]
    bytes += data.map { $0 &+ DLT645.disguise }
    return bytes + [bytes.reduce(0, &+), DLT645.end]
  }

  private func cjt188(_ request: [UInt8], _ type: UInt8, _ refusal: UInt8?, _ value: (Int) -> SiteValue) -> [UInt8]? {
    guard let own = meterAddress, isWhole(request, .cjt188), request[9] & CJT188.fromMeter == 0,
      request[1] == type || request[1] == CJT188.anyType, MeterAddress(wire: Array(request[2...8])).matches(own)
    else { return nil }
    guard request.count == CJT188.requestBytes else { return [] }
    let (control, serial) = (request[9], request[CJT188.serialAt])
    if let refusal { return cjt188Reply(own, type, control | CJT188.fromMeter | CJT188.refusal, [serial, refusal, 0]) }
    let identifier = UInt32(request[11]) | UInt32(request[12]) << 8
    switch control {
    case CJT188.readAddress: return cjt188Reply(own, type, control | CJT188.fromMeter, Array(request[11...13]))
    case CJT188.readData:
      guard let data = item(identifier, value) else {
        return cjt188Reply(own, type, control | CJT188.fromMeter | CJT188.refusal, [serial, Self.noSuchItem, 0])
      }
      return cjt188Reply(own, type, control | CJT188.fromMeter, Array(request[11...13]) + data)
    default: return []
    }
  }

  private func cjt188Reply(_ own: MeterAddress, _ type: UInt8, _ control: UInt8, _ data: [UInt8]) -> [UInt8] {
    let bytes = [CJT188.start, type] + (0..<own.count).map { own[$0] } + [control, UInt8(data.count)] + data
    return bytes + [bytes.reduce(0, &+), CJT188.end]
  }

  private func isWhole(_ request: [UInt8], _ rule: FrameRule) -> Bool {
    request.withUnsafeBufferPointer { all in
      guard let base = all.baseAddress, !all.isEmpty else { return false }
      return rule.judge(base, count: all.count) == .whole(all.count)
    }
  }

  /// What a meter sends in front of its replies.
  static let preamble = Array(repeating: MeterAddress.preambleByte, count: 4)
}
