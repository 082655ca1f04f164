import FieldBus
import StreamCore
import Testing

@Suite struct PollPlanTests {
  private func point(_ table: RegisterTable, _ address: Int, _ type: ValueType = .u16, everyNs: Int64 = second) -> PointSpec {
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

  @Test("neighbours share a request, a hole starts another")
  func merges() {
    let requests = plan([point(.holding, 0), point(.holding, 1, .u32), point(.holding, 3), point(.holding, 5)])
    #expect(requests.map(\.address) == [0, 5])
    #expect(requests.map(\.count) == [4, 1])
    #expect(requests[0].reads.map(\.offset) == [0, 1, 3])
  }

  @Test("points that overlap (bits of one register) share it")
  func overlaps() {
    let requests = plan([point(.input, 4), point(.input, 4), point(.input, 4, .u32)])
    #expect(requests.count == 1)
    #expect(requests[0].count == 2)
    #expect(requests[0].reads.map(\.point).sorted() == [0, 1, 2])
  }

  @Test("tables and intervals don't mix")
  func separates() {
    let requests = plan([
      point(.holding, 0), point(.input, 1), point(.coil, 2, .bool), point(.discrete, 3, .bool),
      point(.holding, 1, everyNs: 5 * second),
    ])
    #expect(requests.count == 5)
  }

  @Test("no request is larger than the device or the standard allows, and no value is cut in two")
  func limits() {
    let many = (0..<100).map { point(.holding, $0 * 2, .f32) }
    for limit in [125, 33, 2] {
      let requests = plan(many, registersMax: limit)
      #expect(requests.allSatisfy { $0.count <= limit && $0.count % 2 == 0 })
      #expect(requests.reduce(0) { $0 + $1.reads.count } == 100)
    }
    let bits = plan((0..<2_500).map { point(.coil, $0, .bool) })
    #expect(bits.map(\.count) == [2_000, 500])
  }

  @Test("wire time: bytes, silences and turnaround by the standard's sums")
  func wireTime() {
    // 9600 8N1: 10 bits a character, 1.0417 ms; request 8, reply 5 + 2·4, two silences of 3.5 characters.
    let request = plan([point(.holding, 0, .u64)])[0]
    let slow = Double(8 + 5 + 8 + 7) * 10 / 9_600
    #expect(abs(Double(request.wireNs) / 1e9 - slow) < 1e-6)
    let fast = PollPlan.wireNs(of: request, on: bus { $0.format.baud = 115_200; $0.format.parity = .even })
    let expected = 21.0 * 11.0 / 115_200 + 0.0035
    #expect(abs(Double(fast) / 1e9 - expected) < 1e-6)
  }
}
