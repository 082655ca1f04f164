// Who is on a line of electricity meters: asked with addresses in which AA stands for any two digits. For
// commissioning: the caller owns the line, and nothing else is asked on it meanwhile.

import StreamCore

package enum MeterDiscovery: Equatable, Sendable {
  case nobody
  case one(MeterAddress)
  /// More than one answered, over each other or one after the other: ask again with fewer digits left open.
  case several
}

extension DLT645 {
  /// Total active energy: every meter has it.
  private static let anyMetersItem: UInt32 = 0x0001_0000

  /// Asks who `matching` can be. All open: by the command for it (7.4); some digits given: by reading an item
  /// that every meter has (5.2.2, short addresses). Blocks for the question, the timeout, and a frame.
  package static func discover<Line: FramePort & ~Copyable>(
    on line: inout Line, matching: MeterAddress = .any(MeterAddress.dlt645Bytes), format: LineFormat, timeoutNs: Int64,
    preamble: Int = 4
  ) throws(ReadFailure) -> MeterDiscovery {
    let room = Limits.meterPreambleMax + requestBytes
    let bytes = UnsafeMutableRawPointer.allocate(
      byteCount: FrameReader.memoryBytes + Arena.bytes(of: UInt8.self, count: room + 64), alignment: Arena.alignment)
    defer { bytes.deallocate() }
    var arena = Arena(
      memory: bytes, capacityBytes: FrameReader.memoryBytes + Arena.bytes(of: UInt8.self, count: room + 64))
    var reader = FrameReader(arena: &arena)
    let question = arena.take(UInt8.self, count: room + 64, first: MeterAddress.preambleByte)
    let chunk = question + room
    let wake = Swift.min(Swift.max(0, preamble), Limits.meterPreambleMax)
    let isOpen = (0..<matching.count).allSatisfy { matching[$0] == MeterAddress.wildcard }
    let count =
      isOpen
      ? putReadAddress(question + wake, address: matching)
      : putRead(question + wake, address: matching, identifier: anyMetersItem)
    try line.send(question, count: wake + count)
    let asked = UnsafeBufferPointer(start: UnsafePointer(question) + wake, count: count)
    let sentAt = line.now + Int64(wake + count) * format.characterNs
    var deadline = sentAt + timeoutNs
    let wholeBy = deadline + Int64(Limits.serialFrameBytesMax) * format.characterNs
    var found = MeterDiscovery.nobody
    var seen = 0
    while line.now < deadline {
      let got = try line.read(into: chunk, capacity: 64, until: deadline)
      if got > 0, seen == 0 { deadline = wholeBy }
      seen += got
      for index in 0..<got where reader.take(chunk[index], .dlt645) { note(&reader, asked, &found) }
      if got == 0, case .one = found { break }
    }
    while reader.giveUp(.dlt645) { note(&reader, asked, &found) }
    // What came and made no frame was more than one meter at once, or noise: both want a closer look.
    if found == .nobody, seen > 0, !isEcho(seen, count: count, wake: wake) { return .several }
    return found
  }

  /// An adapter whose receiver stays on gives back exactly what was sent.
  private static func isEcho(_ seen: Int, count: Int, wake: Int) -> Bool { seen == wake + count }

  private static func note(
    _ reader: inout FrameReader, _ asked: UnsafeBufferPointer<UInt8>, _ found: inout MeterDiscovery
  ) {
    repeat {
      let frame = UnsafePointer(reader.bytes)
      guard case .data = reply(frame, count: reader.frameLength, asked: asked) else { continue }
      let address = address(frame)
      if case .one(let first) = found, first != address {
        found = .several
      } else if found == .nobody {
        found = .one(address)
      }
    } while reader.next(.dlt645)
  }
}
