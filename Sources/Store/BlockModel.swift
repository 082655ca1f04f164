// What packer and unpacker of a block expect next, and how both learn from what came: one description for
// both directions, so that they can't differ. All memory is taken at init. The format in words:
// docs/storage-format.md.
//
//   cut? -> source -> series (+Series) -> time (+Times) -> mark -> value (+Values)
//
// Invariants:
//  1. Everything learned is of this block: after `clear` the model is as new.
//  2. Nothing that a decoder may read leads outside the memory; what can't be is noted in `isImpossible`.

import StreamCore

/// A sample on its way through the coder.
struct PackedSample {
  var ms: Int64 = 0
  /// Of a text: its length.
  var raw: Int64 = 0
  var series: UInt16 = 0
  /// Who handed it over: a bus.
  var source: UInt8 = 0
  /// Quality (bits 0 and 1), «has a text» (bit 2).
  var mark: UInt8 = 0
  /// A commit ended in front of it.
  var isCut = false
}

/// What is remembered of a series: 64 bytes, as much as a processor fetches at once.
struct PackedSeries: BitwiseCopyable {
  var raw: Int64 = 0
  /// Before its last change.
  var rawBefore: Int64 = 0
  var ms: Int64 = 0
  /// When it is expected next, while it is listed.
  var dueMs: Int64 = 0
  /// That it comes when it is due: by whether it would be at the time of the sample before.
  var hit = Chance.even
  var hitAtOnce = Chance.even
  /// What its steps in time have in common, in tenths of a second; 0: not known.
  var period: Int32 = 0
  var number: UInt16 = 0
  /// Place of the series that came after it the last time, from the same source.
  var follower = BlockModel.none
  /// Its neighbours in the source's list.
  var before = BlockModel.none
  var after = BlockModel.none
  var kind: UInt16 = 0
  var source: UInt8 = 0
  var mark: UInt8 = 0
  /// Times in a row that it was due and did not come.
  var misses: UInt8 = 0
  /// Bits of its last difference, and its sign: 1 up, 2 down.
  var magnitude: UInt8 = 0
  var sign: UInt8 = 0
  /// The last two answers to «as before its last change».
  var returns: UInt8 = 0
  /// Searches for a kind that found none; the unpacker has no use for it.
  var failures: UInt8 = 0
  private var flags: UInt8 = 0

  var isListed: Bool {
    get { flags & 1 != 0 }
    set { flags = newValue ? flags | 1 : flags & ~1 }
  }
  var hasValue: Bool {
    get { flags & 2 != 0 }
    set { flags = newValue ? flags | 2 : flags & ~2 }
  }
  var wasFollowed: Bool {
    get { flags & 4 != 0 }
    set { flags = newValue ? flags | 4 : flags & ~4 }
  }
  /// It came a little off its time the last time.
  var isOff: Bool {
    get { flags & 8 != 0 }
    set { flags = newValue ? flags | 8 : flags & ~8 }
  }
}

final class BlockModel {
  /// Series that one block tells apart.
  static let seriesMax = Limits.seriesPerBlockMax
  static let sourcesMax = 32
  static let listsPerSource = 4
  static let none = UInt16.max

  /// How a series was told.
  enum Way: Int { case followed, due, known, new }

  /// Of series that are due, by time.
  struct List: BitwiseCopyable {
    var first = BlockModel.none
    var last = BlockModel.none
  }

  struct Source: BitwiseCopyable {
    var ms: Int64 = 0
    /// Time of the first sample since it has had the word.
    var sinceMs: Int64 = 0
    var previous = -1
    var way = Way.new.rawValue
    /// Number of the sample before.
    var position = -1
    /// Who had the word after it.
    var next: UInt8 = 0
  }

  /// Where the chances of each question stand.
  enum Place {
    static let cut = 0
    static let source = 1
    static let nextSource = 9
    static let due = 10
    static let follows = due + 16
    static let isNew = follows + 8
    static let isOther = isNew + 4
    static let isForeign = isOther + 1
    static let up = isForeign + 1
    static let sameTime = up + 4
    static let onTime = sameTime + 16
    static let sameMark = onTime + 2
    static let otherKind = sameMark + 1
    static let recentKind = otherKind + 2
    static let returned = recentKind + 8
    static let sign = returned + 4
    static let sameReference = sign + 48
    static let recentReference = sameReference + 1
    /// Two for each length of a period in bits.
    static let hits = recentReference + 1
    static let small = hits + 48
    static let large = small + Small.count * NumberChances.count(rows: NumberChances.narrow)
    static let count = large + Large.count * NumberChances.count(rows: NumberChances.wide)
  }

  /// Kinds of numbers, each with its own chances.
  enum Small {
    static let known = 0
    static let newUp = 1
    static let newDown = 2
    static let newTime = 3
    static let newNeighbourTime = 4
    static let seconds = 5
    static let rest = 6
    static let jitter = 7
    static let textLength = 8
    static let reference = 9
    static let other = 10
    /// Of scales of ten, of scales of two.
    static let ulps = 11
    static let count = 13
  }

  enum Large {
    static let firstIntegers = 0
    static let integers = 1
    static let firstQuotients = 2
    static let quotients = 3
    static let count = 4
  }

  /// Moments that differ by less are one.
  static let nearMs: Int64 = 3

  let chances: UnsafeMutablePointer<Chance>
  let table: UnsafeMutablePointer<PackedSeries>
  let sources: UnsafeMutablePointer<Source>
  /// Of each source four: of periods up to a second, below 5 s, below 30 s, and longer ones.
  let lists: UnsafeMutablePointer<List>
  let order: UnsafeMutablePointer<UInt16>
  /// By series: its place in `table` + 1; 0: not met yet.
  var places: [UInt16]
  var seriesCount = 0
  var source = -1
  /// Kinds that were used, and distances of references, the newest first.
  let kinds: UnsafeMutablePointer<UInt16>
  let references: UnsafeMutablePointer<Int32>
  var kindCount = 0
  var referenceCount = 0
  var isImpossible = false

  static let kindsMax = 8
  static let referencesMax = 5

  static func bytes(seriesCount: Int) -> Int {
    Place.count * MemoryLayout<Chance>.stride + seriesMax * (MemoryLayout<PackedSeries>.stride + 2)
      + sourcesMax * (MemoryLayout<Source>.stride + listsPerSource * MemoryLayout<List>.stride) + 2 * seriesCount
  }

  init(seriesCount: Int) {
    chances = .allocate(capacity: Place.count)
    chances.initialize(repeating: Chance.even, count: Place.count)
    let bytes = Self.seriesMax * MemoryLayout<PackedSeries>.stride
    table = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64).assumingMemoryBound(to: PackedSeries.self)
    table.initialize(repeating: PackedSeries(), count: Self.seriesMax)
    sources = .allocate(capacity: Self.sourcesMax)
    sources.initialize(repeating: Source(), count: Self.sourcesMax)
    lists = .allocate(capacity: Self.sourcesMax * Self.listsPerSource)
    lists.initialize(repeating: List(), count: Self.sourcesMax * Self.listsPerSource)
    order = .allocate(capacity: Self.seriesMax)
    order.initialize(repeating: 0, count: Self.seriesMax)
    kinds = .allocate(capacity: Self.kindsMax)
    kinds.initialize(repeating: 0, count: Self.kindsMax)
    references = .allocate(capacity: Self.referencesMax)
    references.initialize(repeating: 0, count: Self.referencesMax)
    places = [UInt16](repeating: 0, count: max(1, seriesCount))
    clear()
  }

  deinit {
    chances.deallocate()
    table.deallocate()
    sources.deallocate()
    lists.deallocate()
    order.deallocate()
    kinds.deallocate()
    references.deallocate()
  }

  func clear() {
    for index in 0..<seriesCount { places[Int(table[index].number)] = 0 }
    sources.update(repeating: Source(), count: Self.sourcesMax)
    lists.update(repeating: List(), count: Self.sourcesMax * Self.listsPerSource)
    seriesCount = 0
    source = -1
    kindCount = 0
    referenceCount = 0
    isImpossible = false
    chances.update(repeating: Chance.even, count: Place.small)
    chances[Place.cut] = Chance(no: 64_880, asked: 20)
    chances[Place.isOther] = Chance(no: 49_152, asked: 2)
    chances[Place.isForeign] = Chance(no: 62_259, asked: 4)
    chances[Place.sameMark] = Chance(no: 1_310, asked: 20)
    chances[Place.otherKind] = Chance(no: 58_982, asked: 4)
    chances[Place.otherKind + 1] = Chance(no: 58_982, asked: 4)
    chances[Place.sameReference] = Chance(no: 19_660, asked: 3)
    for length in 0..<24 {
      chances[Place.hits + 2 * length] = Chance(no: 39_321, asked: 1)
      chances[Place.hits + 2 * length + 1] = Chance(no: 19_660, asked: 1)
    }
    for kind in 0..<Small.count { NumberChances.clear(small(kind), rows: NumberChances.narrow) }
    for kind in 0..<Large.count { NumberChances.clear(large(kind), rows: NumberChances.wide) }
  }

  /// The packer asks before it begins with a sample.
  func hasRoom(for series: UInt16) -> Bool { seriesCount < Self.seriesMax || place(of: Int(series)) >= 0 }

  @inline(__always)
  private func small(_ kind: Int) -> UnsafeMutablePointer<Chance> {
    chances + (Place.small &+ kind &* NumberChances.count(rows: NumberChances.narrow))
  }

  @inline(__always)
  private func large(_ kind: Int) -> UnsafeMutablePointer<Chance> {
    chances + (Place.large &+ kind &* NumberChances.count(rows: NumberChances.wide))
  }

  @inline(__always)
  func pass<Side: Coder>(_ number: UInt64, small kind: Int, near length: Int, _ side: inout Side) -> UInt64 {
    NumberChances.pass(number, near: length, small(kind), rows: NumberChances.narrow, &side)
  }

  @inline(__always)
  func pass<Side: Coder>(_ number: UInt64, large kind: Int, near length: Int, _ side: inout Side) -> UInt64 {
    NumberChances.pass(number, near: length, large(kind), rows: NumberChances.wide, &side)
  }

  // MARK: One sample

  /// Whatever `side` does not give is what `sample` has.
  func pass<Side: Coder>(_ sample: inout PackedSample, _ side: inout Side) {
    sample.isCut = side.decide(sample.isCut, &chances[Place.cut])
    let isFirst = source < 0
    let (hasChanged, head) = passSource(&sample, &side)
    let own = sources + source
    let previous = own.pointee.previous
    let (place, way, dueMs) = passSeries(sample, own, head: head, &side)
    let entry = table + place
    sample.series = entry.pointee.number
    if isFirst {
      passFirstTime(&sample, &side)
    } else if way == .due {
      sample.ms = passDueTime(sample.ms, dueMs, own, &side)
    } else {
      sample.ms = passTime(sample.ms, entry, own, way, &side)
    }
    note(entry, place, own, way, ms: sample.ms, dueMs: dueMs)
    if hasChanged { own.pointee.sinceMs = sample.ms }
    if previous >= 0 { table[previous].follower = UInt16(truncatingIfNeeded: place) }
    own.pointee.previous = place
    own.pointee.position = Int(sample.series)
    own.pointee.way = way.rawValue

    let isSameMark = side.decide(sample.mark == entry.pointee.mark, &chances[Place.sameMark])
    if isSameMark {
      sample.mark = entry.pointee.mark
    } else {
      sample.mark = UInt8(truncatingIfNeeded: side.plain(UInt64(sample.mark), count: 3))
    }
    entry.pointee.mark = sample.mark
    if sample.mark & 4 != 0 {
      let length = pass(UInt64(bitPattern: sample.raw), small: Small.textLength, near: 4, &side)
      sample.raw = Int64(bitPattern: length)
    } else {
      sample.raw = passValue(sample.raw, entry, place, &side)
    }
  }

  /// Whether the word went to another one, and who is due first of those that have it now.
  @inline(__always)
  private func passSource<Side: Coder>(
    _ sample: inout PackedSample, _ side: inout Side
  ) -> (hasChanged: Bool, head: Int) {
    guard source >= 0 else {
      source = Int(side.plain(UInt64(sample.source), count: 5))
      return (true, -1)
    }
    let own = sources + source
    var nextMs = own.pointee.ms
    let head = head(of: own)
    if head >= 0 { nextMs = max(nextMs, table[head].dueMs) }
    let age = min(7, max(0, (nextMs &- own.pointee.sinceMs) / 200))
    let asked = Place.source &+ Int(truncatingIfNeeded: age)
    guard side.decide(Int(sample.source) != source, &chances[asked]) else { return (false, head) }
    let ms = own.pointee.ms
    let guess = own.pointee.next
    let next: UInt8
    if side.decide(sample.source == guess, &chances[Place.nextSource]) {
      next = guess
    } else {
      next = UInt8(truncatingIfNeeded: side.plain(UInt64(sample.source), count: 5))
    }
    own.pointee.next = next
    source = Int(next)
    if sources[source].previous < 0 { sources[source].ms = ms }
    return (true, self.head(of: sources + source))
  }
}
