// All boxes, and the clock that they live by. Main thread.
//
// Invariant: what a box makes is taken by its store, or counted as lost; the account at the end says which.

import CLinux
import Glibc
import Logging
import NIOPosix

struct Fleet {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let tally = Tally()
  private var boxes: [Box] = []
  private let samplesPerSecond: Int64

  /// Ten times a second every box makes a tenth of its second.
  private static let tickNs: Int64 = 100_000_000
  /// For what is left after the last record was made.
  private static let settleSeconds: Int64 = 120

  init(boxes count: Int, samplesPerSecond: Int64, url: String, folder: String) {
    self.samplesPerSecond = samplesPerSecond
    for number in 1...count {
      guard let box = Box(number, url: url, folder: folder, group: group, tally: tally) else { exit(1) }
      boxes.append(box)
      tell(#"{"box":"\#(box.name)","store":"\#(box.storeID)"}"#)
    }
  }

  /// True: everything was delivered.
  mutating func run(seconds: Int64) -> Bool {
    let startNs = kerb_monotonic_ns()
    var tick: Int64 = 0
    while tick < seconds * 10 {
      tick += 1
      guard isOpen(until: startNs + tick * Self.tickNs) else { return false }
      let due = tick * samplesPerSecond / 10
      // An alarm every five seconds, each box at its own moment.
      for (index, box) in boxes.enumerated() { box.make(upTo: due, alarm: (tick + Int64(index)) % 50 == 0) }
      if tick % 10 == 0 { report(second: tick / 10) }
    }
    for box in boxes { box.flush() }
    var second = seconds
    let last = seconds + Self.settleSeconds
    while second < last, !boxes.allSatisfy({ $0.account().isSettled }) {
      second += 1
      guard isOpen(until: startNs + second * 1_000_000_000) else { return false }
      report(second: second)
    }
    return leave()
  }

  private func leave() -> Bool {
    var isSettled = true
    for box in boxes {
      let account = box.account()
      isSettled = isSettled && account.isSettled
      tell(account.line(of: box.name))
    }
    tell(#"{"settled":\#(isSettled)}"#)
    for box in boxes { box.stop() }
    try? group.syncShutdownGracefully()
    return isSettled
  }

  private func report(second: Int64) {
    let sum = tally.now
    let produced = boxes.reduce(0) { $0 + $1.made }
    tell(
      #"{"second":\#(second),"produced":\#(produced),"opened":\#(sum.opened),"lost":\#(sum.lost),"#
        + #""refused":\#(sum.refused),"delivered":\#(sum.delivered)}"#)
  }

  /// Waits. False: whoever started this is gone.
  private func isOpen(until ns: Int64) -> Bool {
    while true {
      let leftNs = ns - kerb_monotonic_ns()
      guard leftNs > 0 else { return true }
      var input = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
      guard poll(&input, 1, Int32(leftNs / 1_000_000) + 1) > 0 else { continue }
      var byte: UInt8 = 0
      if read(0, &byte, 1) <= 0 { return false }
    }
  }
}

/// One line, one write.
func tell(_ line: String, to file: Int32 = 1) {
  let bytes = Array((line + "\n").utf8)
  _ = write(file, bytes, bytes.count)
}
