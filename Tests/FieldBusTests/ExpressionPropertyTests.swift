// Random expressions, compiled and run, beside an interpreter that walks the tree: slow, plain, written for the test.

import FieldBus
import StreamCore
import Testing

/// A number with its quality, or nothing.
private struct Known: Equatable {
  var value: Double
  var quality: Quality
}

private indirect enum Tree {
  case number(Double)
  case point(Int)
  case foreign(Int)
  case age(Int)
  /// "-", "abs", "not", "rising", "falling"; `id`: whose memory it is.
  case one(String, Tree, id: Int)
  case two(String, Tree, Tree)

  /// How tightly it binds: or, and, not, comparison, sum, product, the rest.
  var rank: Int {
    switch self {
    case .one("not", _, _): 3
    case .two("or", _, _): 1
    case .two("and", _, _): 2
    case .two("+", _, _), .two("-", _, _): 5
    case .two("*", _, _), .two("/", _, _): 6
    case .two("min", _, _), .two("max", _, _): 8
    case .two: 4
    default: 8
    }
  }

  func text(_ least: Int = 0) -> String {
    let plain: String
    switch self {
    case .number(let value): plain = "\(value)"
    case .point(let point): plain = "p\(point)"
    case .foreign(let point): plain = "@other.p\(point)"
    case .age(let point): plain = "age(p\(point))"
    case .one("not", let side, _): plain = "not \(side.text(3))"
    case .one("-", let side, _): plain = "-\(side.text(7))"
    case .one(let name, let side, _): plain = "\(name)(\(side.text()))"
    case .two(let name, let a, let b) where name == "min" || name == "max": plain = "\(name)(\(a.text()), \(b.text()))"
    case .two(let sign, let a, let b):
      let left = rank == 4 ? 5 : rank
      plain = "\(a.text(left)) \(sign) \(b.text(rank == 4 ? 5 : rank + 1))"
    }
    return rank < least ? "(\(plain))" : plain
  }
}

private struct Reference {
  var points: [Known?] = []
  var foreign: [Known?] = []
  var goodAtNs: [Int64?] = []
  var before: [Int: Bool] = [:]
  var nowNs: Int64 = 0
  /// By age's point: when it was first looked at.
  var firstLook: [Int: Int64] = [:]

  private func finite(_ value: Double, _ quality: Quality) -> Known? {
    value.isFinite ? Known(value: value, quality: quality) : nil
  }

  mutating func value(_ tree: Tree) -> Known? {
    switch tree {
    case .number(let value): return Known(value: value, quality: .good)
    case .point(let point): return points[point]
    case .foreign(let point): return foreign[point]
    case .age(let point):
      if firstLook[point] == nil { firstLook[point] = nowNs }
      let since = goodAtNs[point] ?? firstLook[point] ?? nowNs
      return Known(value: Double(nowNs - since) / 1e9, quality: .good)
    case .one("rising", let side, let id), .one("falling", let side, let id):
      guard let now = value(side) else { return nil }
      let (was, isNow) = (before[id], now.value != 0)
      before[id] = isNow
      var rises = false
      if case .one("rising", _, _) = tree { rises = true }
      return now.with(was.map { $0 != isNow && isNow == rises } ?? false)
    case .one(let name, let side, _):
      guard let now = value(side) else { return nil }
      switch name {
      case "-": return Known(value: -now.value, quality: now.quality)
      case "abs": return Known(value: abs(now.value), quality: now.quality)
      default: return now.with(now.value == 0)
      }
    case .two(let sign, let a, let b): return two(sign, value(a), value(b))
    }
  }

  private func two(_ sign: String, _ a: Known?, _ b: Known?) -> Known? {
    if sign == "and" || sign == "or" {
      let deciding = sign == "or"
      let deciders = [a, b].compactMap { $0 }.filter { ($0.value != 0) == deciding }
      if let best = deciders.map(\.quality).min() { return Known(value: deciding ? 1 : 0, quality: best) }
    }
    guard let a, let b else { return nil }
    let quality = max(a.quality, b.quality)
    func truth(_ holds: Bool) -> Known { Known(value: holds ? 1 : 0, quality: quality) }
    switch sign {
    case "and": return truth(true)
    case "or": return truth(false)
    case "+": return finite(a.value + b.value, quality)
    case "-": return finite(a.value - b.value, quality)
    case "*": return finite(a.value * b.value, quality)
    case "/": return finite(a.value / b.value, quality)
    case "min": return finite(Swift.min(a.value, b.value), quality)
    case "max": return finite(Swift.max(a.value, b.value), quality)
    case "<": return truth(a.value < b.value)
    case "<=": return truth(a.value <= b.value)
    case ">": return truth(a.value > b.value)
    case ">=": return truth(a.value >= b.value)
    case "==": return truth(a.value == b.value)
    default: return truth(a.value != b.value)
    }
  }
}

extension Known {
  fileprivate func with(_ truth: Bool) -> Known { Known(value: truth ? 1 : 0, quality: quality) }
}

private struct Growth {
  var random: SplitMix
  var nextID = 0

  mutating func number(_ depth: Int) -> Tree {
    let leaf = depth == 0 || Int.random(in: 0..<4, using: &random) == 0
    if leaf {
      switch Int.random(in: 0..<8, using: &random) {
      case 0..<2: return .number([0, 1, 2.5, 1e-300, 1e300, 1e308, 255, 0.1].randomElement(using: &random) ?? 0)
      case 2: return .foreign(Int.random(in: 0..<3, using: &random))
      case 3: return .age(Int.random(in: 0..<4, using: &random))
      default: return .point(Int.random(in: 0..<4, using: &random))
      }
    }
    if Int.random(in: 0..<5, using: &random) == 0 {
      return .one(["-", "abs"].randomElement(using: &random) ?? "-", number(depth - 1), id: 0)
    }
    let sign = ["+", "-", "*", "/", "min", "max"].randomElement(using: &random) ?? "+"
    return .two(sign, number(depth - 1), number(depth - 1))
  }

  mutating func truth(_ depth: Int) -> Tree {
    switch depth == 0 ? 3 : Int.random(in: 0..<6, using: &random) {
    case 0: return .one("not", truth(depth - 1), id: 0)
    case 1:
      nextID += 1
      let id = nextID
      return .one(["rising", "falling"].randomElement(using: &random) ?? "rising", truth(depth - 1), id: id)
    case 2: return .two("and", truth(depth - 1), truth(depth - 1))
    case 3:
      let sign = ["<", "<=", ">", ">=", "==", "!="].randomElement(using: &random) ?? "<"
      return .two(sign, number(Swift.max(depth - 1, 0)), number(Swift.max(depth - 1, 0)))
    case 4: return .two("or", truth(depth - 1), truth(depth - 1))
    default: return .point(Int.random(in: 0..<4, using: &random))
    }
  }

  /// What a device may deliver; nil: nothing.
  mutating func reading() -> Known? {
    let value =
      [0, -0.0, 1, -1, 7, 1e308, -1e308, .leastNonzeroMagnitude, .pi, 1e300].randomElement(using: &random) ?? 0
    return [Known(value: value, quality: .good), Known(value: value, quality: .uncertain), nil].randomElement(
      using: &random) ?? nil
  }
}

private struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

@Suite struct ExpressionPropertyTests {
  @Test("a compiled expression says what an interpreter says that walks the tree", arguments: 1...4)
  func property(seed: Int) throws {
    var growth = Growth(random: SplitMix(state: UInt64(seed)))
    let site = [named("own", "p0", "p1", "p2", "p3"), named("other", "p0", "p1", "p2")]
    var compiled = 0
    for _ in 0..<1_000 {
      let depth = Int.random(in: 0...4, using: &growth.random)
      let tree = Bool.random(using: &growth.random) ? growth.number(depth) : growth.truth(depth)
      let text = tree.text()
      let rig = ExpressionRig(site)
      // Some are longer or deeper than what is allowed.
      guard (try? rig.load(text)) != nil else { continue }
      compiled += 1
      var reference = Reference()
      reference.goodAtNs = [nil, nil, nil, nil]
      for step in 1...6 {
        reference.nowNs = Int64(step) * second
        reference.points = (0..<4).map { _ in growth.reading() }
        reference.foreign = (0..<3).map { _ in growth.reading() }
        for (point, known) in reference.points.enumerated() {
          let unusable: Quality = Bool.random(using: &growth.random) ? .bad : .stale
          rig.set(point, known?.value ?? .nan, known?.quality ?? unusable, at: reference.nowNs)
          if known?.quality == .good { reference.goodAtNs[point] = reference.nowNs }
        }
        for (point, known) in reference.foreign.enumerated() {
          rig.setForeign(LinkTarget(device: 1, point: point), known?.value ?? .infinity, known?.quality ?? .bad)
        }
        let expected = reference.value(tree)
        let found = rig.evaluate(at: reference.nowNs)
        if let expected {
          #expect(found == Reading(value: expected.value, quality: expected.quality), "seed \(seed): \(text)")
        } else {
          #expect(!found.isUsable, "seed \(seed): \(text)")
        }
      }
    }
    #expect(compiled > 700, "seed \(seed)")
  }
}
