// Rows of alarm.db with a right checksum and anything in them: alarm events and cursors.

import StreamCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  for size in [AlarmRecord.bytes, CursorRecord.bytes] {
    var record = [UInt8](repeating: 0, count: size)
    for index in 0..<min(count, size) { record[index] = start?[index] ?? 0 }
    record.withUnsafeMutableBytes { bytes in
      let checked = UnsafeRawBufferPointer(rebasing: bytes[8...])
      if size == AlarmRecord.bytes { bytes.put(UInt32(0x4B42_524C), at: 0) } else { bytes.put(UInt32(0), at: 0) }
      bytes.put(Checksum.crc32c(checked), at: 4)
    }
    record.withUnsafeBytes { bytes in
      if let event = AlarmRecord.read(bytes) {
        precondition(event.sequence > 0 && Int(event.event.causeCount) <= Limits.causesPerAlarmMax)
        // What is read is written the same again, but for bytes that say nothing.
        var again = [UInt8](repeating: 0, count: size)
        again.withUnsafeMutableBytes { AlarmRecord.write(event, to: $0) }
        precondition(again.withUnsafeBytes { AlarmRecord.read($0) }?.sequence == event.sequence)
      }
      if let cursor = CursorRecord.read(bytes) {
        precondition(cursor.held.alarms >= 0 && cursor.held.telemetry >= 0 && cursor.gapRecords >= 0)
      }
    }
  }
  return 0
}
