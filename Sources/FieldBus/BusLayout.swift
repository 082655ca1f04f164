// What a bus will need, known before it runs: its requests, its conditions, and the memory of each part.

import StreamCore

/// A bus's part of the arena: what is known of it before it runs.
package struct BusLayout: Sendable {
  package var spec: BusSpec
  package var devices: [DeviceSpec]
  package var plan: PollPlan
  /// Of a bus of asked frames; empty on others.
  package var asks: AskPlan
  /// The plan's requests and all that they can fall into: a device's stand together, and the parts of one.
  package private(set) var nodes: [PollRequest] = []
  /// By device: its nodes. By node: where its parts stand.
  package private(set) var nodesOfDevice: [Range<Int>] = []
  package private(set) var partsOfNode: [Range<Int>] = []
  /// By device of the bus: what was learned earlier.
  package private(set) var latencies: [Latency]
  package private(set) var tolerances: [Tolerance]
  package var size = PipelineSize()
  /// Number of the bus's first point in the whole site's numbering, by device of the bus.
  package var firstPoint: [Int]
  package private(set) var points = PointTable()
  package private(set) var alarms = AlarmLayout()
  /// By alarm of the bus's devices.
  private var whenPrograms: [Program] = []
  private var clearPrograms: [Program] = []
  package private(set) var programs = ProgramBook()
  /// Computed points of the bus, by device, inputs before what is made from them.
  package private(set) var computed: [ComputedRule] = []
  /// By link of `programs`: where its value comes from.
  package private(set) var links: [LinkPlace] = []
  package var sentinels: [Int64] = []

  package var pointCount: Int { size.points }

  /// The parts of the bus's memory, by name, in bytes: what `kerb plan` prints.
  package var memory: [(part: String, bytes: Int)] {
    let bindings = nodes.reduce(0) { $0 + $1.reads.count }
    let requests =
      !spec.busProtocol.isModbus
      ? (isAsked ? AskLoop<TextPort>.bytes(self) : ListenLoop.bytes(self))
      : BusMachine.bytes(requests: nodes.count, units: devices.count)
        + Arena.bytes(of: Binding.self, count: bindings) + Decoder.bytes(sentinels: sentinels.count)
        + Arena.bytes(of: UInt16.self, count: BusLayout.wordCount) + ModbusPort.bytes.rounded(to: Arena.alignment)
    return [
      ("points", size.pointBytes + PointBoard.bytes(points: size.points)),
      ("conditioning", size.conditioningBytes),
      ("windows", size.windowBytes),
      ("quantiles", size.sketchBytes),
      ("alarms", size.alarmBytes + LineAlarms.bytes(units: devices.count)),
      ("expressions", size.programBytes + LinkTable.bytes(self)),
      ("requests", requests),
      (
        "counters",
        Counters<BusCounter>.bytes(BusCounter.allCases.count) + Arena.bytes(of: Int64.self, count: nodes.count)
          + devices.count * Counters<DeviceCounter>.bytes(DeviceCounter.allCases.count)
      ),
      ("batches", BatchChannel.bytes.rounded(to: Arena.alignment)),
      ("commands", Inbox.bytes),
      ("black box", BlackBox.bytes),
    ]
  }
  /// Its devices answer questions; else its one device speaks when it likes.
  package var isAsked: Bool { devices.first?.isAsked ?? true }

  package var bytes: Int { memory.reduce(0) { $0 + $1.bytes } }

  /// Room for the largest reply: a word for each bit.
  static let wordCount = Limits.bitsPerReadMax

  /// `learned`: by name of the device, from an earlier run.
  package init(
    spec: BusSpec, bus: Int, devices all: [DeviceSpec], numbering: Numbering, learned: [String: LearnedDevice] = [:]
  ) {
    self.spec = spec
    let members = all.indices.filter { all[$0].bus == bus }
    devices = members.map { all[$0] }
    asks = AskPlan(bus: spec, devices: devices)
    plan = PollPlan(bus: spec, devices: devices, refused: devices.map { learned[$0.name]?.refused ?? [] })
    latencies = devices.map { learned[$0.name]?.latency ?? Latency() }
    tolerances = devices.map {
      guard let known = learned[$0.name], known.silenceNs == spec.format.silenceNs else { return Tolerance() }
      return known.tolerance
    }
    firstPoint = members.map { numbering.firstPoint[$0] }
    let names = SiteNames(all)
    let order = ComputedPoints(names).order
    var local = 0
    for (index, device) in devices.enumerated() {
      for (number, point) in device.points.enumerated() {
        let series = firstPoint[index] + number
        points.add(point, series: series, firstWindowSeries: numbering.firstWindowSeries[series])
        sentinels += point.invalid
      }
      place(members[index], order, names, firstPoint: local)
      local += device.points.count
    }
    points.count(in: &size)
    alarms = AlarmLayout(
      bus: bus, spec: spec, devices: devices, members: members, numbering: numbering, when: whenPrograms,
      clear: clearPrograms)
    size.alarms = alarms.places.count
    size.alarmRules = alarms.rules.count
    size.suppressors = alarms.suppressors.count
    size.codeWords = programs.code.count
    size.cells = programs.cells
    size.links = programs.links.count
    size.computed = computed.count
    links = LinkPlace.all(programs.links, of: all)
    for range in plan.requestsOfDevice { addNodes(Array(plan.requests[range])) }
  }

  /// The expressions of one device. The configuration was refused if one doesn't compile; an empty program never
  /// holds, and says nothing.
  private mutating func place(_ number: Int, _ order: [LinkTarget], _ names: SiteNames, firstPoint: Int) {
    let device = names.devices[number]
    var restless: Set<String> = []
    func rests(_ expression: Expression) -> Bool {
      expression.references.contains { !$0.isForeign && restless.contains($0.name) }
    }
    for target in order where target.device == number {
      guard let text = device.points[target.point].compute, let formula = try? ExpressionParser.parse(text),
        let compiled = try? ExpressionCompiler.compile(formula, device: number, names: names)
      else { continue }
      let program = programs.place(compiled, firstPoint: firstPoint, isRestless: rests(formula))
      if program.isRestless { restless.insert(device.points[target.point].name) }
      computed.append(ComputedRule(point: firstPoint + target.point, program: program))
    }
    for alarm in device.alarms {
      for (text, isClear) in [(alarm.when, false), (alarm.clear, true)] {
        var program = Program()
        if let text, let condition = try? ExpressionParser.parse(text),
          let compiled = try? ExpressionCompiler.compile(condition, device: number, names: names)
        {
          program = programs.place(compiled, firstPoint: firstPoint, isRestless: rests(condition))
        }
        if isClear { clearPrograms.append(program) } else { whenPrograms.append(program) }
      }
    }
  }

  /// Breadth first, so that the parts of one request stand together.
  private mutating func addNodes(_ roots: [PollRequest]) {
    let first = nodes.count
    var waiting = roots
    var next = first + roots.count
    while !waiting.isEmpty {
      var following: [PollRequest] = []
      for request in waiting {
        nodes.append(request)
        partsOfNode.append(next..<(next + request.parts.count))
        next += request.parts.count
        following += request.parts
      }
      waiting = following
    }
    nodesOfDevice.append(first..<nodes.count)
  }
}
