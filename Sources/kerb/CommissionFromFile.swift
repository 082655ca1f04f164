// Commissioning by a file on the boot partition: no keystroke, the same result however often it runs, and a refusal
// that says what is wrong where, on the console, beside the file, and in `kerb status`.

import FieldBus
import Gateway
import Glibc
import StreamCore

struct CommissionFromFile {
  let files: ConfigurationOptions
  let path: String
  /// Again, though nothing was changed.
  let again: Bool
  let machine: Machine
  private var resultPath: String { "\(path).result.txt" }

  func run() throws {
    var commissioning = Commissioning(files, source: path, isStrict: true)
    let box = BoxIdentity(machine)
    let text: String
    do throws(FileProblem) { text = try TextFile.read(path, bytesMax: Limits.configurationBytesMax) } catch {
      throw refused(
        CommandFailure(
          "\(path): \(error.message)",
          exitCode: error.isContent ? CommandFailure.configuration : CommandFailure.inputOutput), digest: "",
        &commissioning)
    }
    let digest = Hexadecimal.text(Sodium.sha256(Array("\(Version.text)\n\(box.text)\n\(text)".utf8)))
    if !again, isDone(digest) {
      return show(
        Phrase("nothing to do: this box was set up by {0} as it stands", "无需操作：本机已按 {0} 开通")(path))
    }
    do { try apply(text, box, digest, &commissioning) } catch let failure as CommandFailure {
      throw refused(failure, digest: digest, &commissioning)
    }
  }

  /// Kept for `kerb status`, written beside the file, and said with what to do.
  private func refused(
    _ failure: CommandFailure, digest: String, _ commissioning: inout Commissioning
  ) -> CommandFailure {
    let problems = failure.text.split(separator: "\n").map(String.init)
    commissioning.record(problems, gateway: "", digest: digest, statePath: files.statePath)
    result(problems, commissioning.notes)
    return CommandFailure(
      failure.text + "\n"
        + Phrase(
          "{0}: the box was not set up, and is as it was; put that right, then: kerb commission --from {0}",
          "{0}：本机未开通，保持原状；请改正后执行 kerb commission --from {0}")(path), exitCode: failure.exitCode)
  }

  /// Not if what it made has gone since, a certificate for one.
  private func isDone(_ digest: String) -> Bool {
    guard let record = CommissionRecord.read(statePath: files.statePath), record.isGood, record.digest == digest
    else {
      return false
    }
    return CommissionFiles(configuration: files.path).present != nil && access(files.path, F_OK) == 0
      && files.read(into: Diagnostics()) != nil
  }

  private func apply(
    _ text: String, _ box: BoxIdentity, _ digest: String, _ commissioning: inout Commissioning
  ) throws {
    let diagnostics = Diagnostics()
    let buses = files.read(into: Diagnostics())?.buses.map(\.name) ?? []
    let provision = TomlFile.parse(text, file: path, into: diagnostics).flatMap {
      ProvisioningFile.parse($0, on: box, buses: buses, diagnostics: diagnostics)
    }
    guard let provision else {
      throw CommandFailure(
        diagnostics.sorted.map(\.text).joined(separator: "\n"), exitCode: CommandFailure.configuration)
    }
    var table = provision.table
    board(provision, &table, &commissioning)
    // All that is wrong in it is said before anything is made; a listener may wait for its certificate.
    var early = table
    if provision.certificate == .selfSigned, early.table("pull")["certificate"] == nil { early.remove("pull") }
    let draft = try commissioning.configuration(early)
    for (bus, place) in provision.scan where !draft.buses.contains(where: { $0.name == bus }) {
      throw CommandFailure(
        "\(place.text): commission.scan: \(PointName.noBus(bus, draft.buses))", exitCode: CommandFailure.configuration
      )
    }
    if let board = draft.board { commissioning.rules(board) }
    if provision.certificate == .selfSigned { try commissioning.certificate(&table, name: draft.gatewayID) }
    for (bus, _) in provision.scan {
      // A line that can't be searched now is no reason to leave the box without its configuration.
      do {
        let found = try commissioning.search(bus, table, to: provision.scanTo, everySetting: false)
        let count = try commissioning.take(found, on: bus, &table)
        show(
          Phrase(
            "{0}: {1} devices found, {2} added", "{0}：找到 {1} 台，加入 {2} 台")(bus, "\(found.count)", "\(count)"))
      } catch let failure as CommandFailure {
        commissioning.notes.append("\(bus): \(failure.text)")
      }
    }
    commissioning.noteTokens(table)
    let hasChanged = try commissioning.write(table)
    let configuration = try commissioning.configuration(table)
    commissioning.key(statePath: configuration.statePath)
    commissioning.record([], gateway: configuration.gatewayID, digest: digest, statePath: configuration.statePath)
    result([], commissioning.notes + [CommissionScreen(configuration, notes: []).identity])
    show(CommissionScreen(configuration, notes: commissioning.notes).lines)
    if hasChanged, (try? Agent(options: files).clientIfRunning()) != nil {
      show(Phrase("in force after: systemctl restart kerb", "执行 systemctl restart kerb 后生效")())
    }
  }

  private func board(_ provision: Provision, _ table: inout TomlTable, _ commissioning: inout Commissioning) {
    var gateway = table.table("gateway")
    guard provision.wantsBoard, gateway["board"] == nil else { return }
    if let name = provision.board {
      gateway.set("board", .string(name), at: provision.boardPlace)
      commissioning.boardPlace = provision.boardPlace
    } else {
      let mistakes = Diagnostics()
      let detection = BoardDetection(BoardFolders.library.all(into: mistakes), on: machine)
      commissioning.notes += mistakes.sorted.map(\.text)
      guard let found = detection.board else {
        commissioning.notes.append(BoardFinder.undecided(machine, detection).text)
        return
      }
      gateway.set("board", found.name)
    }
    table.set("gateway", .table(gateway))
  }

  /// Beside the file, for who takes the card out and looks at it in a PC. A medium that can't be written says nothing.
  private func result(_ problems: [String], _ notes: [String]) {
    let head = problems.isEmpty ? "The box was set up." : "The box was not set up, and is as it was:"
    let text = ([head] + problems + notes).joined(separator: "\n") + "\n"
    do throws(FileProblem) { try TextFile.write(Array(text.utf8), to: resultPath) } catch {
      complain("\(resultPath): \(error.message)")
    }
  }
}
