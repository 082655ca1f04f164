import FieldBus
import Gateway
import StreamCore
import Testing

private func written(_ build: (inout JSONWriter) -> Void) -> String {
  var writer = JSONWriter()
  build(&writer)
  return String(decoding: writer.bytes, as: UTF8.self)
}

private func failure(_ bytes: [UInt8]) -> JSONFailure? {
  do {
    _ = try JSONParser.parse(bytes)
    return nil
  } catch { return error }
}
private func failure(_ text: String) -> JSONFailure? { failure(Array(text.utf8)) }

/// Reproducible: the seed is in the failure message of every test that uses it.
struct Dice: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

@Suite struct JSONTests {
  @Test("Structure gets its commas, and none too many")
  func structure() {
    let text = written {
      $0.object { root in
        root.member("a", 1)
        root.key("b")
        root.array { list in
          list.object { _ in }
          list.array { _ in }
          list.string("x")
          list.null()
        }
        root.member("c", true)
      }
    }
    #expect(text == #"{"a":1,"b":[{},[],"x",null],"c":true}"#)
  }

  @Test("Strings are escaped where JSON demands it, and nowhere else")
  func escapes() {
    #expect(written { $0.string("a\"b\\c\n\r\t\u{1}\u{7F}/井盖🕳") } == #""a\"b\\c\n\r\t\u0001\u007f/井盖🕳""#)
    #expect(written { $0.string(joining: "box", "/", "a\"b") } == #""box/a\"b""#)
  }

  @Test("Numbers are the shortest that read back the same; NaN and infinities are null")
  func numbers() {
    #expect(written { $0.number(3.4) } == "3.4")
    #expect(written { $0.number(3.0) } == "3")
    #expect(written { $0.number(Float(3.4)) } == "3.4")
    #expect(written { $0.number(Double(Float(3.4))) } == "3.4000000953674316")
    #expect(written { $0.number(1e300) } == "1e+300")
    #expect(written { $0.number(Double.nan) } == "null")
    #expect(written { $0.number(-Double.infinity) } == "null")
    #expect(written { $0.number(Float.infinity) } == "null")
    #expect(written { $0.integer(Int64.min) } == "-9223372036854775808")
    #expect(written { $0.integer(UInt64.max) } == "18446744073709551615")
  }

  @Test("Times have milliseconds, without trailing zeros")
  func seconds() {
    #expect(written { $0.seconds(milliseconds: 1_795_212_000_250) } == "1795212000.25")
    #expect(written { $0.seconds(milliseconds: 1_795_212_000_000) } == "1795212000")
    #expect(written { $0.seconds(milliseconds: -1_005) } == "-1.005")
    #expect(written { $0.seconds(milliseconds: 7) } == "0.007")
  }

  @Test("A rewound record leaves no trace, not even a comma")
  func rewind() {
    let text = written {
      $0.beginArray()
      $0.integer(1)
      let mark = $0.mark
      $0.object { $0.member("x", 2) }
      $0.rewind(to: mark)
      $0.integer(3)
      $0.endArray()
    }
    #expect(text == "[1,3]")
  }

  @Test("What the parser accepts, it understands")
  func accepts() throws {
    let value = try JSONParser.parse(#" {"a" : [ 1 , -2.5e3, true,false,null, "\u4e95\ud83d\ude00\/\b" ], "b":{} } "#)
    #expect(
      value["a"]
        == .array([.integer(1), .number(-2_500), .bool(true), .bool(false), .null, .string("井😀/\u{8}")]))
    #expect(value["b"] == .object([]))
    #expect(value["c"] == nil)
    #expect(try JSONParser.parse("18446744073709551615") == .unsigned(.max))
    #expect(try JSONParser.parse("-9223372036854775808") == .integer(.min))
    #expect(try JSONParser.parse("36893488147419103232") == .number(36_893_488_147_419_103_232))
  }

  @Test(
    "What is not JSON is refused, with its place",
    arguments: [
      ("", 0), ("{", 1), ("[1,]", 3), ("{\"a\":1,}", 7), ("nul", 3), ("01", 0), ("1.", 0), ("-", 1), ("1 2", 2),
      ("\"\\x\"", 1), ("\"\\ud800\"", 1), ("\"\\udc00\"", 1), ("\"a\nb\"", 2), ("{a:1}", 1), ("{\"a\":1,\"a\":2}", 7),
      ("1e999", 0), ("[1 2]", 3), ("// x", 0), ("'a'", 0), ("+1", 0), ("\"abc", 4), ("NaN", 0),
    ])
  func refuses(_ text: String, offset: Int) throws {
    let found = try #require(failure(text))
    #expect(found.offset == offset, "\(found)")
  }

  @Test("Depth is bounded")
  func depth() {
    let deep = Limits.jsonDepthMax
    #expect(failure(String(repeating: "[", count: deep) + String(repeating: "]", count: deep)) == nil)
    #expect(failure(String(repeating: "[", count: deep + 1))?.reason == .tooDeep)
    #expect(failure(String(repeating: "{\"a\":", count: 100_000))?.reason == .tooDeep)
  }

  @Test("Invalid UTF-8 is refused")
  func utf8() {
    #expect(failure([0x22, 0xC3, 0x28, 0x22])?.reason == .badUTF8)
    #expect(failure([0x22, 0xED, 0xA0, 0x80, 0x22])?.reason == .badUTF8)
  }

  @Test("Any value survives writing and reading", arguments: 1...40)
  func roundTrip(seed: UInt64) throws {
    var dice = Dice(state: seed)
    for _ in 0..<50 {
      let value = randomValue(&dice, depth: 0)
      var writer = JSONWriter()
      writer.value(value)
      #expect(try JSONParser.parse(writer.bytes) == value, "seed \(seed)")
    }
  }

  @Test("Damaged JSON is refused or understood, and never more", arguments: 1...40)
  func damaged(seed: UInt64) throws {
    var dice = Dice(state: seed)
    for _ in 0..<50 {
      var writer = JSONWriter()
      writer.value(randomValue(&dice, depth: 0))
      var bytes = writer.bytes
      for _ in 0..<Int.random(in: 1...3, using: &dice) {
        bytes[Int.random(in: 0..<bytes.count, using: &dice)] = UInt8.random(in: 0...255, using: &dice)
      }
      guard let value = try? JSONParser.parse(bytes) else { continue }
      // Accepted: then what is written of it is JSON, and stays the same from there on (5e3 has become 5000).
      var again = JSONWriter()
      again.value(value)
      var third = JSONWriter()
      third.value(try JSONParser.parse(again.bytes))
      #expect(third.bytes == again.bytes, "seed \(seed)")
    }
  }

  private func randomValue(_ dice: inout Dice, depth: Int) -> JSONValue {
    switch Int.random(in: 0..<(depth < 4 ? 8 : 6), using: &dice) {
    case 0: return .null
    case 1: return .bool(Bool.random(using: &dice))
    case 2: return .integer(Int64(truncatingIfNeeded: dice.next()))
    case 3: return .unsigned(UInt64(Int64.max) + 1 + dice.next() / 4)
    case 4:
      // Integral values come back as integers: add a fraction.
      let double = Double(bitPattern: dice.next())
      return .number(double.isFinite && double != double.rounded() ? double : 0.5)
    case 5:
      let scalars = (0..<Int.random(in: 0...9, using: &dice)).compactMap { _ in
        Unicode.Scalar(UInt32.random(in: 0...0x1_0FFF, using: &dice))
      }
      return .string(String(String.UnicodeScalarView(scalars)))
    case 6:
      return .array((0..<Int.random(in: 0...4, using: &dice)).map { _ in randomValue(&dice, depth: depth + 1) })
    default:
      return .object(
        (0..<Int.random(in: 0...4, using: &dice)).map {
          JSONMember(name: "k\($0)", value: randomValue(&dice, depth: depth + 1))
        })
    }
  }
}

@Suite struct CatalogueJSONTests {
  @Test("A catalogue survives encoding and decoding, and always encodes to the same bytes")
  func roundTrip() throws {
    let catalogue = Catalogue(Site.configuration())
    #expect(try Catalogue(decoding: catalogue.encoded()) == catalogue)
    #expect(Catalogue(Site.configuration()).encoded() == catalogue.encoded())
    #expect(catalogue.series.count > catalogue.pointCount)
  }

  @Test("A catalogue that points outside itself is refused")
  func inconsistent() throws {
    let text = String(decoding: Catalogue(Site.configuration()).encoded(), as: UTF8.self)
    for (good, bad) in [
      (#""d":0"#, #""d":99"#), (#""points":"#, #""points":9"#), (#""e":0"#, #""e":77"#), (#""gateway""#, #""gate""#),
    ] {
      let range = try #require(text.firstRange(of: good))
      var broken = text
      broken.replaceSubrange(range, with: bad)
      #expect(throws: JSONFailure.self) { try Catalogue(decoding: Array(broken.utf8)) }
    }
  }
}
