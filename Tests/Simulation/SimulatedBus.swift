// One line of the community in virtual time: what its devices say goes into a real pipeline, what comes out is
// counted and hashed. Seeded; no clock, no thread, no line.

import FieldBus
import StreamCore

/// SplitMix64.
struct Seeded {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  mutating func below(_ count: UInt64) -> UInt64 { next() % count }
}

/// FNV-1a over words.
struct Fingerprint {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ word: Int64) {
    var rest = UInt64(bitPattern: word)
    for _ in 0..<8 {
      value = (value ^ (rest & 0xFF)) &* 0x100_0000_01B3
      rest >>= 8
    }
  }
}

/// A point's raw value wanders between bounds; now and then it leaves them for a while.
private struct Wanderer {
  let low: Int64
  let high: Int64
  let step: Int64
  let isCounter: Bool
  var raw: Int64
  /// Readings that it still lasts.
  var excursion = 0

  init(_ spec: PointSpec) {
    let top = spec.type.rawRange?.upperBound ?? 1_000
    let limit = spec.bits.map { (Int64(1) << Int64($0.count)) - 1 } ?? min(top, 60_000)
    var bounds = (Int64(0), limit)
    if let range = spec.range {
      let one = (range.lowerBound - spec.offset) / spec.scale
      let other = (range.upperBound - spec.offset) / spec.scale
      bounds = (max(-30_000, Int64(min(one, other))), min(60_000, Int64(max(one, other))))
    }
    if !spec.values.isEmpty { bounds = (spec.values.keys.min() ?? 0, spec.values.keys.max() ?? 0) }
    (low, high) = bounds.0 <= bounds.1 ? bounds : (0, limit)
    step = max(1, (high - low) / 200)
    isCounter = spec.unit == "count"
    raw = low + (high - low) / 4
  }

  mutating func next(_ random: inout Seeded) -> Int64 {
    let draw = random.next()
    if isCounter {
      raw = raw >= high ? low : raw + (draw & 15 == 0 ? 1 : 0)
      return raw
    }
    // Once in a few hours something happens, for some minutes.
    if excursion == 0, draw % 20_011 == 0 { excursion = 200 }
    if high - low < 8 {
      raw = excursion > 0 ? high : low
      excursion = max(0, excursion - 1)
      return raw
    }
    if excursion > 0 {
      excursion -= 1
      raw = min(high, raw + 4 * step)
      return raw
    }
    let change = Int64(draw >> 8 & 3)
    if change < 3 { raw += (change - 1) * step }
    let middle = low + (high - low) / 4
    if raw > middle + 20 * step { raw -= 2 * step }
    raw = max(low, min(high, raw))
    return raw
  }
}

struct SimulatedBus: ~Copyable {
  private struct Point {
    var number: Int
    /// In turns.
    var every: Int64
    var wanderer: Wanderer
  }
  private struct Device {
    var points: [Point]
    var alarms: Range<Int>
    /// Says nothing until then.
    var silentUntil: Int64 = 0
    var numbers: Range<Int>
  }

  private var pipeline: Pipeline
  private let channel: BatchChannel
  private let memory: UnsafeMutableRawPointer
  let arenaBytes: Int
  private var devices: [Device] = []
  private var random: Seeded
  private let turnSeconds: Int64
  private(set) var fingerprint = Fingerprint()
  private(set) var readings: Int64 = 0
  private(set) var samples: Int64 = 0
  private(set) var events: Int64 = 0
  private let nothing = UnsafeBufferPointer<UInt8>(start: nil, count: 0)

  /// `turnSeconds`: so long takes what would take a second; intervals are so many times as long.
  init(_ layout: BusLayout, seed: UInt64, turnSeconds: Int64) {
    self.turnSeconds = turnSeconds
    let bytes = layout.size.bytes + BatchChannel.bytes + 8_192
    memory = .allocate(byteCount: bytes, alignment: Arena.alignment)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    pipeline = Pipeline(size: layout.size, arena: &arena, channel: channel)
    layout.fill(&pipeline, left: [], at: .zero)
    arenaBytes = arena.usedBytes
    random = Seeded(state: seed)
    var point = 0
    var alarm = 0
    for device in layout.devices {
      let points = device.points.enumerated().compactMap { number, spec -> Point? in
        guard !spec.encoding.hasText else { return nil }
        let every = max(1, spec.everyNs / 1_000_000_000)
        return Point(number: point + number, every: every, wanderer: Wanderer(spec))
      }
      let alarms = alarm..<(alarm + device.alarms.count)
      let numbers = point..<(point + device.points.count)
      devices.append(Device(points: points, alarms: alarms, numbers: numbers))
      point += device.points.count
      alarm += device.alarms.count
    }
  }

  deinit { memory.deallocate() }

  func instant(_ second: Int64, _ ms: Int64 = 0) -> Instant {
    Instant(nanoseconds: second * 1_000_000_000 + ms * 1_000_000)
  }

  mutating func setClock(offsetNs: Int64, turn: Int64) {
    pipeline.setClock(offsetNs: offsetNs, at: instant(turn * turnSeconds))
  }

  /// Every device once, forty milliseconds apart; before that, what the clock alone makes due.
  mutating func live(turn: Int64) {
    let second = turn * turnSeconds
    while pipeline.nextDeadline < instant(second) {
      pipeline.tick(at: pipeline.nextDeadline)
      drain()
    }
    for index in devices.indices {
      let now = instant(second, Int64(index) * 40)
      if pipeline.nextDeadline <= now { pipeline.tick(at: now) }
      // Twice a month and device the wire is cut, for up to an hour.
      if random.below(1_300_000) == 0 {
        devices[index].silentUntil = second + Int64(random.below(3_600))
        pipeline.silence(points: devices[index].numbers, at: now)
      }
      if devices[index].silentUntil > second { continue }
      read(index, turn, now)
    }
    drain()
  }

  private mutating func read(_ index: Int, _ turn: Int64, _ now: Instant) {
    var hasRead = false
    for place in devices[index].points.indices {
      let point = devices[index].points[place]
      guard turn % point.every == Int64(point.number) % point.every else { continue }
      hasRead = true
      let raw = devices[index].points[place].wanderer.next(&random)
      readings += 1
      // Some replies are sentinels, some come late out of a queue.
      let chance = random.below(10_000)
      if chance == 1, turn > 20 {
        pipeline.accept(
          point: point.number, raw: raw, quality: .good, text: nothing, at: instant(turn * turnSeconds - 20),
          isReplayed: true)
      } else {
        pipeline.accept(
          point: point.number, raw: raw, quality: chance == 0 ? .bad : .good, text: nothing, at: now)
      }
    }
    if hasRead { pipeline.evaluate(alarms: devices[index].alarms, at: now) }
  }

  mutating func end(second: Int64) {
    pipeline.tick(at: instant(second))
    pipeline.handOver()
    drain()
    fingerprint.add(pipeline.produced)
    fingerprint.add(pipeline.late)
    fingerprint.add(pipeline.missedWindow)
  }

  var lost: Int64 { pipeline.lost }

  private mutating func drain() {
    while let batch = channel.next() {
      for index in 0..<batch.sampleCount {
        let sample = batch.sample(index)
        fingerprint.add(sample.at.nanoseconds)
        fingerprint.add(sample.raw)
        fingerprint.add(Int64(sample.series) << 8 | Int64(sample.quality.rawValue))
      }
      for index in 0..<batch.eventCount {
        let event = batch.event(index)
        fingerprint.add(event.at.nanoseconds)
        fingerprint.add(event.since.nanoseconds)
        fingerprint.add(Int64(event.alarm) << 16 | Int64(event.state.rawValue) << 8 | Int64(event.severity.rawValue))
      }
      samples += Int64(batch.sampleCount)
      events += Int64(batch.eventCount)
      channel.release()
    }
  }
}
