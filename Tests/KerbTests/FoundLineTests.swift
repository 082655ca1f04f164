import FieldBus
import Testing

@testable import kerb

@Suite("A line that was searched at every setting")
struct FoundLineTests {
  private static func found(_ address: Int, _ parity: Parity, baud: Int = 19_200) -> Sweep.Found {
    let format = LineFormat(baud: baud, parity: parity, stopBits: 1)
    return Sweep.Found(unit: FoundUnit(address: address, format: format, tookNs: 0), name: nil)
  }

  @Test("runs at the most usual of the parities at which as many answer", arguments: 0..<20)
  func equals(_: Int) throws {
    var found = Parity.allCases.flatMap { parity in [1, 2].map { Self.found($0, parity) } }
    found.shuffle()
    let line = try #require(FoundLine(found, isMeter: false))
    #expect(line.format == LineFormat(baud: 19_200, parity: .none, stopBits: 1))
    #expect(line.others.map(\.parity) == [.even, .odd])
    #expect(line.units.map(\.unit.address).sorted() == [1, 2])
    #expect(line.units.allSatisfy { $0.unit.format == line.format }, "the table shows what the line takes")
    #expect(FoundLine(found, isMeter: true)?.format.parity == .even)
  }

  @Test("runs at the setting at which most answer, and shows who answers elsewhere only")
  func most() throws {
    let found = [Self.found(1, .none), Self.found(1, .even), Self.found(2, .even), Self.found(7, .none, baud: 9_600)]
    let line = try #require(FoundLine(found, isMeter: false))
    #expect(line.format.parity == .even && line.others == [LineFormat(baud: 19_200, parity: .none, stopBits: 1)])
    #expect(line.units.map(\.unit.address) == [1, 2, 7] && line.units[2].unit.format.baud == 9_600)
    #expect(FoundLine([], isMeter: false) == nil)
  }
}
