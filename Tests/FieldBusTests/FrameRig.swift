import FieldBus
import StreamCore
import TestSupport
import Testing

/// A line of bytes in simulated time: what is sent is answered by a function, and bytes arrive when they arrive.
struct ScriptedFrames: FramePort, ~Copyable {
  struct Burst {
    var afterNs: Int64
    var bytes: [UInt8]
    /// Between two bytes.
    var gapNs: Int64 = 0
  }

  var nowNs: Int64 = 0
  var sent: [(at: Int64, bytes: [UInt8])] = []
  var isThere = true
  private var onTheWay: [(at: Int64, byte: UInt8)] = []
  private let answer: (_ question: [UInt8], _ number: Int) -> [Burst]

  init(answer: @escaping ([UInt8], Int) -> [Burst]) { self.answer = answer }

  var now: Instant { Instant(nanoseconds: nowNs) }

  mutating func open() throws(PortFailure) { if !isThere { throw .missing(2) } }
  mutating func close() { onTheWay = [] }

  mutating func send(_ bytes: UnsafePointer<UInt8>, count: Int) throws(ReadFailure) {
    if !isThere { throw .portLost(5) }
    let question = Array(UnsafeBufferPointer(start: bytes, count: count))
    sent.append((nowNs, question))
    for burst in answer(question, sent.count) { put(burst) }
  }

  mutating func put(_ burst: Burst) {
    for (index, byte) in burst.bytes.enumerated() {
      onTheWay.append((nowNs + burst.afterNs + Int64(index) * burst.gapNs, byte))
    }
    onTheWay.sort { $0.at < $1.at }
  }

  mutating func read(
    into bytes: UnsafeMutablePointer<UInt8>, capacity: Int, until deadline: Instant
  ) throws(ReadFailure) -> Int {
    if !isThere { throw .portLost(5) }
    let until = deadline.nanoseconds
    if onTheWay.first.map({ $0.at > nowNs }) ?? true {
      let next = onTheWay.first?.at ?? .max
      nowNs = Swift.max(nowNs, Swift.min(next, until))
    }
    var count = 0
    while count < capacity, let first = onTheWay.first, first.at <= nowNs {
      bytes[count] = first.byte
      count += 1
      onTheWay.removeFirst()
    }
    return count
  }
}

/// Sound, or an issue is recorded.
func frameProfile(_ text: String, kind: String = "k") -> Profile {
  let diagnostics = Diagnostics()
  let whole = "kind = \"\(kind)\"\n\(text)"
  guard let root = TomlFile.parse(whole, file: "p", into: diagnostics) else {
    Issue.record("\(diagnostics.all.map(\.text))")
    return Profile(id: "\(kind)/x", kind: kind)
  }
  let profile = ProfileParser.parse(root, id: "\(kind)/x", diagnostics: diagnostics)
  #expect(diagnostics.all.map(\.text) == [])
  return profile
}

func frameDevice(_ profile: Profile, address: String, name: String = "d") -> DeviceSpec {
  var spec = DeviceSpec(name: name, place: nowhere, bus: 0, address: 0, profile: profile.id, kind: profile.kind)
  spec.frame = profile.frame
  spec.points = profile.points
  spec.alarms = profile.alarms
  switch profile.frame?.busProtocol {
  case .dlt645: spec.meterAddress = MeterAddress(address, bytes: MeterAddress.dlt645Bytes)
  case .cjt188: spec.meterAddress = MeterAddress(address, bytes: MeterAddress.cjt188Bytes)
  default: spec.address = Int(address) ?? 0
  }
  return spec
}

/// A bus of scripted devices in memory of its own, run until a time.
final class FrameRig {
  private let memory: UnsafeMutableRawPointer
  private let bytes: Int
  let layout: BusLayout
  let board: BusBoard
  let channel: BatchChannel
  var loop: AskLoop<ScriptedFrames>
  var samples: [Sample] = []
  var texts: [[UInt8]] = []

  init(
    _ devices: [DeviceSpec], serial: UInt8 = 0, spec change: (inout BusSpec) -> Void = { _ in },
    answer: @escaping ([UInt8], Int) -> [ScriptedFrames.Burst]
  ) {
    var spec = BusSpec(
      name: "b", place: nowhere, busProtocol: devices.first?.frame?.busProtocol ?? .serial,
      endpoint: .serialPort(path: "/dev/none"))
    spec.responseTimeoutNs = 100 * millisecond
    change(&spec)
    layout = BusLayout(spec: spec, bus: 0, devices: devices, numbering: Numbering(devices: devices))
    bytes = layout.bytes + 64 * 64
    memory = .allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    board = BusBoard(layout: layout, arena: &arena)
    loop = AskLoop(
      layout: layout, port: ScriptedFrames(answer: answer), board: board, channel: channel, pseudonymKey: BusRig.key,
      alarmsLeft: [], arena: &arena)
    loop.serial = serial
    loop.start()
  }

  deinit { memory.deallocate() }

  func run(untilNs endNs: Int64) {
    while loop.port.nowNs < endNs {
      let until = loop.step().nanoseconds
      if until > loop.port.nowNs { loop.port.nowNs = Swift.min(until, endNs) }
      collect()
    }
  }

  /// Until so many questions have been asked and the last one is over.
  func run(questions: Int, untilNs endNs: Int64 = 3_600 * second) {
    while board.bus[.transactions] < Int64(questions), loop.port.nowNs < endNs {
      let until = loop.step().nanoseconds
      if until > loop.port.nowNs { loop.port.nowNs = Swift.min(until, endNs) }
    }
    loop.handOver()
    collect()
  }

  func finish() {
    loop.handOver()
    collect()
  }

  func good(_ series: Int) -> [Int64] {
    samples.filter { Int($0.series) == series && $0.quality == .good }.map(\.raw)
  }

  /// Everything that the bus has in memory.
  var everything: [UInt8] { Array(UnsafeRawBufferPointer(start: memory, count: bytes)) }

  private func collect() {
    while let batch = channel.next() {
      for index in 0..<batch.sampleCount {
        samples.append(batch.sample(index))
        texts.append(Array(batch.text(of: batch.sample(index))))
      }
      channel.release()
    }
  }
}
