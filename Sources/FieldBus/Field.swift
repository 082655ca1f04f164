// All buses of the box, and the reports that the rest of the house reads of them. Made by the gateway; started once,
// stopped once. The reports may be read from any thread at any time.
//
// A field may follow another, after a reload: the buses that the new configuration leaves as they are go on in it, with
// their threads and all that they have in hand. They keep the numbers that they began with; `numbers(_:)` says which
// those are now.

import CLinux
import Glibc
import StreamCore
import Synchronization

package final class Field: @unchecked Sendable {
  // Unchecked: everything that changes after `init` is an atomic word of a board.

  /// As everything is numbered now.
  package let layouts: [BusLayout]
  let lives: [LiveBus]
  /// By device, by point of the site: its bus, and its number there.
  private let devicePlaces: [(bus: Int, device: Int)]
  private let pointPlaces: [(bus: Int, point: Int)]
  private let devices: [DeviceSpec]
  private let forgotten = Atomic<Int>(0)

  package var channels: [BatchChannel] { lives.map(\.channel) }
  package var arenaBytes: Int { lives.reduce(0) { $0 + $1.bytes } }
  package var busCount: Int { layouts.count }
  package var deviceCount: Int { devicePlaces.count }
  package var pointCount: Int { pointPlaces.count }

  package static func layouts(
    buses: [BusSpec], devices: [DeviceSpec], learned: [String: LearnedDevice] = [:]
  ) -> [BusLayout] {
    let numbering = Numbering(devices: devices, buses: buses)
    return buses.indices.map {
      BusLayout(spec: buses[$0], bus: $0, devices: devices, numbering: numbering, learned: learned)
    }
  }

  /// Takes all memory of the stream. `devices` and `buses` have been checked; `learned`: by name of the device.
  /// `before`: the field that this one follows, if any; who goes on is said in Field+Heirs.swift.
  package init(
    buses: [BusSpec], devices: [DeviceSpec], learned: [String: LearnedDevice] = [:], after before: Field? = nil
  ) {
    let numbering = Numbering(devices: devices, buses: buses)
    let heirs = before?.heirs(buses: buses, devices: devices) ?? [:]
    var layouts: [BusLayout] = []
    var lives: [LiveBus] = []
    for (bus, spec) in buses.enumerated() {
      let running = heirs[bus]
      // Of a bus that goes on: the plan that it began with.
      let known = running?.learned ?? learned
      let layout = BusLayout(spec: spec, bus: bus, devices: devices, numbering: numbering, learned: known)
      layouts.append(layout)
      lives.append(running ?? LiveBus(layout: layout, number: bus, learned: known))
    }
    self.layouts = layouts
    self.lives = lives
    self.devices = devices
    var nextDevice = Array(repeating: 0, count: layouts.count)
    var nextPoint = Array(repeating: 0, count: layouts.count)
    var devicePlaces: [(bus: Int, device: Int)] = []
    var pointPlaces: [(bus: Int, point: Int)] = []
    for device in devices {
      devicePlaces.append((device.bus, nextDevice[device.bus]))
      nextDevice[device.bus] += 1
      for _ in device.points {
        pointPlaces.append((device.bus, nextPoint[device.bus]))
        nextPoint[device.bus] += 1
      }
    }
    self.devicePlaces = devicePlaces
    self.pointPlaces = pointPlaces
  }

  // MARK: Life

  /// Starts a thread for each bus that has none. `storeGate`: signalled whenever a batch was handed over.
  /// `alarmsLeft`: as they were, by alarm of the site.
  package func start(storeGate: OpaquePointer, pseudonymKey: [UInt8], alarmsLeft: [AlarmEvent?]) {
    let boards = lives.map(\.board.points)
    for (bus, live) in lives.enumerated() {
      live.start(
        storeGate: storeGate, boards: boards, pseudonymKey: pseudonymKey, alarmsLeft: left(on: bus, alarmsLeft))
    }
  }

  private func left(on bus: Int, _ all: [AlarmEvent?]) -> [AlarmEvent?] {
    layouts[bus].alarms.places.map { Int($0.alarm) < all.count ? all[Int($0.alarm)] : nil }
  }

  /// Every bus hands over what it has; on return no bus thread runs any more.
  package func stop() { lives.stop() }

  /// Every bus hands over and rests. False: one did not get there by the deadline.
  package func pause(deadline: Instant) -> Bool {
    let controls = lives.compactMap(\.control)
    for control in controls { control.pause() }
    while controls.contains(where: { !$0.isPaused }) {
      if kerb_monotonic_ns() > deadline.nanoseconds { return false }
      usleep(2_000)
    }
    return true
  }

  package func resume() { for live in lives { live.control?.resume() } }

  /// The bus threads' oldest sign of life: past by more than any step takes, one of them is stuck. In the
  /// future while all wait for something that is not due yet.
  package var pulse: Instant {
    Instant(nanoseconds: lives.map { $0.board.bus[.pulse] }.min() ?? .max)
  }

  /// Wall time = monotonic time + `offsetNs`: windows end at its full minutes and hours from now on.
  package func clockKnown(offsetNs: Int64) {
    for live in lives { live.board.bus.set(.clockOffsetNs, offsetNs) }
  }

  /// Nil: the wall's time is not known.
  package var clockOffsetNs: Int64? {
    let offsetNs = lives.first?.board.bus[.clockOffsetNs] ?? 0
    return offsetNs == 0 ? nil : offsetNs
  }

  // MARK: What was learned

  /// By name of the device: what was known at the start, and what has been learned since.
  package func learned() -> [String: LearnedDevice] {
    var result: [String: LearnedDevice] = [:]
    for (bus, layout) in layouts.enumerated() {
      for (index, device) in layout.devices.enumerated() {
        var known = LearnedDevice()
        known.latency = latency(bus: bus, device: index)
        known.refused = refusedBefore(bus: bus, device: index)
        for node in layout.nodesOfDevice[index] where lives[bus].board.isSplit(node) {
          let request = layout.nodes[node]
          known.refused.append(
            RefusedSpan(table: request.table, address: request.address, count: request.count))
        }
        if layout.spec.silence == .learned {
          known.tolerance = tolerance(bus: bus, device: index)
          known.silenceNs = layout.spec.format.silenceNs
        }
        if known != LearnedDevice() { result[device.name] = known }
      }
    }
    return result
  }

  /// Forgets what was learned of a device; blocks until its bus's thread has. The plan is of the start: it
  /// keeps clear of what the device refused before then.
  package func forget(_ device: Int, until deadline: Instant) throws(LineFailure) {
    let place = devicePlaces[device]
    // Of what is only listened to nothing is learned.
    guard layouts[place.bus].spec.busProtocol.isModbus || layouts[place.bus].isAsked else { return }
    try lives[place.bus].board.inbox.forget(device: place.device, until: deadline)
    forgotten.add(1, ordering: .relaxed)
  }

  /// How often something was forgotten.
  package var forgottenCount: Int { forgotten.load(ordering: .relaxed) }

  /// What earlier runs learned to keep clear of.
  private func refusedBefore(bus: Int, device: Int) -> [RefusedSpan] {
    guard lives[bus].board.device(device)[.forgotten] == 0 else { return [] }
    return lives[bus].learned[layouts[bus].devices[device].name]?.refused ?? []
  }

  private func latency(bus: Int, device: Int) -> Latency {
    let counters = lives[bus].board.device(device)
    var latency = Latency()
    latency.meanNs = counters[.latencyMeanNs]
    latency.spreadNs = counters[.latencySpreadNs]
    latency.worstNs = counters[.latencyWorstNs]
    latency.count = UInt32(clamping: counters[.latencyCount])
    return latency
  }

  private func tolerance(bus: Int, device: Int) -> Tolerance {
    let counters = lives[bus].board.device(device)
    return Tolerance(
      step: Int(counters[.silenceStep]), limit: Int(counters[.silenceLimit]), blames: Int(counters[.silenceBlames]))
  }

  // MARK: Reports

  package func bus(_ index: Int) -> BusReport {
    let counters = lives[index].board.bus
    var report = BusReport()
    report.name = layouts[index].spec.name
    report.state =
      switch counters[.state] {
      case BusBoard.running: .running
      case BusBoard.lost: .lost
      case BusBoard.stopped: .stopped
      default: .starting
      }
    report.utilisation = Double(counters[.utilisationPpm]) / 1e6
    let taken = counters[.takenNs]
    // A virtual line that isn't paced is faster than its baud rate.
    report.efficiency = taken > 0 ? Swift.min(1, Double(counters[.idealNs]) / Double(taken)) : 0
    report.cycleMs = Double(counters[.cycleNs]) / 1e6
    report.transactions = counters[.transactions]
    report.good = counters[.good]
    report.timeouts = counters[.timeouts]
    report.crcErrors = counters[.crcErrors]
    report.exceptions = counters[.exceptions]
    report.lateReplies = counters[.lateReplies]
    report.strayBytes = counters[.strayBytes]
    report.reopened = counters[.reopened]
    report.fences = counters[.fences]
    report.hasEcho = counters[.echo] != 0
    report.stretch = Double(Swift.max(counters[.stretchPercent], 100)) / 100
    report.otherErrors = counters[.otherErrors]
    let problem = Int32(truncatingIfNeeded: counters[.problem])
    if problem != 0 {
      report.problem = "\(layouts[index].spec.endpoint.text): \(PortTrouble.words(problem))"
      report.portTrouble = PortTrouble(code: problem)
    }
    report.produced = counters[.produced]
    report.lost = counters[.lost]
    report.lateReadings = counters[.lateReadings]
    report.missedWindow = counters[.missedWindow]
    return report
  }

  package func device(_ index: Int) -> DeviceReport {
    let place = devicePlaces[index]
    let counters = lives[place.bus].board.device(place.device)
    var report = DeviceReport()
    report.name = devices[index].name
    report.kind = devices[index].kind
    report.bus = layouts[place.bus].spec.name
    report.address = devices[index].address
    report.meterAddress = devices[index].meterAddress?.text
    report.state =
      switch counters[.state] {
      case BusBoard.online: .online
      case BusBoard.offline: .offline
      default: .unknown
      }
    let seen = counters[.lastSeenNs]
    report.lastSeen = seen == 0 ? nil : Instant(nanoseconds: seen)
    report.transactions = counters[.transactions]
    report.good = counters[.good]
    report.timeouts = counters[.timeouts]
    report.crcErrors = counters[.crcErrors]
    report.exceptions = counters[.exceptions]
    let latency = latency(bus: place.bus, device: place.device)
    report.latencyMs = Double(latency.meanNs) / 1e6
    let spec = layouts[place.bus].spec
    report.timeoutMs =
      Double(latency.isKnown ? Swift.min(latency.boundNs, spec.responseTimeoutNs) : spec.responseTimeoutNs) / 1e6
    let nodes = layouts[place.bus].nodesOfDevice[place.device]
    if spec.silence == .learned {
      let silenceNs = spec.format.silenceNs
      report.silenceMs =
        Double(silenceNs - tolerance(bus: place.bus, device: place.device).savedNs(of: silenceNs)) / 1e6
    }
    report.refusedBefore = refusedBefore(bus: place.bus, device: place.device).count
    report.refusedRequests = report.refusedBefore + nodes.count { lives[place.bus].board.isSplit($0) }
    return report
  }

  /// The last frames of a bus after that number; see `BlackBox`.
  package func frames(_ bus: Int, after number: Int64) -> [LineFrame] {
    lives[bus].board.blackBox.frames(after: number)
  }

  // MARK: Commands

  /// Carried out by the bus's thread between two polls. Blocks until then, at most until the deadline.
  package func ask(_ request: LineRequest, bus: Int, until deadline: Instant) throws(LineFailure) -> LineReply {
    guard layouts[bus].spec.busProtocol.isModbus || layouts[bus].isAsked else { throw .notPossible }
    return try lives[bus].board.inbox.ask(request, until: deadline)
  }

  /// Does something to an alarm of the site, on its bus's thread; waits for that, at most until the deadline.
  package func order(
    _ request: AlarmRequest, alarm: Int, until deadline: Instant
  ) throws(LineFailure) -> Pipeline.OrderOutcome {
    for (bus, layout) in layouts.enumerated() {
      guard let local = layout.alarms.places.firstIndex(where: { Int($0.alarm) == alarm }) else { continue }
      return try lives[bus].board.inbox.order(request, alarm: local, until: deadline)
    }
    throw .notPossible
  }

  package func point(_ index: Int) -> PointReport {
    let place = pointPlaces[index]
    return lives[place.bus].board.points.report(place.point)
  }
}

extension BusEndpoint {
  /// As a person would write it.
  package var text: String {
    switch self {
    case .serialPort(let path): return path
    case .tcp(let host, let port): return "\(host):\(port)"
    }
  }
}
