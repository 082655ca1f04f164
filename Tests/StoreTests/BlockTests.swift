import StreamCore
import Testing

@testable import Store

@Suite("A block of telemetry")
struct BlockTests {
  private struct Sealed {
    var info: BlockInfo
    var bytes: [UInt8]
    var samples: [Sample]
    var texts: [[UInt8]]
  }

  /// Fills a block from `next` until it says «full», or `countMax` are in.
  private func sealed(
    _ random: inout Seeded, countMax: Int = .max, _ next: (inout Seeded) -> (Sample, [UInt8])
  ) -> Sealed {
    let writer = BlockWriter(seriesCount: 100)
    var samples: [Sample] = []
    var texts: [[UInt8]] = []
    while samples.count < countMax {
      let (sample, text) = next(&random)
      guard text.withUnsafeBufferPointer({ writer.append(sample, text: $0) }) else { break }
      samples.append(sample)
      texts.append(text)
    }
    return seal(writer, samples, texts)
  }

  private func seal(_ writer: BlockWriter, _ samples: [Sample], _ texts: [[UInt8]]) -> Sealed {
    var place = BlockInfo()
    place.number = 7
    place.firstSequence = 1_001
    place.ordinal = 950
    place.epoch = 3
    place.catalogueVersion = 2
    place.mark = 0xABCD_EF01
    var bytes = [UInt8](repeating: 0xEE, count: Limits.blockBytes)
    let info = bytes.withUnsafeMutableBytes { writer.write(as: place, into: $0) }
    writer.clear()
    return Sealed(info: info, bytes: bytes, samples: samples, texts: texts)
  }

  private func readAll(_ bytes: [UInt8]) throws(BlockDamage) -> (BlockInfo, [StoredBatch]) {
    var reader = BlockReader(seriesCount: 10)
    let outcome = bytes.withUnsafeBytes { (raw) -> Result<(BlockInfo, [StoredBatch]), BlockDamage> in
      do throws(BlockDamage) { return .success(try reader.read(raw)) } catch { return .failure(error) }
    }
    return try outcome.get()
  }

  /// Of a block that was committed once.
  private func read(_ bytes: [UInt8]) throws(BlockDamage) -> (BlockInfo, StoredBatch) {
    let (info, batches) = try readAll(bytes)
    #expect(batches.count == 1)
    return (info, batches[0])
  }

  private func expectSame(_ block: Sealed) throws {
    let (info, batch) = try read(block.bytes)
    #expect(info == block.info)
    #expect(batch.firstSequence == block.info.firstSequence)
    #expect(batch.samples.count == block.samples.count)
    for (index, (got, put)) in zip(batch.samples, block.samples).enumerated() {
      let isSame =
        got.series == put.series && got.quality == put.quality && got.hasText == put.hasText
        && got.at == Instant(milliseconds: put.at.milliseconds)
      #expect(isSame, "sample \(index): put \(put), got \(got)")
      if put.hasText {
        let text = Array(batch.texts[got.textOffset..<(got.textOffset + got.textLength)])
        #expect(text == block.texts[index])
      } else {
        #expect(got.raw == put.raw)
      }
      if !isSame { return }
    }
  }

  private static func anything(_ random: inout Seeded) -> (Sample, [UInt8]) {
    let extremes: [Int64] = [.min, .max, 0, -1, 1, .min + 1, .max - 1, 1 << 55, (1 << 55) - 1, -(1 << 55)]
    let isExtreme = Bool.random(using: &random)
    let raw: Int64 = isExtreme ? extremes.randomElement(using: &random)! : .random(in: .min ... .max, using: &random)
    let at = Bool.random(using: &random) ? raw &* 31 : Int64.random(in: 0...1_000_000_000_000, using: &random)
    let seriesMax: UInt16 = Bool.random(using: &random) ? 3 : 2_000
    let series = UInt16.random(in: 0...seriesMax, using: &random)
    var sample = Sample(
      at: Instant(nanoseconds: at), raw: raw, series: series,
      quality: Quality(rawValue: .random(in: 0...3, using: &random))!)
    guard Int.random(in: 0..<4, using: &random) == 0 else { return (sample, []) }
    sample.hasText = true
    let length = Int.random(in: 0...Limits.textBytesMax, using: &random)
    return (sample, (0..<length).map { _ in UInt8.random(in: .min ... .max, using: &random) })
  }

  /// Thirty points on five devices, read in one request each, every three seconds; a third of them move between rounds.
  private struct Polled {
    private var count: Int64 = 0
    private var at: Int64 = 0
    private var values = [Int64](repeating: 200, count: 30)

    mutating func next(_ random: inout Seeded) -> (Sample, [UInt8]) {
      let series = Int(count % 30)
      if series % 6 == 0 {
        at = 5_000 + count / 30 * 3_000 + Int64(series) / 6 * 45 + Int64.random(in: 0...1, using: &random)
      }
      count += 1
      if Int.random(in: 0..<3, using: &random) == 0 { values[series] += Int64.random(in: -3...3, using: &random) }
      return (Sample(at: Instant(milliseconds: at), raw: values[series], series: UInt16(series), quality: .good), [])
    }
  }

  @Test("What is packed comes out the same, whatever it is", arguments: 1...40 as ClosedRange<UInt64>)
  func roundTrip(seed: UInt64) throws {
    var random = Seeded(seed)
    try expectSame(sealed(&random, Self.anything))
    var site = Polled()
    try expectSame(sealed(&random) { site.next(&$0) })
  }

  @Test("A writer that sealed a block knows nothing of it in the next one")
  func writerBeginsAnew() throws {
    let writer = BlockWriter(seriesCount: 4)
    var random = Seeded(5)
    for _ in 0..<3 {
      var samples: [Sample] = []
      var texts: [[UInt8]] = []
      for _ in 0..<40 {
        let (sample, text) = Self.anything(&random)
        let isIn = text.withUnsafeBufferPointer { writer.append(sample, text: $0) }
        #expect(isIn)
        samples.append(sample)
        texts.append(text)
      }
      try expectSame(seal(writer, samples, texts))
    }
  }

  @Test("Full is said before a sample does not fit, and only when hardly anything is left")
  func fullness() {
    var random = Seeded(11)
    let block = sealed(&random) { random in
      let raw = Int64.random(in: .min ... .max, using: &random)
      return (Sample(at: Instant(milliseconds: 5), raw: raw, series: 1, quality: .good), [])
    }
    let used = Limits.blockBytes - block.bytes.reversed().prefix { $0 == 0 }.count
    #expect(used <= Limits.blockBytes)
    #expect(used > Limits.blockBytes - 256)
    var many = 0
    let writer = BlockWriter(seriesCount: 4)
    let same = Sample(at: Instant(milliseconds: 5), raw: 1, series: 1, quality: .good)
    while writer.append(same, text: UnsafeBufferPointer(start: nil, count: 0)) { many += 1 }
    #expect(many == Limits.samplesPerBlockMax)
  }

  @Test("Samples of a polled site take at most 1.5 bytes each")
  func density() {
    var random = Seeded(3)
    var site = Polled()
    let block = sealed(&random, countMax: 600) { site.next(&$0) }
    let used = Limits.blockBytes - block.bytes.reversed().prefix { $0 == 0 }.count
    #expect(Double(used) / Double(block.samples.count) <= 1.5, "\(used) bytes for \(block.samples.count) samples")
  }

  @Test("A loss stands in front of the samples and takes its sequences")
  func loss() throws {
    let writer = BlockWriter(seriesCount: 4)
    writer.addLoss(Loss(count: 20, fromMs: 500, toMs: 700, reason: .overflow))
    let isIn = writer.append(numbered(1), text: UnsafeBufferPointer(start: nil, count: 0))
    #expect(isIn)
    writer.addLoss(Loss(count: 5, fromMs: 400, toMs: 650, reason: .overflow))
    let block = seal(writer, [numbered(1)], [[]])
    let (info, _) = try read(block.bytes)
    #expect(info.loss == Loss(count: 25, fromMs: 400, toMs: 700, reason: .overflow))
    #expect(info.from == 1_001)
    #expect(info.firstSequence == 1_026)
    #expect(info.last == 1_026)
  }

  @Test("Every flipped bit is noticed")
  func singleFlips() {
    var random = Seeded(21)
    let block = sealed(&random, countMax: 25, Self.anything)
    var bytes = block.bytes
    var unnoticed: [Int] = []
    for bit in 0..<(bytes.count * 8) {
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      if (try? read(bytes)) != nil { unnoticed.append(bit) }
      bytes[bit / 8] ^= 1 << UInt8(bit % 8)
    }
    #expect(unnoticed.isEmpty)
    #expect((try? read(bytes)) != nil)
  }

  @Test("A block that is written while it fills begins the same every time, and comes out commit by commit")
  func fills() throws {
    let writer = BlockWriter(seriesCount: 64)
    var random = Seeded(31)
    var put: [Sample] = []
    var ends: [Int64] = []
    for round in 1...12 {
      for _ in 0..<Int.random(in: 1...40, using: &random) {
        put.append(numbered(Int64(put.count), series: Int.random(in: 0..<50, using: &random)))
        let isIn = writer.append(put[put.count - 1], text: UnsafeBufferPointer(start: nil, count: 0))
        #expect(isIn)
      }
      var bytes = [UInt8](repeating: 0xEE, count: Limits.blockBytes)
      let info = bytes.withUnsafeMutableBytes { writer.write(as: BlockInfo(), into: $0) }
      writer.committed(info.count)
      ends.append(info.last)
      let (_, batches) = try readAll(bytes)
      #expect(batches.map { $0.firstSequence + Int64($0.samples.count) - 1 } == ends, "round \(round)")
      let got = batches.flatMap(\.samples)
      #expect(got.map(\.raw) == put.map(\.raw))
      #expect(got.map(\.series) == put.map(\.series))
      #expect(got.map(\.at) == put.map(\.at))
    }
  }

  @Test(
    "Doubles come out bit for bit: decimals, means of readings, noise, and what is no number",
    arguments: 1...10 as ClosedRange<UInt64>)
  func doubles(seed: UInt64) throws {
    var random = Seeded(seed)
    let odd: [Double] = [
      0, -0.0, .nan, .signalingNaN, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude, 1e300,
      0x1p-41,
    ]
    try expectSame(
      sealed(&random) { random in
        let series = UInt16.random(in: 0..<5, using: &random)
        let value: Double
        switch series {
        case 0: value = Double(Int.random(in: -9_999...9_999, using: &random)) / 100
        case 1:
          let count = Int.random(in: 55...60, using: &random)
          let sum = (0..<count).reduce(0.0) { sum, _ in sum + Double(Int.random(in: 20...24, using: &random)) * 0.1 }
          value = sum / Double(count)
        case 2: value = Double.random(in: -1e6...1e6, using: &random)
        case 3: value = odd.randomElement(using: &random)!
        default: value = Double(Float.random(in: 3_000...3_400, using: &random))
        }
        let raw = Int64(bitPattern: value.bitPattern)
        return (Sample(at: Instant(milliseconds: 5), raw: raw, series: series, quality: .good), [])
      })
  }

  @Test("Means of readings take less than half of their bits")
  func means() {
    var random = Seeded(9)
    var at: Int64 = 0
    let block = sealed(&random) { random in
      at += 60_000
      let sum = (0..<60).reduce(0.0) { sum, _ in sum + Double(Int.random(in: 200...240, using: &random)) * 0.1 }
      let raw = Int64(bitPattern: (sum / 60).bitPattern)
      return (Sample(at: Instant(milliseconds: at), raw: raw, series: 1, quality: .good), [])
    }
    #expect(block.samples.count > 1_500, "\(block.samples.count) in a block")
  }

  @Test("More series than a block tells apart: it says full, and the next one goes on")
  func manySeries() throws {
    let writer = BlockWriter(seriesCount: 40_000)
    var count = 0
    while writer.append(
      Sample(at: Instant(milliseconds: 5), raw: 0, series: UInt16(count * 39), quality: .good),
      text: UnsafeBufferPointer(start: nil, count: 0))
    { count += 1 }
    #expect(count == Limits.seriesPerBlockMax)
    let again = writer.append(
      Sample(at: Instant(milliseconds: 6), raw: 0, series: 39, quality: .good),
      text: UnsafeBufferPointer(start: nil, count: 0))
    #expect(again)
  }

  /// Two buses that take turns every second or two. A third of the polls moves; a window of ten seconds ends on each.
  private struct Buses {
    private var now: [Int64] = [5_000, 5_000]
    private var values = [Int64](repeating: 300, count: 40)

    mutating func turn(_ bus: Int, _ random: inout Seeded) -> [Sample] {
      var samples: [Sample] = []
      for _ in 0..<Int.random(in: 1...2, using: &random) {
        for device in 0..<8 {
          let at = now[bus] + Int64(device) * 43 + Int64.random(in: 0...1, using: &random)
          for point in 0..<2 where Int.random(in: 0..<3, using: &random) == 0 {
            let series = bus * 20 + device * 2 + point
            values[series] += Int64.random(in: -2...2, using: &random)
            samples.append(
              Sample(at: Instant(milliseconds: at), raw: values[series], series: UInt16(series), quality: .good))
          }
        }
        now[bus] += 1_000
        guard now[bus] % 10_000 == 0 else { continue }
        for window in 0..<4 {
          let mean = Double(Int.random(in: 0..<600, using: &random)) * 0.1 / 10
          samples.append(
            Sample(
              at: Instant(milliseconds: now[bus]), raw: Int64(bitPattern: mean.bitPattern),
              series: UInt16(bus * 20 + 16 + window), quality: .good))
        }
      }
      return samples
    }
  }

  @Test(
    "Buses that take turns come out as they came, whether or not it is said who speaks",
    arguments: [1, 2, 3] as [UInt64])
  func buses(seed: UInt64) throws {
    var counts: [Int] = []
    for isTold in [true, false] {
      var random = Seeded(seed)
      var site = Buses()
      let writer = BlockWriter(seriesCount: 40)
      var put: [Sample] = []
      var bus = 0
      var isFull = false
      while !isFull {
        for sample in site.turn(bus, &random) {
          let source = isTold ? bus : 0
          guard writer.append(sample, text: UnsafeBufferPointer(start: nil, count: 0), source: source) else {
            isFull = true
            break
          }
          put.append(sample)
        }
        bus = 1 - bus
      }
      try expectSame(seal(writer, put, put.map { _ in [] }))
      counts.append(put.count)
    }
    #expect(counts[0] > counts[1], "\(counts) samples in a block, told and untold")
    #expect(counts[0] > 4_000 || Double(Limits.blockBytes) / Double(counts[0]) < 1.3, "\(counts)")
  }

  @Test("Full is said once and for all: what is smaller is not squeezed in, and what was taken is unchanged")
  func staysFull() throws {
    for seed in 1...40 as ClosedRange<UInt64> {
      var random = Seeded(seed)
      let writer = BlockWriter(seriesCount: 100)
      var samples: [Sample] = []
      var texts: [[UInt8]] = []
      while true {
        let (sample, text) = Self.anything(&random)
        guard text.withUnsafeBufferPointer({ writer.append(sample, text: $0) }) else { break }
        samples.append(sample)
        texts.append(text)
      }
      let small = Sample(at: samples[samples.count - 1].at, raw: 0, series: 1, quality: .good)
      let isIn = writer.append(small, text: UnsafeBufferPointer(start: nil, count: 0))
      #expect(!isIn)
      try expectSame(seal(writer, samples, texts))
    }
  }

  @Test("Forged bytes with a right checksum end in an error or a batch, never in a trap")
  func forged() {
    var random = Seeded(77)
    var refused = 0
    let blocks = (0..<20).map { _ in sealed(&random, countMax: 30, Self.anything).bytes }
    for round in 0..<3_000 {
      var bytes = blocks[round % blocks.count]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let place = Int.random(in: 8..<(round % 2 == 0 ? 120 : 600), using: &random)
        bytes[place] = .random(in: .min ... .max, using: &random)
      }
      bytes.withUnsafeMutableBytes { BlockInfo.close($0) }
      if (try? read(bytes)) == nil { refused += 1 }
    }
    #expect(refused > 1_000)
  }

  @Test("Bytes that are no block are told apart: empty, foreign, of another length")
  func strangers() {
    let zeros = [UInt8](repeating: 0, count: Limits.blockBytes)
    #expect(throws: BlockDamage.empty) { try read(zeros) }
    #expect(throws: BlockDamage.magic) { try read(zeros.dropLast() + [1]) }
    #expect(throws: BlockDamage.length) { try read(Array(zeros.dropLast())) }
  }

  @Test("The checksum is CRC-32C: the check value of its definition")
  func checkValue() {
    #expect(Array("123456789".utf8).withUnsafeBytes { Checksum.crc32c($0) } == 0xE306_9283)
    #expect([UInt8](repeating: 0, count: 32).withUnsafeBytes { Checksum.crc32c($0) } == 0x8A91_36AA)
  }
}
