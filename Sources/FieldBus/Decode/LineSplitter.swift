// Cuts a stream of bytes into lines, and a line into fields, in a buffer of fixed size. A line that doesn't fit is thrown away
// up to its end and counted; whatever the bytes, the next line starts clean.

import StreamCore

package struct LineSplitter: ~Copyable {
  private let frame: TextFrame
  private let buffer: UnsafeMutablePointer<UInt8>
  private var length = 0
  private var isOverlong = false
  /// Bytes of lines that were too long.
  package private(set) var droppedBytes: Int64 = 0

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
