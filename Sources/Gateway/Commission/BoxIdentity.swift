// What tells one box from a hundred others before anybody has named it: its serial number, the address of its network
// card, systemd's id of its system. A name may be made of them.

import FieldBus
import StreamCore

package struct BoxIdentity: Sendable {
  package var serial: String?
  /// Lower case, with colons.
  package var macs: [String]
  package var machineID: String?

  package init(serial: String?, macs: [String], machineID: String?) {
    self.serial = serial
    self.macs = macs
    self.machineID = machineID
  }

  package init(_ machine: Machine) {
    serial = machine.serialNumber
    macs = machine.macAddresses
    machineID = Machine.line("\(machine.root)/etc/machine-id").flatMap { $0.utf8.count >= 12 ? $0 : nil }
  }

  package static let placeholders = ["{serial}", "{mac}", "{machine}"]

  /// "{serail}"; nil: what stands in braces is known.
  package static func unknownPlaceholder(in template: String) -> String? {
    var rest = template[...]
    while let start = rest.firstIndex(of: "{"), let end = rest[start...].firstIndex(of: "}") {
      let word = String(rest[start...end])
      if !placeholders.contains(word) { return word }
      rest = rest[rest.index(after: end)...]
    }
    return nil
  }

  /// "box-{serial}" filled in; or the placeholder that this box has nothing for.
  package func name(from template: String) -> Result<String, MissingFact> {
    let facts = [
      ("{serial}", serial), ("{mac}", macs.first.map { $0.filter { $0 != ":" } }),
      ("{machine}", machineID.map { String($0.prefix(12)) }),
    ]
    var name = template
    for (placeholder, fact) in facts where name.contains(placeholder) {
      guard let fact else { return .failure(MissingFact(placeholder: placeholder)) }
      name = name.split(separator: placeholder, omittingEmptySubsequences: false).joined(separator: fact)
    }
    return .success(name)
  }

  package struct MissingFact: Error, Equatable {
    package var placeholder: String
  }

  /// As a person reads it off the console to write it into a file.
  package var text: String {
    let parts = [serial.map { "serial \($0)" }, macs.first.map { "MAC \($0)" }].compactMap { $0 }
    return parts.isEmpty ? "no serial number and no network card" : parts.joined(separator: ", ")
  }
}
