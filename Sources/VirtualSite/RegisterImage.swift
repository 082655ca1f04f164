// Owns the registers of one virtual device: a modbus_mapping_t that is as large as its points and fixed registers ask
// for. Used by the thread of its line alone; the line's lock covers who looks at it from outside.

import CModbus
import FieldBus

final class RegisterImage {
  private let mapping: UnsafeMutablePointer<modbus_mapping_t>
  /// Addresses that the device has, by table, in order; the others in between are holes.
  private let owned: [RegisterTable: [ClosedRange<Int>]]
  private let starts: [RegisterTable: Int]
  private let counts: [RegisterTable: Int]

  init?(profile: Profile, fixed: [FixedRegister]) {
    var ranges: [RegisterTable: [ClosedRange<Int>]] = [:]
    for point in profile.points {
      guard case .register(let table, let address) = point.source else { continue }
      let count = table.isBits ? 1 : point.type.registers
      ranges[table, default: []].append(address...(address + count - 1))
    }
    for register in fixed { ranges[register.table, default: []].append(register.address...register.address) }
    var starts: [RegisterTable: Int] = [:]
    var counts: [RegisterTable: Int] = [:]
    for (table, list) in ranges {
      let low = list.map(\.lowerBound).min() ?? 0
      starts[table] = low
      counts[table] = (list.map(\.upperBound).max() ?? 0) - low + 1
    }
    owned = ranges.mapValues { $0.sorted { $0.lowerBound < $1.lowerBound } }
    self.starts = starts
    self.counts = counts
    func size(_ table: RegisterTable) -> UInt32 { UInt32(counts[table] ?? 0) }
    func start(_ table: RegisterTable) -> UInt32 { UInt32(starts[table] ?? 0) }
    guard
      let mapping = modbus_mapping_new_start_address(
        start(.coil), size(.coil), start(.discrete), size(.discrete), start(.holding), size(.holding), start(.input),
        size(.input))
    else { return nil }
    self.mapping = mapping
    for register in fixed { put([register.value], register.table, register.address) }
  }

  deinit { modbus_mapping_free(mapping) }

  var pointer: UnsafeMutablePointer<modbus_mapping_t> { mapping }

  /// True if the device has every address of the range.
  func owns(_ table: RegisterTable, _ range: ClosedRange<Int>) -> Bool {
    var next = range.lowerBound
    for part in owned[table] ?? [] where part.upperBound >= next {
      if part.lowerBound > next { return false }
      next = part.upperBound + 1
      if next > range.upperBound { return true }
    }
    return false
  }

  func put(_ words: [UInt16], _ table: RegisterTable, _ address: Int) {
    let first = address - (starts[table] ?? 0)
    guard first >= 0, first + words.count <= counts[table] ?? 0 else { return }
    for (index, word) in words.enumerated() {
      switch table {
      case .holding: mapping.pointee.tab_registers[first + index] = word
      case .input: mapping.pointee.tab_input_registers[first + index] = word
      case .coil: mapping.pointee.tab_bits[first + index] = word == 0 ? 0 : 1
      case .discrete: mapping.pointee.tab_input_bits[first + index] = word == 0 ? 0 : 1
      }
    }
  }

  func words(_ table: RegisterTable, _ address: Int, count: Int) -> [UInt16] {
    let first = address - (starts[table] ?? 0)
    guard first >= 0, count >= 0, first + count <= counts[table] ?? 0 else { return [] }
    return (first..<first + count).map {
      switch table {
      case .holding: return mapping.pointee.tab_registers[$0]
      case .input: return mapping.pointee.tab_input_registers[$0]
      case .coil: return UInt16(mapping.pointee.tab_bits[$0])
      case .discrete: return UInt16(mapping.pointee.tab_input_bits[$0])
      }
    }
  }

  /// Lays a point's value into its registers. False: the point can't hold it.
  @discardableResult
  func encode(_ value: SiteValue, _ point: PointSpec) -> Bool {
    guard case .register(let table, let address) = point.source else { return false }
    if table.isBits {
      guard let raw = RegisterCode.raw(of: value, for: point) else { return false }
      put([raw == 0 ? 0 : 1], table, address)
      return true
    }
    if case .text(let characters) = point.type {
      put(RegisterCode.registers(text: value.text, characters: characters, order: point.order), table, address)
      return true
    }
    guard var raw = RegisterCode.raw(of: value, for: point) else { return false }
    if let bits = point.bits {
      let mask = (bits.count >= 64 ? UInt64.max : UInt64(1) << UInt64(bits.count) - 1) << UInt64(bits.lowerBound)
      let whole = RegisterCode.integer(words(table, address, count: point.type.registers), order: point.order)
      let field = UInt64(bitPattern: raw) << UInt64(bits.lowerBound)
      raw = Int64(bitPattern: whole & ~mask | field & mask)
    }
    put(RegisterCode.registers(raw, type: point.type, order: point.order), table, address)
    return true
  }
}
