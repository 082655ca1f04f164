// The thread of a line that ends in a pty: carries bytes between the pty and the wire's decisions, and lets serial
// devices speak on their own. Made by `VirtualLine.start`, then handed to its thread for good.

import CLinux
import FieldBus
import Glibc

final class PtyLoop {
  private let line: VirtualLine
  private let path: String
  /// Nil while the line is unplugged.
  private var end: PtyEnd?
  private var wire: RTUWire
  private var speakers: [Speaker]
  /// A device that only speaks doesn't listen.
  private let listens: Bool

  /// A pulled plug comes back in the same place; until it can, this often it is tried.
  private static let replugNs: Int64 = 100_000_000

  init(_ line: VirtualLine, path: String) throws(SiteFailure) {
    self.line = line
    self.path = path
    end = try PtyEnd(link: path)
    wire = RTUWire(line.spec)
    let serial = line.spec.busProtocol == .serial
    listens = !serial || line.devices.withLock { $0.isAsked }
    speakers = line.devices.withLock { devices in
      devices.devices.filter { serial && !$0.spec.profile.isAsked && $0.spec.speaksEveryNs > 0 }.map {
        Speaker(
          device: $0.spec.name, everyNs: $0.spec.speaksEveryNs, seed: ownSeed(line.seed, $0.spec.name),
          from: line.startedAt)
      }
    }
  }

  func run() {
    kerb_thread_timer_slack(1)
    while true {
      let (stopping, plugged, speech) = line.control.withLock { control in
        let speech = control.speech
        control.speech = []
        return (control.stopping, control.plugged, speech)
      }
      if stopping { break }
      plug(plugged)
      speak(speech)
      step()
    }
    end = nil
  }

  private var descriptors: (master: Int32, watch: Int32)? {
    guard let master = end?.master, let watch = end?.watch else { return nil }
    return (master, watch)
  }

  private func step() {
    let now = kerb_monotonic_ns()
    var until = speakDue(now)
    switch wire.next(at: now) {
    case .answer(let frame, let endedAt):
      // The silence that ends a request is also what a slave waits before it speaks.
      let emissions = line.devices.withLock { $0.answer(frame, atNs: now - line.startedAt, gapNs: wire.gapNs) }
      wire.plan(emissions, endedAt: endedAt)
      return
    case .write(let bytes):
      send(bytes)
      return
    case .wait(let wakeAt): until = Swift.min(until, wakeAt)
    }
    guard let (master, watch) = descriptors else {
      _ = waitForInput([line.wake.readEnd], until: Swift.min(until, now + PtyLoop.replugNs))
      line.wake.clear()
      return
    }
    let ready = waitForInput([master, line.wake.readEnd, watch], until: until)
    if ready[1] { line.wake.clear() }
    if ready[0] { receive(from: master) }
    if ready[2], end?.noticeOpeners() == true { wire.reset() }
  }

  private func receive(from master: Int32) {
    var buffer = [UInt8](repeating: 0, count: 512)
    let count = buffer.withUnsafeMutableBytes { read(master, $0.baseAddress, $0.count) }
    let arrived = kerb_monotonic_ns()
    guard count > 0 else { return }
    line.devices.withLock { $0.counts.bytesIn += count }
    guard listens else { return }
    // At another speed a device hears nothing that it could answer. (A pty forgets the parity.)
    if line.spec.strict {
      let baud = kerb_tty_baud(master)
      if baud > 0, Int(baud) != line.spec.format.baud { return }
    }
    let early = wire.early
    wire.received(Array(buffer.prefix(count)), at: arrived)
    if wire.early > early { line.devices.withLock { $0.counts.early += wire.early - early } }
  }

  /// What the port's buffer doesn't take is lost, as on a UART.
  private func send(_ bytes: [UInt8]) {
    guard let master = end?.master else { return }
    _ = bytes.withUnsafeBytes { write(master, $0.baseAddress, $0.count) }
    let finished = wire.isSilent
    line.devices.withLock {
      $0.counts.bytesOut += bytes.count
      if finished { $0.counts.replies += 1 }
    }
  }

  private func plug(_ wanted: Bool) {
    if !wanted, end != nil {
      end = nil
      wire.reset()
      line.happened(line.spec.name, .lineUnplugged, at: kerb_monotonic_ns())
    } else if wanted, end == nil {
      end = try? PtyEnd(link: path)
      guard end != nil else { return }
      line.happened(line.spec.name, .linePlugged, at: kerb_monotonic_ns())
    }
  }

  // MARK: Speaking

  private func speakDue(_ now: Int64) -> Int64 {
    var soonest = Int64.max
    for index in speakers.indices {
      if speakers[index].nextAt <= now {
        let name = speakers[index].device
        let time = speakers[index].nextAt - line.startedAt
        if let said = line.devices.withLock({ $0.device(name)?.spokenFrame(atNs: time) }) { speak([(name, said)]) }
        speakers[index].advance()
      }
      soonest = Swift.min(soonest, speakers[index].nextAt)
    }
    return soonest
  }

  /// Nobody listens to a port that is not open: those bytes are gone.
  private func speak(_ speech: [(device: String, line: [UInt8])]) {
    for (device, bytes) in speech {
      let now = kerb_monotonic_ns()
      if (end?.openers ?? 0) > 0 { wire.plan([Emission(bytes: bytes)], endedAt: now) }
      let shown = bytes.filter { $0 >= 0x20 }
      line.happened(device, .spoke(String(decoding: shown, as: UTF8.self)), at: now)
    }
  }
}

/// When a device on a serial line says something next: between half and one and a half of the mean.
private struct Speaker {
  let device: String
  let everyNs: Int64
  let seed: UInt64
  private var round: UInt64 = 0
  private(set) var nextAt: Int64

  init(device: String, everyNs: Int64, seed: UInt64, from start: Int64) {
    self.device = device
    self.everyNs = everyNs
    self.seed = seed
    nextAt = start
    advance()
  }

  mutating func advance() {
    nextAt += Int64(Double(everyNs) * (0.5 + unit(seed &+ round)))
    round += 1
  }
}
