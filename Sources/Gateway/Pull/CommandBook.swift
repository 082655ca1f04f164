// What the platforms have commanded lately: how often each, and what it was answered, so that a command that is sent
// again under its key is answered again and not carried out again. Lives on the event loop; time is a parameter.
//
// Invariants:
//  1. Bounded: a page for each consumer, `Limits.commandKeysMax` answers on it, each of at most
//     `commandAnswerBytesMax`; after `commandKeyNs` they are forgotten.
//  2. A key that is under way is not forgotten before it is answered or given back.

import StreamCore

package struct CommandBook: Sendable {
  package enum Known {
    case new
    /// The first one with this key is not answered yet.
    case underWay
    /// The key stands for another command.
    case another
    case answered(PullAnswer)
  }

  private struct Entry {
    var key: String
    /// Of the command: a hash.
    var print: [UInt8]
    var at: Instant
    var answer: PullAnswer?
  }

  private struct Page {
    /// Oldest first.
    var entries: [Entry] = []
    var allowance = Double(Limits.commandsBurstMax)
    var countedAt: Instant?
  }

  private var pages: [String: Page] = [:]

  package init() {}

  /// What a consumer's page takes at most.
  package static let bytes =
    Limits.commandKeysMax * (Limits.commandAnswerBytesMax + Limits.commandKeyBytesMax + Sodium.hashBytes + 128)

  package func known(_ key: String, _ print: [UInt8], of consumer: String, at now: Instant) -> Known {
    guard let entry = pages[consumer]?.entries.first(where: { $0.key == key }) else { return .new }
    if entry.answer != nil, now - entry.at > Limits.commandKeyNs { return .new }
    if entry.print != print { return .another }
    return entry.answer.map { .answered($0) } ?? .underWay
  }

  /// Counts a command; false: it sends too many. A bucket that fills at `Limits.commandsPerSecondMax`.
  package mutating func admits(_ consumer: String, at now: Instant) -> Bool {
    var page = pages[consumer] ?? Page()
    let seconds = page.countedAt.map { Double(now - $0) / 1e9 } ?? 0
    page.countedAt = now
    let filled = page.allowance + max(0, seconds) * Double(Limits.commandsPerSecondMax)
    page.allowance = min(Double(Limits.commandsBurstMax), filled)
    let admits = page.allowance >= 1
    if admits { page.allowance -= 1 }
    pages[consumer] = page
    return admits
  }

  /// From here on the key is under way.
  package mutating func begin(_ key: String, _ print: [UInt8], of consumer: String, at now: Instant) {
    var page = pages[consumer] ?? Page()
    page.entries.removeAll { $0.answer != nil && ($0.key == key || now - $0.at > Limits.commandKeyNs) }
    if page.entries.count >= Limits.commandKeysMax, let oldest = page.entries.firstIndex(where: { $0.answer != nil }) {
      page.entries.remove(at: oldest)
    }
    page.entries.append(Entry(key: key, print: print, at: now))
    pages[consumer] = page
  }

  /// Nil: nothing was done, and the key may be used again.
  package mutating func end(_ key: String, of consumer: String, with answer: PullAnswer?) {
    guard let index = pages[consumer]?.entries.firstIndex(where: { $0.key == key }) else { return }
    if let answer, answer.body.count <= Limits.commandAnswerBytesMax {
      pages[consumer]?.entries[index].answer = answer
    } else {
      pages[consumer]?.entries.remove(at: index)
    }
  }

  /// For whoever serves the consumers from now on. What was not answered never will be: its key may be used again.
  func handedOver() -> CommandBook {
    var book = self
    for name in book.pages.keys { book.pages[name]?.entries.removeAll { $0.answer == nil } }
    return book
  }

  /// The others are gone.
  package mutating func keep(_ consumers: [String]) { pages = pages.filter { consumers.contains($0.key) } }

  package func keys(of consumer: String) -> Int { pages[consumer]?.entries.count ?? 0 }

  /// On the fullest page.
  package var keysMost: Int { pages.values.map(\.entries.count).max() ?? 0 }
}
