// The last screen of commissioning, to be photographed: who the box is, what it reads, who may pull. Fits 80 by 24; no
// secret stands on it. The square holds the same identity: kerb:NAME;k=…;c=….

import FieldBus
import Gateway
import Glibc
import StreamCore

struct CommissionScreen {
  static let linesMax = 23
  private let configuration: Configuration
  private let notes: [String]
  /// Of the box's own key, made at the first start; nil: not readable.
  private let keyID: String?
  private let fingerprint: [UInt8]?

  init(_ configuration: Configuration, notes: [String]) {
    self.configuration = configuration
    self.notes = notes
    keyID = (try? BoxKey.open(statePath: configuration.statePath)).map { Hexadecimal.text($0.identity) }
    fingerprint = configuration.certificate.flatMap { PullCertificate.fingerprint($0.certificate) }
  }

  /// What the square says: with the longest name 134 bytes, which is a square of 45 with its border, 23 lines.
  var identity: String {
    var text = "kerb:\(configuration.gatewayID)"
    if let keyID { text += ";k=\(keyID)" }
    if let fingerprint { text += ";c=\(Sodium.base64URL(fingerprint))" }
    return text
  }

  /// The square at the left, words at its right.
  var lines: [String] {
    let square = QRCode(identity)?.lines ?? []
    let room = square.isEmpty ? Table.widthMax : Table.widthMax - (square.first.map(Table.width) ?? 0) - 2
    let words = words(room)
    return (0..<Swift.min(Self.linesMax, Swift.max(square.count, words.count))).map { index in
      let left = square.indices.contains(index) ? square[index] : ""
      guard words.indices.contains(index), !words[index].isEmpty else { return left }
      if square.isEmpty { return words[index] }
      let width = square.first.map(Table.width) ?? 0
      return left + String(repeating: " ", count: width - Table.width(left) + 2) + words[index]
    }
  }

  private func words(_ room: Int) -> [String] {
    var lines = [Colour.bold.apply(Table.cut(configuration.gatewayID, to: room - 1))]
    func add(_ text: String) { lines.append(Table.cut(text, to: room - 1)) }
    if let board = configuration.board { add(board.name) }
    if let keyID { add(Phrase("key  {0}", "密钥 {0}")(keyID)) }
    if let fingerprint {
      add(Phrase("certificate, SHA-256:", "证书 SHA-256：")())
      let digits = Array(Hexadecimal.text(fingerprint))
      for start in stride(from: 0, to: digits.count, by: 32) {
        add(" " + String(digits[start..<Swift.min(start + 32, digits.count)]))
      }
    }
    for address in configuration.listen.prefix(3) { add(Phrase("pull {0}", "拉取 {0}")(address.text)) }
    for bus in configuration.buses.prefix(4) {
      let count = configuration.devices.count { configuration.buses[$0.bus].name == bus.name }
      let isThere = bus.serialPath.map { access($0, F_OK) == 0 } ?? true
      add(
        Phrase("{0}: {1} devices{2}", "{0}：{1} 台设备{2}")(
          bus.name, "\(count)",
          isThere ? "" : Phrase(", no adapter!", "，缺转换器！")()))
    }
    let consumers = configuration.consumers.map(\.name)
    if !consumers.isEmpty { add(Phrase("for {0}", "平台 {0}")(consumers.joined(separator: ", "))) }
    for note in notes { lines += Self.folded("! \(note)", to: room - 1) }
    return Array(lines.prefix(Self.linesMax))
  }

  /// What is to be done stands at a note's end: it is folded, at a blank where there is one, and not cut.
  static func folded(_ text: String, to width: Int) -> [String] {
    var lines: [String] = []
    var line = ""
    for character in text {
      if Table.width(line) + Table.width(String(character)) > width {
        let blank = line.lastIndex(of: " ").flatMap { line[..<$0].contains { $0 != " " } ? $0 : nil }
        let end = blank ?? line.endIndex
        lines.append(String(line[..<end]))
        line = "  " + line[end...].drop { $0 == " " }
      }
      line.append(character)
    }
    return line.contains { $0 != " " } ? lines + [line] : lines
  }
}
