import FieldBus
import StreamCore
import Testing

@Suite struct ConditionCompilerTests {
  private let points = [
    "tilt": ConditionPoint(number: 0, isNumber: true), "battery": ConditionPoint(number: 1, isNumber: true),
    "lid-open": ConditionPoint(number: 2, isNumber: true), "card": ConditionPoint(number: 3, isNumber: false),
  ]

  /// What the condition says when tilt is 20, battery 3 and lid-open 0.
  private func holds(_ text: String) throws -> Bool {
    let program = try ConditionCompiler.compile(text, points: points)
    var spec = device(1, registers: [0, 1, 2, 3])
    for (index, name) in ["tilt", "battery", "lid-open", "card"].enumerated() { spec.points[index].name = name }
    spec.points[3].type = .text(characters: 2)
    spec.alarms = [AlarmSpec(name: "a", place: nowhere, when: text, whenPlace: nowhere)]
    #expect(!program.isEmpty)
    let rig = BusRig(
      spec: bus(), devices: [spec], line: ScriptedLine(value: { _, address in [20, 3, 0, 0x4141][address] }))
    rig.run(untilNs: 2 * second)
    rig.finish()
    return rig.events.count == 1
  }

  @Test(
    "conditions mean what they say",
    arguments: [
      ("tilt > 15 and battery > 2.5", true), ("tilt > 15 and battery > 3.5", false), ("tilt == 20", true),
      ("not tilt == 20", false), ("tilt - 2 * battery > 13", true), ("(tilt - 2) * battery == 54", true),
      ("lid-open or tilt >= 20", true), ("lid-open", false), ("not lid-open and true", true),
      ("-tilt < -19.5", true), ("tilt / 0 > 1", false), ("tilt != 0x14", false),
      ("tilt < 5 or battery < 5 and tilt < 5", false),
    ])
  func evaluates(text: String, expected: Bool) throws {
    #expect(try holds(text) == expected)
  }

  @Test(
    "what can't be compiled says where and why",
    arguments: [
      ("tlit > 15", 0, "did you mean \"tilt\""), ("tilt > ", 7, "missing before the end"),
      ("tilt > 15 battery", 10, "one too many"), ("tilt + 1", 0, "is a number, not a condition"),
      ("tilt > 1 > 2", 9, "don't chain"), ("tilt = 1", 5, "write =="), ("(tilt > 1", 9, "closing parenthesis"),
      ("card > 1", 0, "is a text"), ("tilt > 1 and battery + 2", 13, "is a number"), ("tilt > 1x", 7, "not a number"),
      ("tilt > 1 && true", 9, "in words"), ("", 0, "missing"), ("tilt > $", 7, "means nothing"),
    ])
  func refuses(text: String, column: Int, message: String) {
    do {
      _ = try ConditionCompiler.compile(text, points: points)
      Issue.record("\(text) was accepted")
    } catch {
      #expect(error.column == column, "\(error)")
      #expect(error.message.contains(message), "\(error)")
    }
  }

  @Test("neither depth nor length of a text can hurt")
  func bounds() {
    for text in [
      String(repeating: "(", count: 100_000), String(repeating: "not ", count: 100_000),
      String(repeating: "-", count: 100_000) + "1",
      Array(repeating: "tilt > 1", count: 1_000).joined(separator: " and "),
    ] {
      #expect(throws: ConditionError.self) { try ConditionCompiler.compile(text, points: points) }
    }
  }
}
