import FieldBus
import StreamCore
import Testing

@Suite struct PollPlanTests {
  private func point(_ table: RegisterTable, _ address: Int, _ type: ValueType = .u16, everyNs: Int64 = second)
    -> PointSpec
  {
    var spec = PointSpec(name: "\(table)\(address)", place: nowhere, source: .register(table, address: address))
    spec.type = type
    spec.everyNs = everyNs
    return spec
  }

  private func plan(_ points: [PointSpec], registersMax: Int = 125) -> [PollRequest] {
    var spec = DeviceSpec(name: "d", place: nowhere, bus: 0, address: 9, profile: "", kind: "k")
    spec.points = points
    spec.registersMax = registersMax
    return PollPlan(bus: bus(), devices: [spec]).requests
  }

  @Test("neighbours share a request, over a small hole too; a hole that costs more than a request starts another")
  func merges() {
    let requests = plan([point(.holding, 0), point(.holding, 1, .u32), point(.holding, 3), point(.holding, 5)])
    #expect(requests.map(\.address) == [0])
    #expect(requests.map(\.count) == [6])
    #expect(requests[0].reads.map(\.offset) == [0, 1, 3, 5])
    #expect(requests[0].holes == 1)
    // 13 bytes and 7 characters of silence: worth ten registers.
    #expect(plan([point(.holding, 0), point(.holding, 10)]).count == 1)
    #expect(plan([point(.holding, 0), point(.holding, 12)]).count == 2)
  }

  @Test("the same points always give the same plan")
  func deterministic() {
    let points = (0..<40).map { point(.holding, $0 * 3 % 97, everyNs: [1, 5, 60][$0 % 3] * second) }
    let first = plan(points)
    for _ in 0..<20 { #expect(plan(points) == first) }
  }

  @Test("a refused request falls apart first at its holes, then by halves, down to single values")
  func fallsApart() {
    let request = plan([point(.holding, 0, .u32), point(.holding, 2), point(.holding, 5), point(.holding, 6)])[0]
    #expect(request.parts.map(\.address) == [0, 5])
    #expect(request.parts.map(\.count) == [3, 2])
    #expect(request.parts[0].parts.map(\.count) == [2, 1])
    #expect(request.parts[1].parts.map(\.count) == [1, 1])
    #expect(request.nodeCount == 7)
    #expect(request.parts[0].parts[0].parts.isEmpty)
  }

  @Test("what was refused once is not asked again, nor anything around it")
  func refusedSpans() {
    var spec = DeviceSpec(name: "d", place: nowhere, bus: 0, address: 9, profile: "", kind: "k")
    spec.points = [point(.holding, 0), point(.holding, 3), point(.holding, 6)]
    let known = PollPlan(
      bus: bus(), devices: [spec], refused: [[RefusedSpan(table: .holding, address: 0, count: 4)]])
    #expect(known.requests.map(\.address) == [0, 3])
    #expect(known.requests.map(\.count) == [1, 4])
  }

  @Test("points that overlap (bits of one register) share it")
  func overlaps() {
    let requests = plan([point(.input, 4), point(.input, 4), point(.input, 4, .u32)])
    #expect(requests.count == 1)
    #expect(requests[0].count == 2)
    #expect(requests[0].reads.map(\.point).sorted() == [0, 1, 2])
  }

  @Test("tables don't mix; a slow point rides along with a fast one where that is cheaper")
  func separates() {
    #expect(
      plan([point(.holding, 0), point(.input, 1), point(.coil, 2, .bool), point(.discrete, 3, .bool)]).count == 4)
    // One register more each second costs 2 bytes; a request of its own each minute costs 22 characters in 60 s.
    #expect(plan([point(.holding, 0), point(.holding, 1, everyNs: 60 * second)]).count == 2)
    let riding = plan([point(.holding, 0), point(.holding, 1, everyNs: 5 * second)])
    #expect(riding.count == 1)
    #expect(riding[0].intervalNs == second)
  }

  @Test("no request is larger than the device or the standard allows, and no value is cut in two")
  func limits() {
    let many = (0..<100).map { point(.holding, $0 * 2, .f32) }
    for limit in [125, 33, 2] {
      let requests = plan(many, registersMax: limit)
      #expect(requests.allSatisfy { $0.count <= limit && $0.count % 2 == 0 })
      #expect(requests.reduce(0) { $0 + $1.reads.count } == 100)
      #expect(requests.count == (200 + (limit / 2 * 2) - 1) / (limit / 2 * 2))
    }
    let bits = plan((0..<2_500).map { point(.coil, $0, .bool) })
    #expect(bits.count == 2)
    #expect(bits.allSatisfy { $0.count <= 2_000 })
  }

  @Test("wire time: bytes, silences and turnaround by the standard's sums")
  func wireTime() {
    // 9600 8N1: 10 bits a character, 1.0417 ms; request 8, reply 5 + 2·4, two silences of 3.5 characters.
    let request = plan([point(.holding, 0, .u64)])[0]
    let slow = Double(8 + 5 + 8 + 7) * 10 / 9_600
    #expect(abs(Double(request.wireNs) / 1e9 - slow) < 1e-6)
    let fast = PollPlan.wireNs(
      count: request.count, table: request.table, on: bus { $0.format.baud = 115_200; $0.format.parity = .even })
    let expected = 21.0 * 11.0 / 115_200 + 0.0035
    #expect(abs(Double(fast) / 1e9 - expected) < 1e-6)
  }
}
