// The one door to zlib: compresses one answer, piece by piece (RFC 1952). One owner, one thread.
//
// Invariant: the stream is ended exactly once, by the last piece or by `deinit`.

import CZlib
import NIOCore

final class GzipStream {
  /// A window of 8 KiB and little memory: JSON of one kind repeats itself within a few records.
  private static let (level, windowBits, memoryLevel): (Int32, Int32, Int32) = (1, 13, 6)

  private let stream: UnsafeMutablePointer<z_stream>

  /// Nil: no memory.
  init?() {
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    // From here on `deinit` ends it, also after a failure: what was never begun is ended without effect.
    guard kerb_gzip_begin(stream, Self.level, Self.windowBits, Self.memoryLevel) == Z_OK else { return nil }
  }

  deinit {
    deflateEnd(stream)
    stream.deallocate()
  }

  /// The next piece; what comes out of it may be nothing yet. Nil: zlib refuses, which it has no reason to.
  func compressed(_ bytes: ArraySlice<UInt8>, isLast: Bool, allocator: ByteBufferAllocator) -> ByteBuffer? {
    var out = allocator.buffer(capacity: Int(deflateBound(stream, UInt(bytes.count))) + 64)
    var piece = Array(bytes)
    let result = piece.withUnsafeMutableBufferPointer { input -> Int32 in
      stream.pointee.next_in = input.baseAddress
      stream.pointee.avail_in = UInt32(input.count)
      var result: Int32 = Z_OK
      repeat {
        out.writeWithUnsafeMutableBytes(minimumWritableBytes: 1_024) { room in
          stream.pointee.next_out = room.bindMemory(to: UInt8.self).baseAddress
          stream.pointee.avail_out = UInt32(room.count)
          result = deflate(stream, isLast ? Z_FINISH : Z_NO_FLUSH)
          return room.count - Int(stream.pointee.avail_out)
        }
      } while result == Z_OK && stream.pointee.avail_out == 0
      stream.pointee.next_in = nil
      return result
    }
    let isRight = isLast ? result == Z_STREAM_END : result == Z_OK || result == Z_BUF_ERROR
    return isRight ? out : nil
  }
}
