import FieldBus
import StreamCore
import Testing

@Suite struct ExpressionTests {
  private let site = [
    named("manhole-1", "tilt:deg", "battery:V", "lid-open", "card", "state", "note", "power:kW", "load:W") {
      $0.points[3].type = .text(characters: 8)
      $0.points[3].personal = true
      $0.points[4].values = [0: "closed", 1: "open", 2: "ajar", 3: "ajar"]
      $0.points[5].type = .text(characters: 8)
    },
    named("pump-1", "flow:l/s", "power:kW"), named("pump.2", "flow", "card") { $0.points[1].personal = true },
  ]

  private func rig(_ text: String) throws -> ExpressionRig {
    let rig = ExpressionRig(site)
    try rig.load(text)
    for (point, value) in [20, 3, 0, 0, 1, 0, 2, 1_500].enumerated() { rig.set(point, Double(value)) }
    rig.setForeign(LinkTarget(device: 1, point: 0), 4)
    rig.setForeign(LinkTarget(device: 2, point: 0), 5)
    return rig
  }

  @Test(
    "expressions mean what they say",
    arguments: [
      ("tilt > 15 and battery > 2.5", 1.0), ("tilt > 15 and battery > 3.5", 0), ("tilt == 20", 1),
      ("not tilt == 20", 0),
      ("tilt - 2 * 3 - 1", 13), ("(tilt - 2) * battery", 54), ("lid-open or tilt >= 20", 1), ("lid-open", 0),
      ("not lid-open and true", 1), ("-tilt < -19.5", 1), ("tilt != 0x14", 0),
      ("tilt < 5 or battery < 5 and tilt < 5", 0),
      ("min(tilt, 7, 30)", 7), ("max(tilt, 7, 30) + abs(3 - 5)", 32), ("abs(-tilt)", 20), ("1e-3 * tilt", 0.02),
      ("state == 'open'", 1), ("\"closed\" == state", 0), ("state != 'closed' and state == 1", 1),
      ("@pump-1.flow + 1", 5), ("@pump.2.flow", 5), ("@manhole-1.tilt", 20), ("power * 1000 - load", 500),
      ("8 / 4 / 2", 1), ("tilt>15", 1), ("2 - -2", 4),
    ])
  func evaluates(text: String, expected: Double) throws {
    #expect(try rig(text).evaluate() == Reading(value: expected, quality: .good))
  }

  @Test(
    "what can't be compiled says where and why",
    arguments: [
      ("tlit > 15", 0, "did you mean \"tilt\""), ("tilt > ", 7, "missing before the end"),
      ("tilt > 15 battery", 10, "\"battery\" is one too many"), ("tilt > 1 > 2", 9, "don't chain"),
      ("tilt = 1", 5, "write =="), ("(tilt > 1", 9, "closing parenthesis"), ("card > 1", 0, "is personal"),
      ("note > 1", 0, "is a text"), ("tilt > 1 and battery + 2", 13, "is a number"), ("tilt > 1x", 7, "not a number"),
      ("tilt > 1 && true", 9, "in words"), ("", 0, "missing"), ("tilt > $", 7, "means nothing"),
      ("tilt-battery", 0, "put spaces around the minus"), ("tilt + (battery > 2)", 7, "this side is a condition"),
      ("mix(tilt, 2)", 0, "no function \"mix\"; did you mean \"max\""),
      ("median(tilt)", 0, "there are abs, age, falling, max, min, rising"),
      ("min(tilt)", 8, "two values or more"), ("abs(tilt, 2)", 10, "takes one value"), ("abs(tilt", 8, "closing"),
      ("age(tilt + 1)", 4, "name of a point"), ("age(3)", 4, "name of a point"),
      ("rising(tilt + 1)", 7, "takes a condition"),
      ("state == 'opne'", 9, "did you mean \"open\""), ("state == 'x'", 9, "it has \"ajar\", \"closed\", \"open\""),
      ("state == 'ajar'", 9, "several values"), ("tilt == 'x'", 8, "its values have no names"),
      ("state > 'open'", 8, "by == or !="), ("'open'", 0, "by == or !="), ("1 == 'open'", 5, "not a point"),
      ("state == 'open", 9, "closing quotation mark"), ("@pump-1 > 1", 0, "write a point of another device as"),
      ("@pmup-1.flow > 1", 0, "did you mean \"@pump-1.flow\""),
      ("@pump-1.flwo > 1", 0, "did you mean \"@pump-1.flow\""),
      ("@x.y > 1", 0, "no device is named \"x\""), ("@pump.2.card == 1", 0, "is personal"),
      ("@pump-1.pressure > 1", 0, "it has flow, power"), ("1e999 > tilt", 0, "not a number"),
    ])
  func refuses(text: String, column: Int, message: String) {
    do {
      try ExpressionRig(site).load(text)
      Issue.record("\(text) was accepted")
    } catch {
      #expect(error.column == column, "\(error)")
      #expect(error.message.contains(message), "\(error)")
    }
  }

  @Test(
    "units that don't agree are named, with the way out",
    arguments: [
      ("tilt + battery", 5, "+ mixes units: tilt is in deg, battery in V; multiply or divide one of them"),
      ("power - load", 6, "- mixes units: power is in kW, load in W; write power * 1000"),
      ("load > power", 5, "> mixes units: load is in W, power in kW; write load / 1000"),
      ("load + 1 < power", 9, "< mixes units: the left side is in W, power in kW; write power * 1000"),
      ("max(load, battery)", 0, "max mixes units: load is in W, battery in V"),
      ("age(tilt) > battery", 10, "> mixes units: age(tilt) is in s, battery in V"),
      ("@pump-1.power == load", 14, "== mixes units: @pump-1.power is in kW, load in W; write @pump-1.power * 1000"),
      ("-tilt + abs(battery)", 6, "+ mixes units: the left side is in deg, the right side in V"),
    ])
  func mixedUnits(text: String, column: Int, message: String) {
    do {
      try ExpressionRig(site).load(text)
      Issue.record("\(text) was accepted")
    } catch {
      #expect(error.column == column, "\(error)")
      #expect(error.message.hasPrefix(message), "\(error)")
    }
  }

  @Test(
    "a sum has the unit of its sides, a product has none",
    arguments: [
      ("power - @pump-1.power", "kW"), ("load + 5", "W"), ("5 + load", "W"), ("-abs(load)", "W"), ("max(1, load)", "W"),
      ("power * 1000", nil), ("load / load", nil), ("lid-open + load", "W"), ("lid-open", nil), ("age(tilt)", "s"),
      ("1 + 2", nil), ("power * 1000 + load", "W"),
    ])
  func units(text: String, unit: String?) throws {
    #expect(try rig(text).compiled.unit == unit)
  }

  @Test("a condition must be one")
  func conditions() throws {
    let names = SiteNames(site)
    #expect(throws: ExpressionError(column: 0, message: "is a number, not a condition: compare it with something")) {
      try ExpressionCompiler.condition("tilt + 1", device: 0, names: names)
    }
    _ = try ExpressionCompiler.condition("lid-open", device: 0, names: names)
  }

  @Test("neither depth nor length of a text can hurt")
  func bounds() {
    let many = Array(repeating: "tilt", count: 1_000).joined(separator: ", ")
    let open = (0..<40).map { "tilt + (\($0) " }.joined()
    let close = String(repeating: ")", count: 40)
    let minus = String(repeating: "-", count: 100_000)
    let garbage = String(repeating: "@", count: 1_000)
    let texts: [String] = [
      String(repeating: "(", count: 100_000), String(repeating: "not ", count: 100_000),
      "\(minus)1", String(repeating: "abs(", count: 100_000),
      Array(repeating: "tilt > 1", count: 1_000).joined(separator: " and "),
      "min(\(many))", "\(open)\(close)", Array(repeating: "age(tilt)", count: 5).joined(separator: " + "),
      "not \(garbage)",
    ]
    for text in texts {
      #expect(throws: ExpressionError.self) { try ExpressionRig(site).load(text) }
    }
  }

  @Test("quality is carried through: the worst of what had a say")
  func quality() throws {
    let rig = try rig("tilt > 15 and battery > 2")
    rig.set(1, 3, .uncertain)
    #expect(rig.evaluate() == Reading(value: 1, quality: .uncertain))
    // «No» needs only one side, and the better one.
    rig.set(0, 10)
    #expect(rig.evaluate() == Reading(value: 0, quality: .good))
    rig.set(0, 20, .stale)
    #expect(rig.evaluate().truth == .unknown)
    rig.set(1, 1)
    #expect(rig.evaluate() == Reading(value: 0, quality: .good))
  }

  @Test("a division by zero says nothing, and neither does what rests on it")
  func division() throws {
    #expect(try rig("tilt / lid-open").evaluate().truth == .unknown)
    #expect(try rig("not (tilt / lid-open > 1)").evaluate().truth == .unknown)
    #expect(try rig("tilt / lid-open > 1 or true").evaluate().truth == .yes)
  }

  @Test("age counts from the last good value; before the first one, from when it was first looked at")
  func age() throws {
    let rig = try rig("age(tilt)")
    #expect(rig.isRestless)
    rig.set(0, 0, .bad)
    #expect(rig.evaluate(at: 5 * second).value == 0)
    #expect(rig.evaluate(at: 8 * second).value == 3)
    rig.set(0, 1, .good, at: 9 * second)
    #expect(rig.evaluate(at: 9 * second).value == 0)
    rig.set(0, 1, .uncertain, at: 11 * second)
    #expect(rig.evaluate(at: 12 * second).value == 3)
    rig.set(0, 1, .bad, at: 13 * second)
    #expect(rig.evaluate(at: 19 * second).value == 10)
  }

  @Test("rising and falling are seen once, and what is unknown in between hides none")
  func edges() throws {
    let rig = try rig("rising(tilt > 15) or falling(battery > 2)")
    rig.set(0, 10)
    #expect(rig.evaluate().truth == .no)
    rig.set(0, 20)
    #expect(rig.evaluate().truth == .yes)
    #expect(rig.evaluate().truth == .no)
    rig.set(1, 1)
    #expect(rig.evaluate().truth == .yes)
    #expect(rig.evaluate().truth == .no)
    rig.set(0, 10)
    _ = rig.evaluate()
    rig.set(0, 10, .bad)
    #expect(rig.evaluate().truth == .unknown)
    rig.set(0, 20)
    #expect(rig.evaluate().truth == .yes)
  }
}
