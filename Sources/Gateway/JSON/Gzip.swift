// Something whole, compressed at once (RFC 1952).

import NIOCore

package enum Gzip {
  /// As it is, if there is no memory to compress it.
  package static func compressed(_ bytes: [UInt8]) -> [UInt8] {
    guard let stream = GzipStream(),
      let out = stream.compressed(bytes[...], isLast: true, allocator: ByteBufferAllocator())
    else { return bytes }
    return Array(out.readableBytesView)
  }
}
