// One board, for people and as JSON.

import Gateway
import StreamCore

struct BoardScreen {
  let board: Board

  init(_ board: Board) { self.board = board }

  var lines: [String] {
    var table = Table(Messages.heads("PORT|ON THE CASE|RS-485|WHERE", "端口|外壳标识|RS-485|位置"))
    for port in board.ports {
      table.rows.append([
        Cell(port.device), Cell(port.label.inLanguage), Cell(port.level == .rs232 ? "-" : port.direction.rawValue),
        Cell(port.whereabouts),
      ])
    }
    let steps = board.flashing[Language.current.code] ?? []
    let numbered = (steps.isEmpty ? board.flashing["en"] ?? [] : steps).enumerated().map { "  \($0 + 1). \($1)" }
    let head = [Colour.bold.apply("\(board.name)  \(board.title.inLanguage)"), proof]
    let flashing = [Phrase("Flashing:", "烧录：")()] + numbered
    let sources = [Phrase("Sources:", "来源：")()] + board.sources.map { "  \($0)" }
    return head + table.lines() + facts + flashing + sources
  }

  private var proof: String {
    switch board.verified {
    case .none: return Phrase("read in documents; not yet seen on hardware", "依据文档，尚未在实物上核实")()
    case .emulated: return Phrase("tried on an emulated box", "已在仿真机上验证")()
    case .hardware: return Phrase("tried on hardware", "已在实物上验证")()
    }
  }

  private var facts: [String] {
    var lines: [String] = []
    if let watchdog = board.watchdog {
      let most = Shown.span(seconds: Double(watchdog.timeoutMaxNs) / 1e9)
      lines.append(Phrase("Watchdog  {0}, {1} at most", "看门狗  {0}，最长 {1}")(watchdog.driver, most))
    }
    if let rtc = board.rtc {
      lines.append(
        rtc.chips.isEmpty
          ? Phrase("Clock     none: wall time comes from a time server", "时钟    无：时间来自时间服务器")()
          : Phrase(
            "Clock     {0}, {1}", "时钟    {0}，{1}")(
              rtc.chips.joined(separator: "/"),
              rtc.isBacked ? Phrase("runs without power", "掉电运行")() : Phrase("no battery", "无电池")()))
    }
    if let storage = board.storage {
      let capacity = storage.capacityBytes.map { Shown.bytes(Int64($0)) }
      let endurance = storage.enduranceTBW.map { "\(Shown.tenths($0)) TBW" }
      let words = [storage.kind.rawValue, capacity, endurance].compactMap { $0 }
      lines.append(Phrase("Storage   {0}", "存储    {0}")(words.joined(separator: ", ")))
    }
    return lines
  }
}

extension JSONWriter {
  mutating func board(_ board: Board) {
    object { root in
      root.member("name", board.name)
      root.key("title")
      root.texts(board.title)
      root.member("verified", board.verified.rawValue)
      root.key("ports")
      root.array { list in for port in board.ports { list.port(port) } }
      root.key("watchdog")
      if let watchdog = board.watchdog {
        root.object {
          $0.member("driver", watchdog.driver)
          $0.member("timeout_max_s", watchdog.timeoutMaxNs / 1_000_000_000)
        }
      } else {
        root.null()
      }
      root.key("rtc")
      root.object {
        $0.key("chips")
        $0.array { for chip in board.rtc?.chips ?? [] { $0.string(chip) } }
        $0.member("backed", board.rtc?.isBacked ?? false)
      }
      root.key("storage")
      root.object {
        $0.optional("kind", board.storage?.kind.rawValue)
        $0.key("capacity_bytes")
        if let bytes = board.storage?.capacityBytes { $0.integer(bytes) } else { $0.null() }
        $0.key("endurance_tbw")
        if let endurance = board.storage?.enduranceTBW { $0.number(endurance) } else { $0.null() }
      }
      root.key("sources")
      root.array { for source in board.sources { $0.string(source) } }
    }
  }

  private mutating func port(_ port: BoardPort) {
    object {
      $0.member("name", port.name)
      $0.member("device", port.device)
      $0.key("label")
      $0.texts(port.label)
      $0.member("kind", port.kind.rawValue)
      $0.member("level", port.level.rawValue)
      $0.member("rs485", port.direction.rs485.rawValue)
      $0.optional("path", port.path)
      $0.optional("kernel", port.kernel)
      $0.optional("driver", port.driver)
    }
  }

  private mutating func texts(_ texts: [String: String]) {
    object { for language in texts.keys.sorted() { $0.member(language, texts[language] ?? "") } }
  }
}
