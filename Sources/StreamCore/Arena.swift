// All memory of the stream, taken in one piece at start. An arena only hands out; nothing is ever given back,
// so nothing can leak or fragment.

package struct Arena: ~Copyable {
  private let base: UnsafeMutableRawPointer
  package let capacityBytes: Int
  package private(set) var usedBytes = 0

  /// Every piece starts on a cache line of its own, so that two threads never share one.
  package static let alignment = 64

  /// `memory`: `capacityBytes` long, aligned to 64, zeroed; it outlives everything made from the arena.
  package init(memory: UnsafeMutableRawPointer, capacityBytes: Int) {
    base = memory
    self.capacityBytes = capacityBytes
  }

  /// What `take` adds for `count` elements.
  package static func bytes<Element: BitwiseCopyable>(of: Element.Type, count: Int) -> Int {
    (MemoryLayout<Element>.stride * Swift.max(count, 1)).rounded(to: alignment)
  }

  /// `count` elements, all equal to `first`. The arena was sized by the same sums: running out is a bug in them.
  package mutating func take<Element: BitwiseCopyable>(
    _: Element.Type, count: Int, first: Element
  ) -> UnsafeMutablePointer<Element> {
    let place = takeBytes(MemoryLayout<Element>.stride * Swift.max(count, 1))
    let elements = place.bindMemory(to: Element.self, capacity: Swift.max(count, 1))
    elements.initialize(repeating: first, count: Swift.max(count, 1))
    return elements
  }

  package mutating func takeBytes(_ bytes: Int) -> UnsafeMutableRawPointer {
    let rounded = bytes.rounded(to: Arena.alignment)
    precondition(usedBytes + rounded <= capacityBytes, "the arena was sized too small")
    let place = base + usedBytes
    usedBytes += rounded
    return place
  }
}
