// The file that sets a box up without a keystroke, on its boot partition: [commission] says how, [[box]] what is only
// one box's, and everything else is configuration as in kerb.toml, with its own places for what is wrong in it.

import FieldBus
import StreamCore

package enum CertificateWish: String, Sendable, CaseIterable {
  case none
  case selfSigned = "self-signed"
}

/// What a file asks for on this box.
package struct Provision: Sendable {
  /// Configuration, with [gateway] id in it.
  package var table: TomlTable
  package var place: SourcePlace
  package var gatewayID: String
  /// Nil: detect it.
  package var board: String?
  package var boardPlace = SourcePlace(file: "", line: 0, column: 0)
  package var wantsBoard = true
  package var certificate = CertificateWish.none
  /// Buses to be searched, and the last address.
  package var scan: [(bus: String, place: SourcePlace)] = []
  package var scanTo = 32
}

package struct ProvisioningFile {
  private let diagnostics: Diagnostics
  private let box: BoxIdentity
  private let buses: [String]
  private static let own = ["commission", "box"]

  /// Nil: what is wrong stands in `diagnostics`. What is wrong in the configuration itself shows when it is read.
  /// `buses`: those that the box has from other files.
  package static func parse(
    _ root: TomlTable, on box: BoxIdentity, buses: [String] = [], diagnostics: Diagnostics
  ) -> Provision? {
    let before = diagnostics.count
    let provision = ProvisioningFile(diagnostics: diagnostics, box: box, buses: buses).read(root)
    return diagnostics.count == before ? provision : nil
  }

  private init(diagnostics: Diagnostics, box: BoxIdentity, buses: [String]) {
    self.buses = buses
    self.diagnostics = diagnostics
    self.box = box
  }

  private func read(_ root: TomlTable) -> Provision {
    let reader = TableReader(root, section: "provisioning", diagnostics: diagnostics)
    var common = root
    for key in Self.own { common.remove(key) }
    var provision = Provision(table: common, place: root.place, gatewayID: "")
    reader.require("commission")
    let commission = reader.table("commission")
    // Its other keys may mean nothing here, which then is no mistake of the file.
    if let commission, isNewer(commission) { return Provision(table: common, place: root.place, gatewayID: "") }
    let template = commission?.string("id")
    if let commission { settings(commission, &provision) }
    // A placeholder that is misspelt was meant for one.
    let isMisspelt = if let commission, let template { unknownPlaceholder(template, commission) } else { false }
    let hasTemplate = isMisspelt || template.map(Self.isTemplate) ?? false
    let boxes = reader.tables("box")
    let mine = ownBox(boxes, hasTemplate: hasTemplate)
    if let mine {
      var own = mine.table
      for key in ["serial", "mac", "id"] { own.remove(key) }
      provision.table.merge(own, path: mine.path, diagnostics: diagnostics)
    }
    name(mine, commission, template, &provision)
    checkScan(provision, boxes.map(\.table))
    return provision
  }

  private static func isTemplate(_ text: String) -> Bool { BoxIdentity.placeholders.contains(where: text.contains) }

  /// Written for a later version than this one, and reported.
  private func isNewer(_ reader: TableReader) -> Bool {
    guard let wanted = reader.string("kerb") else { return false }
    guard let number = Version.number(wanted) else {
      reader.report("kerb", "\"\(wanted)\" is no version: write for example \"\(Version.text)\"")
      return false
    }
    guard let own = Version.number(Version.text), own.lexicographicallyPrecedes(number) else { return false }
    reader.report(
      "kerb",
      "is \(wanted), and this box has kerb \(Version.text): update the box, or take a file that was made for it")
    return true
  }

  private func settings(_ reader: TableReader, _ provision: inout Provision) {
    if let board = reader.string("board") {
      provision.wantsBoard = board != "none"
      provision.boardPlace = reader.valuePlace("board")
      provision.board = board == "detect" || board == "none" ? nil : board
    }
    provision.certificate = reader.choice("certificate") ?? .none
    provision.scan = (reader.placedStrings("scan") ?? []).map { ($0.text, $0.place) }
    provision.scanTo = reader.integer("scan_to", in: 1...247) ?? 32
    reader.finish()
  }

  /// A name that is no bus is told with everything else, though what the box has in the end shows when all is read.
  private func checkScan(_ provision: Provision, _ boxes: [TomlTable]) {
    let own = ([provision.table] + boxes).flatMap { $0.tables("bus") }.compactMap { bus -> String? in
      if case .string(let name)? = bus["name"]?.item.value { name } else { nil }
    }
    for (bus, place) in provision.scan where !own.contains(bus) && !buses.contains(bus) {
      diagnostics.report(place, "commission.scan", PointName.noBus(bus, among: own + buses))
    }
  }

  /// The [[box]] that is this one. All are looked at: a mistake in one is found at the first box, not at the ninetieth.
  private func ownBox(_ boxes: [TableReader], hasTemplate: Bool) -> TableReader? {
    var mine: [TableReader] = []
    var (serials, macs, ids) = (UniqueNames(), UniqueNames(), UniqueNames())
    for reader in boxes {
      let (serial, mac) = (reader.string("serial"), mac(reader))
      if serial == nil, !reader.has("mac") {
        diagnostics.report(reader.table.place, reader.path, "needs serial or mac: which box is it?")
      }
      if let serial { serials.claim(serial.lowercased(), in: reader, key: "serial") }
      if let mac { macs.claim(mac, in: reader, key: "mac") }
      if let id = reader.requiredString("id") {
        ids.claim(id, in: reader, key: "id")
        unknownPlaceholder(id, reader)
      }
      let isMine =
        serial.map { $0.lowercased() == box.serial?.lowercased() } ?? mac.map(box.macs.contains) ?? false
      if isMine { mine.append(reader) }
    }
    if mine.count > 1 {
      let other = mine[0].table.place.text
      diagnostics.report(mine[1].table.place, mine[1].path, "is this box, as is the one at \(other): keep one of them")
    }
    if mine.isEmpty, !boxes.isEmpty, !hasTemplate {
      diagnostics.report(
        boxes[0].table.place, "box",
        "none of them is this box (\(box.text)): add a [[box]] for it, or an id with {serial} or {mac} under "
          + "[commission]")
    }
    return mine.first
  }

  /// As the box has its own: lower case, with colons. A label may have dashes.
  private func mac(_ reader: TableReader) -> String? {
    guard let text = reader.string("mac") else { return nil }
    let pairs = text.lowercased().split(omittingEmptySubsequences: false) { $0 == ":" || $0 == "-" }
    guard pairs.count == 6, pairs.allSatisfy({ $0.utf8.count == 2 && $0.allSatisfy(\.isHexDigit) }) else {
      reader.report(
        "mac", "\"\(text)\" is no address of a network card: write six pairs of digits and letters a-f, "
          + "\"52:54:00:12:34:56\"")
      return nil
    }
    return pairs.joined(separator: ":")
  }

  /// True: there is one, and it was reported.
  @discardableResult
  private func unknownPlaceholder(_ template: String, _ reader: TableReader) -> Bool {
    guard let word = BoxIdentity.unknownPlaceholder(in: template) else { return false }
    var message = "\(word) is no placeholder: there are \(BoxIdentity.placeholders.joined(separator: ", "))"
    if let near = nearestMatch(to: word, among: BoxIdentity.placeholders) { message += "; did you mean \(near)?" }
    reader.report("id", message)
    return true
  }

  private func name(
    _ mine: TableReader?, _ commission: TableReader?, _ template: String?, _ provision: inout Provision
  ) {
    var gateway = provision.table.table("gateway")
    let reader = mine ?? commission
    guard let reader, let text = mine?.string("id") ?? template else {
      // Left to [gateway] id, or to the name that every box has by itself.
      if case .string(let id)? = gateway["id"]?.item.value { provision.gatewayID = id }
      return
    }
    if let other = gateway["id"] {
      diagnostics.report(other.keyPlace, "gateway.id", "is also given by \(reader.keyPath("id")): keep one of the two")
    }
    switch box.name(from: text) {
    case .failure(let missing):
      reader.report("id", "this box has nothing for \(missing.placeholder) (\(box.text)): name it by a [[box]]")
    case .success(let name):
      if let problem = nameProblem(name), BoxIdentity.unknownPlaceholder(in: text) == nil {
        reader.report("id", problem)
      }
      gateway.set("id", name)
      provision.gatewayID = name
    }
    provision.table.set("gateway", .table(gateway))
  }
}
