// The same answers as `BufferDesk`, of a store whose agent does not run. On the caller's thread.

import CLinux
import Glibc
import Store
import StreamCore

package final class BufferAtRest {
  private let configuration: Configuration
  private let store: StoreAtRest

  package init(_ configuration: Configuration) throws(ControlFailure) {
    self.configuration = configuration
    do { store = try StoreAtRest(StoreConfiguration(configuration, catalogue: nil)) } catch {
      throw Self.refused(error, configuration)
    }
  }

  private static func refused(_ failure: StoreFailure, _ configuration: Configuration) -> ControlFailure {
    .refused(code: failure.controlCode, message: failure.text(atRest: configuration.statePath))
  }

  /// Of the methods `buffer`, `export`, `verify` and `backup`.
  package func call(_ method: String, _ parameters: [(String, String)]) throws(ControlFailure) -> JSONValue {
    let request = JSONValue.object(parameters.map { JSONMember(name: $0.0, value: .string($0.1)) })
    var writer = JSONWriter()
    do throws(StoreFailure) {
      switch method {
      case "buffer": report(into: &writer)
      case "export": try export(ExportRequest(request), into: &writer)
      case "verify":
        let from = request["from"]?.string.flatMap { Int64($0) }
        BufferAnswer.write(try store.verify(from: from), into: &writer)
      default: try backUp(request["folder"]?.string ?? "", into: &writer)
      }
    } catch { throw Self.refused(error, configuration) }
    do { return try JSONParser.parse(writer.bytes) } catch { throw .broken("\(error)") }
  }

  private func report(into writer: inout JSONWriter) {
    let report = store.report()
    let timeline = Timeline(
      epoch: report.epoch, now: Instant(nanoseconds: kerb_monotonic_ns()),
      clocks: store.clocks(of: [report.epoch, report.oldestEpoch]))
    let flash = FlashFacts.read(configuration)
    BufferAnswer.write(report, timeline, flash, uptimeNs: nil, into: &writer)
  }

  private func export(_ request: ExportRequest, into writer: inout JSONWriter) throws(StoreFailure) {
    let answer = try store.read(request.read)
    var catalogues: [UInt32: Catalogue] = [:]
    for version in Set(answer.batches.map(\.catalogueVersion)) {
      guard let bytes = store.catalogue(version: version) else { continue }
      catalogues[version] = try? Catalogue(decoding: bytes)
    }
    request.write(
      answer, catalogues: catalogues, now: nil, pseudonymKey: try request.isPersonal ? key() : nil, into: &writer)
  }

  /// Whoever may read the key may read what it makes.
  private func key() throws(StoreFailure) -> [UInt8] {
    do throws(BoxKeyFailure) {
      return try BoxKey.open(statePath: configuration.statePath).exportKey
    } catch { throw .unusable(path: BoxKey.path(statePath: configuration.statePath), code: -EACCES) }
  }

  private func backUp(_ folder: String, into writer: inout JSONWriter) throws(StoreFailure) {
    guard mkdir(folder, 0o700) == 0 else { throw .unusable(path: folder, code: -errno) }
    let bytes: Int64
    do throws(StoreFailure) { bytes = try store.backUp(to: folder) } catch {
      rmdir(folder)
      throw error
    }
    writer.object {
      $0.member("folder", folder)
      $0.member("bytes", bytes)
    }
  }

  /// Puts a backup in the place of what is there; samples and events that it holds.
  package static func restore(
    from folder: String, _ configuration: Configuration
  ) throws(ControlFailure) -> (samples: Int64, events: Int64, store: String) {
    do {
      let report = try StoreAtRest.restore(from: folder, StoreConfiguration(configuration, catalogue: nil))
      return (report.storedSamples, report.storedEvents, report.storeID)
    } catch {
      guard case .refused(let code, let why) = refused(error, configuration) else { throw .broken("\(error)") }
      throw .refused(code: code, message: error.isOfBackup ? why : "\(folder) was not put back: \(why)")
    }
  }
}

extension StoreFailure {
  /// What a refusal is called on the control socket; the tools' exit status follows it.
  var controlCode: String {
    switch self {
    case .unusable(_, let code):
      code == -EACCES || code == -EPERM ? "forbidden" : code == -EEXIST ? "bad_value" : "storage"
    case .io, .full, .readOnly, .newer, .missing, .movedAway: "storage"
    case .corrupt, .damaged, .foreignLog, .noBackup, .mixedBackup, .strangeBackup: "damaged"
    case .held, .liveBackup, .busy, .closed, .stateless: "unavailable"
    }
  }

  /// It names the backup by itself.
  fileprivate var isOfBackup: Bool {
    switch self {
    case .noBackup, .mixedBackup, .strangeBackup, .liveBackup: true
    default: false
    }
  }
}
