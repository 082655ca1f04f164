// In front of the decoder: counts the bytes of a head that is not complete yet, which the decoder would keep without
// end, and knows whether it is still in its first line: then the target is what is too long. Lives on the event loop.
//
// Invariant: of a head no more than a limit and one read go to the decoder, however many reads it comes in.

import NIOCore
import StreamCore

/// How long a head that is not complete has become.
struct HeadLength {
  /// Of the method, the version and the blanks around the target; more than any of them takes.
  private static let lineBytesMax = Limits.targetBytesMax + 32

  private var bytes = 0
  /// Its first line, as far as it is there; what stands before it are empty lines (RFC 9112, section 2.2).
  private var lineBytes = 0
  private var isInLine = true

  /// Nil: it may go on.
  var excess: Refusal? {
    if lineBytes > Self.lineBytesMax { return .targetTooLong }
    return bytes > Limits.headerBytesMax ? .headTooLarge : nil
  }

  mutating func take(_ read: some Collection<UInt8>) {
    bytes += read.count
    guard isInLine else { return }
    let line = lineBytes > 0 ? read[...] : read.drop { $0 == 0x0D || $0 == 0x0A }
    let part = line.prefix { $0 != 0x0A }
    lineBytes += part.count
    isInLine = part.count == line.count
  }

  /// A request ended within `read`: what is behind it begins the next one. Where the one that ended had a body, that
  /// may be counted with it: a line of the next one then passes for a header's.
  static func behindRequest(_ read: some BidirectionalCollection<UInt8>) -> HeadLength {
    var length = HeadLength()
    length.take(read.suffix(behindLast: [0x0D, 0x0A, 0x0D, 0x0A]))
    return length
  }
}

extension BidirectionalCollection<UInt8> {
  /// All of it where the mark is not in it.
  fileprivate func suffix(behindLast mark: [UInt8]) -> SubSequence {
    var end = endIndex
    while end != startIndex {
      if self[..<end].suffix(mark.count).elementsEqual(mark) { return self[end...] }
      end = index(before: end)
    }
    return self[...]
  }
}

final class HeadMeter: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let connection: HTTPConnection
  private var length = HeadLength()

  init(_ connection: HTTPConnection) { self.connection = connection }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard connection.isReceiving else { return }
    let bytes = unwrapInboundIn(data).readableBytesView
    connection.bytesArrive()
    context.fireChannelRead(data)
    switch connection.phase {
    case .head:
      length.take(bytes)
      if let excess = length.excess { connection.refuse(excess) }
    case .idle: length = .behindRequest(bytes)
    case .body: length = HeadLength()
    }
  }
}
