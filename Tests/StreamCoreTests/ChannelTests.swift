import StreamCore
import Testing

@Suite struct ChannelTests {
  @Test("the probe that instantiates every generic also runs")
  func probe() {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: Probe.bytes, alignment: 64)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: Probe.bytes)
    #expect(Probe.run(memory: memory) > 0)
  }

  @Test("a channel never gives a batch to both sides, however the two interleave")
  func ownership() {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: BatchChannel.bytes, alignment: 64)
    defer { memory.deallocate() }
    let channel = BatchChannel(memory: memory, bus: 4)
    var generator = SplitMix64(state: 7)
    var sent: Int64 = 0
    var received: Int64 = 0
    for _ in 0..<20_000 {
      if Bool.random(using: &generator) {
        let sample = Sample(at: .zero, raw: sent, series: 0, quality: .good)
        if channel.filling.append(sample) { sent += 1 }
        if Int.random(in: 0..<4, using: &generator) == 0 { _ = channel.handOver() }
      } else if let batch = channel.next() {
        #expect(batch.info.bus == 4)
        for index in 0..<batch.sampleCount {
          #expect(batch.sample(index).raw == received)
          received += 1
        }
        channel.release()
      }
    }
    #expect(sent - received <= Int64(Limits.batchesPerBus * Limits.samplesPerBatchMax))
    #expect(received > 1_000)
  }

  @Test("instants saturate instead of trapping")
  func saturation() {
    let far = Instant(nanoseconds: .max)
    #expect((far + 1).nanoseconds == .max)
    #expect((Instant(nanoseconds: .min) + -1).nanoseconds == .min)
    #expect(far - Instant(nanoseconds: -1) == .max)
  }
}
