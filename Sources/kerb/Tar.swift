// A tape archive of small files in memory: POSIX.1-1988 ustar, the form that every tar reads.

struct Tar {
  private static let block = 512
  private let unixSeconds: Int64
  private var written: [UInt8] = []

  init(unixSeconds: Int64) { self.unixSeconds = unixSeconds }

  /// With its end: two empty blocks.
  var bytes: [UInt8] { written + [UInt8](repeating: 0, count: 2 * Self.block) }

  /// `name`: at most 100 bytes, the rest is cut off; what names are made of here is shorter.
  mutating func add(_ name: String, _ content: [UInt8]) {
    var head = [UInt8](repeating: 0, count: Self.block)
    func put(_ text: some Sequence<UInt8>, at offset: Int, room: Int) {
      for (index, byte) in text.prefix(room).enumerated() { head[offset + index] = byte }
    }
    /// Octal digits and a NUL.
    func put(octal number: Int64, at offset: Int, room: Int) {
      let digits = String(max(0, number), radix: 8)
      let padded = String(repeating: "0", count: max(0, room - 1 - digits.count)) + digits
      put(padded.utf8, at: offset, room: room - 1)
    }
    put(name.utf8, at: 0, room: 100)
    put(octal: 0o600, at: 100, room: 8)
    put(octal: 0, at: 108, room: 8)
    put(octal: 0, at: 116, room: 8)
    put(octal: Int64(content.count), at: 124, room: 12)
    put(octal: unixSeconds, at: 136, room: 12)
    put([UInt8](repeating: 0x20, count: 8), at: 148, room: 8)
    head[156] = UInt8(ascii: "0")
    put("ustar\u{0}00".utf8, at: 257, room: 8)
    // The checksum is taken with spaces in its own place.
    put(octal: head.reduce(0) { $0 + Int64($1) }, at: 148, room: 7)
    head[154] = 0
    written += head + content
    let over = content.count % Self.block
    if over > 0 { written += [UInt8](repeating: 0, count: Self.block - over) }
  }
}
