// A stored block with a right checksum, of either version, and anything in it.

import StreamCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var block = [UInt8](repeating: 0, count: Limits.blockBytes)
  let input = UnsafeBufferPointer(start: start, count: min(count, block.count - BlockLayout.versionAt))
  for (index, byte) in input.enumerated() { block[BlockLayout.versionAt + index] = byte }
  block.withUnsafeMutableBytes { bytes in
    bytes.put(BlockLayout.magic, at: 0)
    BlockInfo.close(bytes)
  }
  block.withUnsafeBytes { bytes in
    var reader = BlockReader(seriesCount: 8)
    // Twice: what the first leaves behind must not matter to the second.
    let first = try? reader.read(bytes)
    let second = try? reader.read(bytes)
    guard let (info, batches) = first else { return precondition(second == nil) }
    precondition(batches.reduce(0) { $0 + $1.samples.count } == info.count)
    precondition(second?.1.map(\.firstSequence) == batches.map(\.firstSequence))
    for batch in batches {
      for sample in batch.samples where sample.hasText {
        precondition(sample.textOffset + sample.textLength <= batch.texts.count)
      }
    }
  }
  return 0
}
