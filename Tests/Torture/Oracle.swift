// What the victims have said, kept outside of their folder and their process: nothing of it may ever turn out wrong.

import StreamCore

import Store

struct Oracle {
  /// Of the store in use.
  private(set) var durable = Position()
  private(set) var held = Position()
  private var store: String?
  private var epoch: UInt32 = 0
  private var offsets: [UInt32: Int64] = [:]
  /// Of the run before: samples handed over and when, over `base` sequences from before it. By the victim's own time: a
  /// pause between two hand-overs that only a machine that stands still makes counts as `pauseNsMax`.
  private var handed: [(count: Int64, livedNs: Int64)] = []
  private var base: Int64 = 0
  private var livedNs: Int64 = 0
  private var seenNs: Int64 = 0
  /// Twice what a victim rests at the most.
  private static let pauseNsMax: Int64 = 80_000_000

  /// Over all stores.
  private(set) var starts = 0
  private(set) var eventsSafe: Int64 = 0
  private(set) var samplesSafe: Int64 = 0
  private(set) var samplesLost: Int64 = 0
  private(set) var oldestLossNs: Int64 = 0
  private(set) var violations: [String] = []
  private(set) var hasVerified = false
  /// When the power began to go.
  private var cutNs = Int64.max

  mutating func renew() {
    durable = Position()
    held = Position()
    store = nil
    epoch = 0
    offsets = [:]
    handed = []
  }

  mutating func begins() { (hasVerified, cutNs) = (false, .max) }
  /// `ns`: before the first thing was done to take it.
  mutating func powerIsGone(from ns: Int64) { cutNs = ns }

  /// The victim is no more; `ns`: since when nothing it did could last.
  mutating func ended(_ ns: Int64) { lives(until: ns) }

  private mutating func lives(until ns: Int64) {
    livedNs += max(0, min(ns - seenNs, Self.pauseNsMax))
    seenNs = ns
  }

  mutating func violation(_ text: String) { violations.append(text) }

  mutating func take(_ line: Substring, commitNs: Int64, slackNs: Int64) {
    let words = line.split(separator: " ")
    let numbers = words.dropFirst().map { Int64($0) ?? 0 }
    switch words.first {
    case "S" where numbers.count == 6: started(String(words[1]), numbers, commitNs + slackNs)
    case "O" where numbers.count == 2:
      let epoch = UInt32(clamping: numbers[0])
      if offsets.updateValue(numbers[1], forKey: epoch).map({ $0 != numbers[1] }) == true {
        violations.append("ids of epoch \(epoch) have other contents than before")
      }
    case "V": hasVerified = true
    case "P" where numbers.count == 2:
      lives(until: numbers[1])
      handed.append((numbers[0], livedNs))
    // A sync that is under way while ext4 shuts down may say well and not be. What a victim knew to be durable before
    // that began is promised, whenever it is read here.
    case "D" where numbers.count == 3 && numbers[2] >= cutNs: break
    case "D" where numbers.count == 3:
      eventsSafe += max(0, numbers[0] - durable.alarms)
      samplesSafe += max(0, numbers[1] - durable.telemetry)
      durable = Position(alarms: max(durable.alarms, numbers[0]), telemetry: max(durable.telemetry, numbers[1]))
    case "A" where numbers.count == 2: held = Position(alarms: numbers[0], telemetry: numbers[1])
    case "X": violations.append(String(line.dropFirst(2)))
    default: break
    }
  }

  private mutating func started(_ id: String, _ numbers: [Int64], _ lossNs: Int64) {
    starts += 1
    if let store, store != id { violations.append("a new store: the old one was taken for broken") }
    store = id
    let found = UInt32(clamping: numbers[1])
    if found <= epoch { violations.append("epoch \(found) after \(epoch)") }
    epoch = found
    if numbers[2] < durable.alarms {
      violations.append("events up to \(durable.alarms) were safe; \(numbers[2]) are there")
    }
    if numbers[3] < durable.telemetry {
      violations.append("samples up to \(durable.telemetry) were safe; \(numbers[3]) are there")
    }
    if numbers[4] > held.alarms || numbers[5] > held.telemetry {
      violations.append("the cursor is at \(numbers[4])/\(numbers[5]), ahead of \(held.alarms)/\(held.telemetry)")
    }
    if let last = handed.last, base + last.count > numbers[3],
      let oldest = handed.first(where: { base + $0.count > numbers[3] })
    {
      samplesLost += base + last.count - numbers[3]
      let ageNs = livedNs - oldest.livedNs
      oldestLossNs = max(oldestLossNs, ageNs)
      if ageNs > lossNs { violations.append("lost samples were \(ageNs / 1_000_000) ms old") }
    }
    durable = Position(alarms: max(durable.alarms, numbers[2]), telemetry: max(durable.telemetry, numbers[3]))
    base = numbers[3]
    handed = []
  }
}
