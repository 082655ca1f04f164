// Exchanges of a master and a device, byte for byte: Tests/Transcripts/*.wire.

import Testing

package struct WireExchange: Sendable, CustomTestStringConvertible {
  /// Where it was published.
  package var source = ""
  /// TOML of the device's profile.
  package var profile = ""
  package var address = ""
  /// The address is asked for.
  package var isDiscovery = false
  package var found = ""
  package var sent: [UInt8] = []
  package var received: [UInt8] = []
  /// By point: a raw value, "bad", or a text in quotation marks.
  package var values: [(point: String, value: String)] = []
  /// "checksum", "refused 2"; empty: it is answered.
  package var failure = ""
  /// A virtual device answers so, byte for byte.
  package var isBothWays = false
  package var testDescription: String { "\(address) >> \(WireExchange.hex(sent))" }

  package static func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(separator: " ")
  }

  package static func bytes(_ hex: some StringProtocol) -> [UInt8] {
    hex.split(separator: " ").compactMap { UInt8($0, radix: 16) }
  }

  package static func all(in transcript: String) throws -> [WireExchange] {
    let text = try TestSupport.text(ofFile: "\(packageRoot)/Tests/Transcripts/\(transcript)")
    var exchanges: [WireExchange] = []
    for block in text.split(separator: "\n\n") {
      var one = WireExchange()
      for line in block.split(separator: "\n") {
        let (mark, rest) = (line.prefix { $0 != " " }, line.drop { $0 != " " }.dropFirst())
        switch mark {
        case "#": one.source += rest
        case "|": one.profile += rest + "\n"
        case "@":
          let words = rest.split(separator: " ")
          one.address = words.first.map(String.init) ?? ""
          one.isDiscovery = words.count > 1
        case "@@": one.found = String(rest)
        case ">>": one.sent = bytes(rest)
        case "<<": one.received = bytes(rest)
        case "=":
          let words = rest.split(separator: " ")
          if words.count == 2 { one.values.append((String(words[0]), String(words[1]))) }
        case "!": one.failure = String(rest)
        case "both": one.isBothWays = true
        default: Issue.record("\(transcript): \"\(line)\" is not understood")
        }
      }
      if !one.sent.isEmpty { exchanges.append(one) }
    }
    return exchanges
  }
}
