// One bus at work: its memory, its board, its thread. It outlives the field that started it: what a reload leaves as it
// is goes on in the next field, under the numbers it began with.
//
// Invariants:
//  1. `layout`, `board` and `channel` are what the thread works with, from its start to its end.
//  2. The memory goes when nobody has the bus any more, and the thread has ended by then.

import CLinux
import Glibc
import StreamCore

final class LiveBus: @unchecked Sendable {
  // Unchecked: `control` and `thread` are the main thread's; all else is constant, or an atomic word of the board.

  /// With the numbers that its batches have.
  let layout: BusLayout
  /// The bus's own in its batches.
  let number: Int
  let channel: BatchChannel
  let board: BusBoard
  /// By name of the device: what was known when it was made.
  let learned: [String: LearnedDevice]
  /// What it takes of the stream's memory.
  let bytes: Int
  private let memory: UnsafeMutableRawPointer
  private let loopStart: Int
  private(set) var control: BusControl?
  private var thread: BusThread?

  /// For rounding the pieces of one bus to cache lines.
  private static let slack = 64 * 64

  init(layout: BusLayout, number: Int, learned: [String: LearnedDevice]) {
    self.layout = layout
    self.number = number
    self.learned = learned
    bytes = layout.bytes + Self.slack
    memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: Arena.alignment)
    memset(memory, 0, bytes)
    var arena = Arena(memory: memory, capacityBytes: bytes)
    channel = BatchChannel(memory: arena.takeBytes(BatchChannel.bytes), bus: number)
    board = BusBoard(layout: layout, arena: &arena)
    loopStart = arena.usedBytes
  }

  deinit {
    precondition(thread == nil, "a running bus was let go; call stop() first")
    memory.deallocate()
  }

  /// `boards`: of all buses, for what expressions name there. `alarmsLeft`: by alarm of the bus. Does nothing if it
  /// runs already.
  func start(storeGate: OpaquePointer, boards: [PointBoard], pseudonymKey: [UInt8], alarmsLeft: [AlarmEvent?]) {
    guard thread == nil else { return }
    let control = BusControl(board: board, storeGate: storeGate)
    let thread = BusThread(name: "kerb-\(layout.spec.name)")
    (self.control, self.thread) = (control, thread)
    let piece = LoopPiece(
      layout: layout, board: board, boards: boards, channel: channel, key: pseudonymKey, alarmsLeft: alarmsLeft,
      memory: memory + loopStart, bytes: bytes - loopStart)
    if case .serialPort(let path) = layout.spec.endpoint, !layout.spec.busProtocol.isModbus {
      if layout.isAsked {
        thread.start(control: control) { piece.makeAsker(path: path) }
      } else {
        thread.start(control: control) { piece.makeListener(path: path) }
      }
    } else {
      thread.start(control: control) { piece.makeMaster() }
    }
  }

  /// After `control.stop()`: what it had is handed over on return.
  func join() {
    thread?.join()
    thread = nil
  }
}

extension Array where Element == LiveBus {
  /// On return all have handed over what they had, and none of their threads runs.
  func stop() {
    for bus in self { bus.control?.stop() }
    for bus in self { bus.join() }
  }
}

/// What the new thread makes its loop from.
private struct LoopPiece: @unchecked Sendable {
  // Unchecked: the memory is this bus's own, and is touched by its thread only.
  let layout: BusLayout
  let board: BusBoard
  /// Of all buses: what expressions name of other devices is read there.
  let boards: [PointBoard]
  let channel: BatchChannel
  let key: [UInt8]
  let alarmsLeft: [AlarmEvent?]
  let memory: UnsafeMutableRawPointer
  let bytes: Int

  func makeAsker(path: String) -> AskLoop<TextPort> {
    var arena = Arena(memory: memory, capacityBytes: bytes)
    return AskLoop(
      layout: layout, port: TextPort(path: path, format: layout.spec.format, writes: true, rs485: layout.spec.rs485),
      board: board, boards: boards, channel: channel,
      pseudonymKey: key, alarmsLeft: alarmsLeft, arena: &arena)
  }

  func makeListener(path: String) -> ListenLoop {
    var arena = Arena(memory: memory, capacityBytes: bytes)
    return ListenLoop(
      layout: layout, path: path, board: board, boards: boards, channel: channel, pseudonymKey: key,
      alarmsLeft: alarmsLeft, arena: &arena)
  }

  func makeMaster() -> BusLoop<ModbusPort> {
    var arena = Arena(memory: memory, capacityBytes: bytes)
    return BusLoop(
      layout: layout, port: ModbusPort(layout.spec), board: board, boards: boards, channel: channel,
      pseudonymKey: key,
      alarmsLeft: alarmsLeft, arena: &arena)
  }
}
