import Gateway
import Testing

@testable import kerb

@Suite("What is drawn live")
struct TopTests {
  private func look(seconds: Double, good: Int) throws -> TopLook {
    var look = TopLook()
    look.status = try JSONParser.parse(
      """
      {"gateway":"box","uptime_s":60,"devices":{"online":1,"offline":1},"alarms":{"active":0},
      "buses":[{"name":"b","state":"running","utilisation":0.5,"cycle_ms":20,"good":\(good),
      "verdict":{"code":"silent","en":"silent: dead","zh":"无应答"}}]}
      """)
    look.devices =
      try JSONParser.parse(
        """
        [{"name":"quick","bus":"b","state":"online","latency_ms":2.0,"transactions":100,"good":\(good),"timeouts":0},
        {"name":"dead","bus":"b","state":"offline","latency_ms":0,"transactions":10,"timeouts":10}]
        """
      ).array ?? []
    look.seconds = seconds
    return look
  }

  @Test("fills exactly the screen, and no line is wider", arguments: [(80, 24), (80, 10), (120, 40)])
  func size(_ columns: Int, _ rows: Int) throws {
    var screen = TopScreen(look: try look(seconds: 2, good: 20), before: try look(seconds: 0, good: 10))
    for view in [TopView.box, .bus("b"), .device("quick")] {
      screen.view = view
      let lines = screen.lines(columns: columns, rows: rows)
      #expect(lines.count == rows)
      #expect(lines.allSatisfy { Table.width($0) <= columns }, "\(lines)")
    }
  }

  @Test("makes rates of two looks, and names what is slow and what fails")
  func rates() throws {
    let screen = TopScreen(look: try look(seconds: 2, good: 20), before: try look(seconds: 0, good: 10))
    let text = screen.lines(columns: 80, rows: 24).joined(separator: "\n")
    #expect(
      text.contains("5.0") && text.contains("silent: dead") && text.contains("2.0 ms") && text.contains("100.0%"))
    #expect(TopScreen(look: try look(seconds: 2, good: 20)).lines(columns: 80, rows: 24).joined().contains(" - "))
  }

  @Test("leads from the box to a bus to a device, and back")
  func drilling() throws {
    var screen = TopScreen(look: try look(seconds: 1, good: 1))
    #expect(screen.next == .bus("b"))
    screen.view = .bus("b")
    screen.chosen = 1
    #expect(screen.choices == ["quick", "dead"] && screen.next == .device("dead") && screen.back == .box)
    screen.view = .device("dead")
    #expect(screen.next == nil && screen.back == .bus("b"))
    screen.view = .bus("gone")
    #expect(screen.next == nil)
  }

  @Test("keys come alone or together, arrows in both of their forms, and Escape alone is one")
  func keys() {
    #expect(Terminal.keys([0x1B, 0x5B, 0x42, 0x0D]) == [.down, .enter])
    #expect(Terminal.keys([0x1B, 0x4F, 0x41, 0x1B]) == [.up, .back])
    #expect(Terminal.keys(Array("jkq".utf8)[...]) == [.down, .up, .quit])
    #expect(Terminal.keys([0x1B, 0x5B, 0x31, 0x3B, 0x35, 0x44, 0x03]) == [.back, .quit])
    #expect(Terminal.keys([0x1B, 0x5B]) == [.other])
  }

  @Test("a line of values spans what it saw; equal ones lie low, missing ones leave a gap")
  func sparkline() {
    var line = Sparkline(length: 4)
    for value in [99.0, 0, 7, nil, 3.5] { line.add(value) }
    #expect(line.text == "▁█ ▅")
    var flat = Sparkline(length: 3)
    for _ in 0..<5 { flat.add(2) }
    #expect(flat.text == "▁▁▁" && Sparkline(length: 3).text.isEmpty)
  }
}
