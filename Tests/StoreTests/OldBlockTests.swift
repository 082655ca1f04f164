import StreamCore
import Testing

@testable import Store

@Suite("Blocks that older programs wrote")
struct OldBlockTests {
  private func readAll(_ bytes: [UInt8]) throws(BlockDamage) -> (BlockInfo, [StoredBatch]) {
    var reader = BlockReader(seriesCount: 10)
    let outcome = bytes.withUnsafeBytes { (raw) -> Result<(BlockInfo, [StoredBatch]), BlockDamage> in
      do throws(BlockDamage) { return .success(try reader.read(raw)) } catch { return .failure(error) }
    }
    return try outcome.get()
  }

  @Test("Blocks of version 1 are still read")
  func versionOne() throws {
    let hex =
      "4b52424b2810db3b01023c00030000000700000000000000fd03000000000000b6030000000000000200000001efcdabe803"
      + "0000000000008d6d0000000000001400000000000000f401000000000000bc020000000000004e0009006200160014000000"
      + "00000000d90f016362009f2e9e2e006362009f2e9e2e006362009f2e9e2e006362009f2e9e2e006362009f2e9e2e00636200"
      + "9f2e9e2e006362009f2e9e2e006362009f2e9e2e006362009f2e9e2e0063620000151515151550082c9903e104a906f107b9"
      + "09810b000f0d000b0d000d0d000b0d000b0d000b0d000b0d100b0d000b0d0918fcffffffffffff0946fbffffffffffff0d00"
      + "0b0d0917fcffffffffffff0941fbffffffffffff0d000b0d000b10000b0d000b11000b0d000b0d0b0b040d0d070b0b070d0d"
      + "040b0b08020d0d010b0b06636172642d37636172642d3237636172642d3437"
    let bytes = block(hex)
    let (info, batches) = try readAll(bytes)
    try #require(batches.count == 1)
    let batch = batches[0]
    #expect(info.loss == Loss(count: 20, fromMs: 500, toMs: 700, reason: .overflow))
    #expect(info.firstSequence == 1_021 && batch.samples.count == 60)
    for (index, sample) in batch.samples.enumerated() {
      let number = Int64(index)
      #expect(sample.at == Instant(milliseconds: 1_000 + number / 6 * 3_000 + number % 6 / 3 * 45))
      #expect(sample.series == UInt16(index % 6 * 7))
      #expect(sample.quality == (index % 17 == 0 ? .bad : .good))
      #expect(sample.hasText == (index % 20 == 7))
      if sample.hasText {
        let text = batch.texts[sample.textOffset..<(sample.textOffset + sample.textLength)]
        #expect(String(decoding: text, as: UTF8.self) == "card-\(index)")
      } else {
        let raw = index == 33 ? .min : index == 34 ? .max : 200 + number % 6 * 100 + number / 6 * (number % 3)
        #expect(sample.raw == raw)
      }
    }
  }

  private func block(_ hex: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = Substring(hex)
    while let byte = UInt8(rest.prefix(2), radix: 16) {
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    return bytes + [UInt8](repeating: 0, count: Limits.blockBytes - bytes.count)
  }

  @Test("Blocks of version 2 are still read")
  func versionTwo() throws {
    let hex =
      "4b52424b8c738ef302023c00030000000700000000000000fd03000000000000b6030000000000000200000001efcdabe803"
      + "0000000000008d6d0000000000001400000000000000f401000000000000bc02000000000000c10000000000000000000000"
      + "00000000003ffff800000000fa0bff48177bfa9bbf173207fc434bfcf205ba17853c09b9e8a2dadb13e1baf809cd1f6ffca3"
      + "b0795888aa99c2435c1756ff2c5b1720f63391a771a2767dc49528d12670060632d8e8c92cd4c5d25f025816b12ab3fd9a6d"
      + "e74422049c1a956687d1fdf36f855c75f4c1456bfffffffffc60cd25d1bce564964555159306647505fffffffe8a9b8f04a6"
      + "32ec3a4bc3cfccd9f81c20bea7443f4b90d0ea4a77b024dc9d9e6c67e4ac1692d555273d291785084c2d97f7683962"
    let bytes = block(hex)
    for _ in 0..<2 {
      let (info, batches) = try readAll(bytes)
      #expect(info.loss == Loss(count: 20, fromMs: 500, toMs: 700, reason: .overflow))
      #expect(batches.map(\.firstSequence) == [1_021, 1_051])
      var index = 0
      for batch in batches {
        for sample in batch.samples {
          let number = Int64(index)
          #expect(sample.at == Instant(milliseconds: 1_000 + number / 6 * 3_000 + number % 6 / 3 * 45))
          #expect(sample.series == UInt16(index % 6 * 7))
          #expect(sample.quality == (index % 17 == 0 ? .bad : .good))
          #expect(sample.hasText == (index % 20 == 7))
          if sample.hasText {
            let text = batch.texts[sample.textOffset..<(sample.textOffset + sample.textLength)]
            #expect(String(decoding: text, as: UTF8.self) == "card-\(index)")
          } else {
            let integer = index == 33 ? .min : index == 34 ? .max : 200 + number % 6 * 100 + number / 6 * (number % 3)
            let mean = Double(200 + index * 7 % 50) * 0.1 / 3
            let root = (Double(index) * 0.37).squareRoot()
            let double = index % 6 == 5 ? mean : root
            #expect(sample.raw == (index % 6 < 4 ? integer : Int64(bitPattern: double.bitPattern)))
          }
          index += 1
        }
      }
      #expect(index == 60)
    }
  }
}
