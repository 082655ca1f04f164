import FieldBus
import StreamCore

/// A line in simulated time, with bytes on their way as frames. It accepts a reply as libmodbus does: by unit,
/// table and length alone, so a frame that is late for one request is taken for the next one that looks alike.
struct ScriptedLine: Port, ~Copyable {
  /// What a device does with one request.
  enum Answer {
    /// Whatever else is on its way: a bridge may let replies overtake each other.
    case reply(afterNs: Int64)
    /// Not before what the device still owes: one thing at a time.
    case replyInOrder(afterNs: Int64)
    case truncated
    case silence
    case refuse(UInt8)
    case corrupt
    case wrongUnitThenRight(afterNs: Int64)
  }

  private struct Frame {
    var arrives: Int64
    var unit: Int
    var table: RegisterTable
    var words: [UInt16]
    var refusal: UInt8?
    var isCorrupt = false
  }

  /// The clock in nanoseconds.
  var nowNs: Int64 = 0
  /// When requests were sent, and what was asked.
  var sent: [(at: Int64, unit: Int, address: Int)] = []
  /// Of these, what came as commands.
  var commands: [(at: Int64, unit: Int, address: Int)] = []
  /// Counting them all would take the memory of a long run.
  var keepsSent = true
  var sentCount = 0
  var largestCount = 0
  /// The silence that a unit needs before a request; it does not hear what comes sooner.
  var needsNs: (_ unit: Int) -> Int64 = { _ in 0 }
  /// By unit: requests that came too soon.
  var missed: [Int: Int] = [:]
  /// The silences before requests, by unit; kept as `sent` is.
  var gaps: [Int: [Int64]] = [:]
  private var lastByteAt: Int64 = -1_000_000_000
  /// Bytes come in all the time.
  var babbles = false
  var isThere = true
  /// How an open fails while it is not there.
  var openFailure = PortFailure.missing(2)
  var opens: [Int64] = []
  private var onTheWay: [Frame] = []
  private let answer: (_ unit: Int, _ address: Int, _ number: Int) -> Answer
  private let value: (_ unit: Int, _ address: Int) -> UInt16

  init(
    value: @escaping (Int, Int) -> UInt16 = { unit, address in UInt16(unit * 1_000 + address) },
    answer: @escaping (Int, Int, Int) -> Answer = { _, _, _ in .reply(afterNs: 20_000_000) }
  ) {
    self.value = value
    self.answer = answer
  }

  var now: Instant { Instant(nanoseconds: nowNs) }

  mutating func open() throws(PortFailure) {
    opens.append(nowNs)
    if !isThere { throw openFailure }
  }

  mutating func close() { onTheWay = [] }

  mutating func drain() throws(ReadFailure) -> Int {
    if !isThere { throw .portLost(5) }
    if babbles { return 3 }
    let before = onTheWay.count
    onTheWay.removeAll { $0.arrives <= nowNs }
    return (before - onTheWay.count) * 7
  }

  mutating func read(
    unit: Int, table: RegisterTable, address: Int, count: Int, timeoutNs: Int64,
    into words: UnsafeMutablePointer<UInt16>
  ) throws(ReadFailure) {
    if !isThere { throw .portLost(5) }
    if keepsSent { sent.append((nowNs, unit, address)) }
    sentCount += 1
    largestCount = Swift.max(largestCount, count)
    let gapNs = nowNs - lastByteAt
    if keepsSent { gaps[unit, default: []].append(gapNs) }
    if gapNs < needsNs(unit) {
      missed[unit, default: 0] += 1
      nowNs += timeoutNs
      throw .noReply
    }
    let honest = (0..<count).map { value(unit, address + $0) }
    switch answer(unit, address, sentCount) {
    case .reply(let afterNs):
      onTheWay.append(Frame(arrives: nowNs + afterNs, unit: unit, table: table, words: honest))
    case .replyInOrder(let afterNs):
      let last = onTheWay.filter { $0.unit == unit }.map(\.arrives).max() ?? 0
      onTheWay.append(
        Frame(arrives: Swift.max(nowNs, last) + afterNs, unit: unit, table: table, words: honest))
    case .truncated:
      // libmodbus waits for the rest until the timeout, and throws away what it has.
      nowNs += timeoutNs
      throw .noReply
    case .silence: break
    case .refuse(let code):
      onTheWay.append(Frame(arrives: nowNs + 10_000_000, unit: unit, table: table, words: [], refusal: code))
    case .corrupt:
      onTheWay.append(Frame(arrives: nowNs + 10_000_000, unit: unit, table: table, words: [], isCorrupt: true))
    case .wrongUnitThenRight(let afterNs):
      onTheWay.append(Frame(arrives: nowNs + 5_000_000, unit: unit + 1, table: table, words: honest))
      onTheWay.append(Frame(arrives: nowNs + afterNs, unit: unit, table: table, words: honest))
    }
    onTheWay.sort { $0.arrives < $1.arrives }
    guard let first = onTheWay.first, first.arrives <= nowNs + timeoutNs else {
      nowNs += timeoutNs
      throw .noReply
    }
    onTheWay.removeFirst()
    nowNs = Swift.max(nowNs, first.arrives)
    lastByteAt = nowNs
    if first.isCorrupt { throw .corruptReply(.checksum) }
    if first.unit != unit { throw .corruptReply(.wrongUnit) }
    if let refusal = first.refusal { throw .refused(refusal) }
    guard first.table == table, first.words.count == count else { throw .corruptReply(.wrongShape) }
    for (index, word) in first.words.enumerated() { words[index] = word }
  }
}

extension ScriptedLine {
  /// Shows no bytes, as a numbered line.
  var frame: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: nil, count: 0) }

  /// Reads as a poll does; a write is echoed, and kept in `written`.
  mutating func exchange(
    _ request: UnsafeBufferPointer<UInt8>, timeoutNs: Int64, into reply: UnsafeMutablePointer<UInt8>
  ) throws(ReadFailure) -> Int {
    let (unit, function) = (Int(request[0]), request[1])
    let address = Int(request[2]) << 8 | Int(request[3])
    let writes = CommandFrame.writing.contains(function)
    let count = writes ? 0 : Int(request[4]) << 8 | Int(request[5])
    commands.append((nowNs, unit, address))
    let words = UnsafeMutablePointer<UInt16>.allocate(capacity: count + 1)
    defer { words.deallocate() }
    try read(
      unit: unit, table: function == 4 ? .input : .holding, address: address, count: count, timeoutNs: timeoutNs,
      into: words)
    reply[0] = request[0]
    reply[1] = function
    if writes {
      for index in 2..<6 { reply[index] = request[index] }
      return 6
    }
    reply[2] = UInt8(2 * count)
    for index in 0..<count {
      reply[3 + 2 * index] = UInt8(words[index] >> 8)
      reply[4 + 2 * index] = UInt8(words[index] & 0xFF)
    }
    return 3 + 2 * count
  }

  mutating func reopen(as format: LineFormat) throws(PortFailure) { try open() }
}

/// A bus of scripted devices in memory of its own, run until a time.
final class BusRig {
  private let memory: UnsafeMutableRawPointer
  let board: BusBoard
  let channel: BatchChannel
  var loop: BusLoop<ScriptedLine>
  var samples: [Sample] = []
  var texts: [[UInt8]] = []
  var events: [AlarmEvent] = []
  let layout: BusLayout

  static let key: [UInt8] = (0..<32).map { UInt8($0) }

  /// Called with each sample; kept, too, unless told otherwise.
  var onSample: (Sample) -> Void = { _ in }
  var keepsSamples = true

  init(
    spec: BusSpec, devices: [DeviceSpec], line: consuming ScriptedLine, learned: [String: LearnedDevice] = [:],
    bus: Int = 0, boards: [PointBoard] = []
  ) {
    layout = BusLayout(
      spec: spec, bus: bus, devices: devices, numbering: Numbering(devices: devices), learned: learned)
    let bytes = layout.bytes + 4_096
    memory = .allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: 0)
    board = BusBoard(layout: layout, arena: &arena)
    loop = BusLoop(
      layout: layout, port: line, board: board, boards: boards, channel: channel, pseudonymKey: Self.key,
      alarmsLeft: [], arena: &arena)
    loop.start()
  }

  deinit { memory.deallocate() }

  /// Turns the loop until the clock stands at `endNs`.
  func run(untilNs endNs: Int64) {
    while loop.port.nowNs < endNs {
      let until = loop.step().nanoseconds
      if until > loop.port.nowNs { loop.port.nowNs = Swift.min(until, endNs) }
      collect()
    }
  }

  var sent: [(at: Int64, unit: Int, address: Int)] { loop.port.sent }
  var commands: [(at: Int64, unit: Int, address: Int)] { loop.port.commands }
  var sentCount: Int { loop.port.sentCount }
  func setThere(_ isThere: Bool) { loop.port.isThere = isThere }
  var opens: [Int64] { loop.port.opens }

  func finish() {
    loop.handOver()
    collect()
  }

  private func collect() {
    while let batch = channel.next() {
      for index in 0..<batch.sampleCount {
        onSample(batch.sample(index))
        guard keepsSamples else { continue }
        samples.append(batch.sample(index))
        texts.append(Array(batch.text(of: batch.sample(index))))
      }
      for index in 0..<batch.eventCount { events.append(batch.event(index)) }
      channel.release()
    }
  }
}

let nowhere = SourcePlace(file: "test", line: 1, column: 1)
let second: Int64 = 1_000_000_000
let millisecond: Int64 = 1_000_000

func bus(_ change: (inout BusSpec) -> Void = { _ in }) -> BusSpec {
  var spec = BusSpec(name: "b", place: nowhere, busProtocol: .modbusRTU, endpoint: .serialPort(path: "/dev/none"))
  spec.responseTimeoutNs = 100 * millisecond
  change(&spec)
  return spec
}

/// One u16 point for each address; every second, always reported.
func device(_ address: Int, registers: [Int], everyNs: Int64 = second) -> DeviceSpec {
  var spec = DeviceSpec(name: "d\(address)", place: nowhere, bus: 0, address: address, profile: "", kind: "test")
  for register in registers {
    var point = PointSpec(name: "p\(register)", place: nowhere, source: .register(.holding, address: register))
    point.everyNs = everyNs
    spec.points.append(point)
  }
  return spec
}
