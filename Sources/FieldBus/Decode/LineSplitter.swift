// Cuts a stream of bytes into lines, and a line into fields, in a buffer of fixed size. A line that doesn't fit
// is thrown away up to its end and counted; whatever the bytes, the next line starts clean.

import StreamCore

package struct LineSplitter: ~Copyable {
  /// Of the device that speaks, or is asked next; to be changed only when the line is clear.
  package var frame: TextFrame
  private let buffer: UnsafeMutablePointer<UInt8>
  private var length = 0
  private var isOverlong = false
  /// Bytes of lines that were too long.
  package private(set) var droppedBytes: Int64 = 0
  /// Of the line that has begun.
  package var pendingBytes: Int { length }

  package static var bytes: Int { Arena.bytes(of: UInt8.self, count: Limits.textLineBytesMax) }

  package init(frame: TextFrame, arena: inout Arena) {
    self.frame = frame
    buffer = arena.take(UInt8.self, count: Limits.textLineBytesMax, first: 0)
  }

  /// Takes one byte; true when it completes a line, which `field` then reads until `clear()`.
  package mutating func take(_ byte: UInt8) -> Bool {
    if length == Limits.textLineBytesMax {
      // Keep just as much as could be the beginning of the end.
      droppedBytes += Int64(length)
      let kept = Swift.min(frame.end.count - 1, length)
      for index in 0..<kept { buffer[index] = buffer[length - kept + index] }
      // `clear` knows only of what comes now.
      for index in kept..<length { buffer[index] = 0 }
      length = kept
      isOverlong = true
    }
    buffer[length] = byte
    length += 1
    guard endsLine else { return false }
    length -= frame.end.count
    if isOverlong || length == 0 {
      clear()
      return false
    }
    return true
  }

  private var endsLine: Bool {
    let end = frame.end.count
    guard length >= end else { return false }
    for index in 0..<end where buffer[length - end + index] != frame.end[index] { return false }
    return true
  }

  /// The `number`th field, from 1, without blanks around it; nil: the line has fewer.
  package func field(_ number: Int) -> UnsafeBufferPointer<UInt8>? {
    var start = 0
    var stop = length
    if let split = frame.split {
      var current = 1
      var index = 0
      while index < length, current < number {
        if buffer[index] == split {
          current += 1
          start = index + 1
        }
        index += 1
      }
      guard current == number else { return nil }
      stop = start
      while stop < length, buffer[stop] != split { stop += 1 }
    } else if number != 1 {
      return nil
    }
    return trimmed(start, stop)
  }

  /// The characters from `first` to `last`, from 1, without blanks around them; nil: the line ends before.
  package func column(first: Int, last: Int) -> UnsafeBufferPointer<UInt8>? {
    guard first >= 1, first <= last, last <= length else { return nil }
    return trimmed(first - 1, last)
  }

  /// What stands behind a name and the sign between: T in «T=21.5;H=40»; nil: the line doesn't name it, or twice.
  package func value(of key: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
    var found: UnsafeBufferPointer<UInt8>?
    var start = 0
    while start < length {
      var stop = start
      while stop < length, buffer[stop] != frame.split { stop += 1 }
      var sign = start
      while sign < stop, buffer[sign] != frame.assign { sign += 1 }
      if sign < stop, isSame(trimmed(start, sign), key) {
        if found != nil { return nil }
        found = trimmed(sign + 1, stop)
      }
      start = stop + 1
    }
    return found
  }

  /// The line without its end, until `clear()`.
  package var line: UnsafeMutableBufferPointer<UInt8> { UnsafeMutableBufferPointer(start: buffer, count: length) }

  /// The line with its end, as it was sent: when `take` has said that it is complete, until `clear()`.
  package var whole: UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: UnsafePointer(buffer), count: length + frame.end.count)
  }

  /// The line is exactly these bytes, its end left out.
  package func isLine(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
    isSame(UnsafeBufferPointer(start: UnsafePointer(buffer), count: length), bytes)
  }

  private func isSame(_ one: UnsafeBufferPointer<UInt8>, _ other: UnsafeBufferPointer<UInt8>) -> Bool {
    guard one.count == other.count else { return false }
    for index in 0..<one.count where one[index] != other[index] { return false }
    return true
  }

  private func trimmed(_ from: Int, _ to: Int) -> UnsafeBufferPointer<UInt8> {
    var (start, stop) = (from, to)
    while start < stop, buffer[start] == 0x20 { start += 1 }
    while stop > start, buffer[stop - 1] == 0x20 { stop -= 1 }
    return UnsafeBufferPointer(start: UnsafePointer(buffer) + start, count: stop - start)
  }

  /// The line may hold a card number: nothing of it stays.
  package mutating func clear() {
    for index in 0..<Swift.min(length + frame.end.count, Limits.textLineBytesMax) { buffer[index] = 0 }
    length = 0
    isOverlong = false
  }
}
