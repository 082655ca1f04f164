// `kerb raw` on a line of meters: one data item, as it came.

import ArgumentParser
import FieldBus
import Gateway
import StreamCore

struct RawItem {
  private let raw: Raw
  private let bus: Int
  private let configuration: Configuration
  private var spec: BusSpec { configuration.buses[bus] }

  init(_ raw: Raw, _ bus: Int, _ configuration: Configuration) {
    self.raw = raw
    self.bus = bus
    self.configuration = configuration
  }

  func run() throws {
    let bytes = try question()
    guard let question = MeterQuestion(bytes, spec.busProtocol) else { throw misuse() }
    if let point = PersonalItems.point(touchedBy: question, bus: bus, devices: configuration.devices) {
      throw CommandFailure(Messages.text(.personalPoint, point), exitCode: CommandFailure.permission)
    }
    let subject = "\(raw.bus), \(question.address.text), di \(raw.address)"
    let line = try AskedLine(bus, configuration, raw.files)
    let preamble = Array(repeating: MeterAddress.preambleByte, count: 4)
    do throws(LineFailure) {
      let reply = try line.ask(LineRequest(preamble + bytes, timeoutNs: spec.responseTimeoutNs))
      guard let rule = FrameSpec.meter(spec.busProtocol)?.rule,
        let data = FrameReading.data(of: reply.frame, asked: bytes, rule)
      else { throw .corrupt(.wrongShape) }
      show(data, question, reply.tookNs)
    } catch { throw CommandFailure(error, subject, spec.busProtocol) }
  }

  private var isElectric: Bool { spec.busProtocol == .dlt645 }

  private func question() throws -> [UInt8] {
    let digits = isElectric ? 8 : 4
    let count = isElectric ? MeterAddress.dlt645Bytes : MeterAddress.cjt188Bytes
    guard raw.table == "di", raw.count == 1, raw.address.utf8.count == digits, raw.address.allSatisfy(\.isHexDigit),
      let identifier = UInt32(raw.address, radix: 16), let address = MeterAddress(raw.unit, bytes: count)
    else { throw misuse() }
    if isElectric { return DLT645.question(address, identifier) }
    return CJT188.question(type: meterType(address), address, UInt16(truncatingIfNeeded: identifier))
  }

  /// Of a configured meter its own; else any, which most meters answer to.
  private func meterType(_ address: MeterAddress) -> UInt8 {
    let device = configuration.devices(on: bus).first { $0.meterAddress == address }
    if case .cjt188(let type)? = device?.frame?.format { return type }
    return CJT188.anyType
  }

  private func misuse() -> CommandFailure {
    let digits = isElectric ? 2 * MeterAddress.dlt645Bytes : 2 * MeterAddress.cjt188Bytes
    return CommandFailure(
      Messages.text(
        .badItem, "\(raw.unit) \(raw.table) \(raw.address)", raw.bus, "\(digits)", isElectric ? "8" : "4"),
      exitCode: CommandFailure.usage)
  }

  private func show(_ data: [UInt8], _ question: MeterQuestion, _ tookNs: Int64) {
    guard raw.json else {
      let digits = data.reversed().map { Hexadecimal.text([$0]) }.joined()
      let isDecimal = digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
      return kerb.show(
        "\(Hexadecimal.text(data))\(isDecimal && !digits.isEmpty ? "   \(digits)" : "")   "
          + "\(Shown.tenths(Double(tookNs) / 1e6)) ms")
    }
    var writer = JSONWriter()
    writer.object { root in
      root.member("bus", raw.bus)
      root.member("unit", question.address.text)
      root.member("identifier", raw.address.uppercased())
      root.member("bytes", Hexadecimal.text(data))
      root.member("took_ms", Double(tookNs) / 1e6)
    }
    kerb.show(String(decoding: writer.bytes, as: UTF8.self))
  }
}
