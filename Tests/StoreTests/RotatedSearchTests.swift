import Testing

@testable import Store

@Suite("Finding the newest entry of a ring")
struct RotatedSearchTests {
  private func ring(_ slots: Int64, newest: Int64?) -> [SlotContent] {
    (0..<slots).map { slot in
      guard let newest else { return .empty }
      return slot > newest ? .empty : .number(newest - (newest - slot) % slots)
    }
  }

  private func find(_ ring: [SlotContent]) throws -> (NewestEntry, looks: Int) {
    var looks = 0
    let found = try RotatedSearch.newest(slots: Int64(ring.count)) { (slot) throws(StoreFailure) in
      looks += 1
      return ring[Int(slot)]
    }
    return (found, looks)
  }

  @Test("It is found at every place of every lap, with a logarithm of looks")
  func everywhere() throws {
    for slots in [1, 2, 3, 7, 16, 33] as [Int64] {
      #expect(try find(ring(slots, newest: nil)).0 == NewestEntry(number: nil))
      for newest in 0..<(slots * 3) {
        let (found, looks) = try find(ring(slots, newest: newest))
        #expect(found == NewestEntry(number: newest), "slots \(slots), newest \(newest)")
        #expect(looks <= 8)
      }
    }
  }

  @Test("Damage anywhere never hides a newer entry that can be read, and a damaged end is told")
  func damage() throws {
    let slots: Int64 = 9
    for newest in 0..<(slots * 3) {
      for damaged in 0..<slots {
        var ring = ring(slots, newest: newest)
        ring[Int(damaged)] = .damaged
        let found = try find(ring).0
        if damaged == newest % slots {
          #expect(found.number == (newest == 0 ? nil : newest - 1))
          #expect(found.doubtful == 1)
        } else {
          #expect(found.number == newest, "newest \(newest), damaged \(damaged)")
        }
      }
    }
  }

  @Test(
    "Many damaged slots are passed one by one; a large ring is not read as a whole",
    arguments: 1...20 as ClosedRange<UInt64>)
  func large(seed: UInt64) throws {
    var random = Seeded(seed)
    let slots: Int64 = 1 << 16
    let newest = Int64.random(in: 0..<(3 * slots), using: &random)
    var ring = ring(slots, newest: newest)
    for _ in 0..<600 { ring[Int.random(in: 0..<ring.count, using: &random)] = .damaged }
    ring[0] = .damaged
    let best = ring.reduce(Int64(-1)) { if case .number(let number) = $1 { max($0, number) } else { $0 } }
    let (found, looks) = try find(ring)
    #expect(found.number == (best < 0 ? nil : best))
    #expect(looks < 200 || best < 0, "\(looks) looks")
  }
}
