// Answers the questions about the buffer that come in over the control socket. Lives on the event loop.
//
//   buffer · export {"after","since_ms","until_ms","format"} · verify {"from"} · backup {"folder"}

import Glibc
import NIOCore
import Store
import StreamCore

final class BufferDesk: @unchecked Sendable {
  // Unchecked: touched on `loop` only.

  static let methods = ["buffer", "export", "verify", "backup"]

  private let configuration: Configuration
  private let store: StoreThread?
  private let shelf: CatalogueShelf
  private let startedAt: Instant
  private let loop: any EventLoop
  private let now: @Sendable () -> Instant

  init(
    configuration: Configuration, store: StoreThread?, shelf: CatalogueShelf, startedAt: Instant, loop: any EventLoop,
    now: @escaping @Sendable () -> Instant
  ) {
    self.configuration = configuration
    self.store = store
    self.shelf = shelf
    self.startedAt = startedAt
    self.loop = loop
    self.now = now
  }

  /// False: not one of its methods.
  func answer(
    _ method: String, _ request: JSONValue, access: ControlAccess, _ reply: @escaping ([UInt8]) -> Void
  ) -> Bool {
    guard Self.methods.contains(method) else { return false }
    guard let store else {
      reply(ControlDesk.error("unavailable", "there is no store: `kerb status` says what the agent waits for"))
      return true
    }
    let bound = NIOLoopBound(reply, eventLoop: loop)
    switch method {
    case "buffer": report(store, bound)
    case "export": export(ExportRequest(request), access, store, bound)
    case "verify":
      store.verify(from: request["from"]?.string.flatMap { Int64($0) }) { result in
        self.loop.execute {
          Self.answer(bound.value, result) { answer, writer in BufferAnswer.write(answer, into: &writer) }
        }
      }
    default: backUp(request["folder"]?.string ?? "", access, store, bound)
    }
    return true
  }

  private typealias Reply = NIOLoopBound<([UInt8]) -> Void>

  private static func answer<Answer>(
    _ reply: ([UInt8]) -> Void, _ result: Result<Answer, StoreFailure>, _ write: (Answer, inout JSONWriter) -> Void
  ) {
    switch result {
    case .success(let answer): reply(ControlDesk.result { write(answer, &$0) })
    case .failure(let failure): reply(ControlDesk.error(failure.controlCode, "\(failure)"))
    }
  }

  private func report(_ store: StoreThread, _ reply: Reply) {
    store.report { report in
      store.clocks(of: [report.epoch, report.oldestEpoch]) { clocks in
        self.loop.execute {
          let timeline = Timeline(epoch: report.epoch, now: self.now(), clocks: clocks)
          reply.value(
            ControlDesk.result {
              BufferAnswer.write(
                report, timeline, FlashFacts.read(self.configuration),
                uptimeNs: self.now() - self.startedAt, into: &$0)
            })
        }
      }
    }
  }

  /// Pseudonyms are for who may change things: they are personal data as long as the key exists.
  private func export(_ request: ExportRequest, _ access: ControlAccess, _ store: StoreThread, _ reply: Reply) {
    guard !request.isPersonal || access == .change else {
      return reply.value(
        ControlDesk.error("forbidden", "pseudonyms need root, the agent's user, or group kerb-admin"))
    }
    var key: [UInt8]?
    if request.isPersonal {
      do throws(BoxKeyFailure) {
        key = try BoxKey.open(statePath: configuration.statePath).exportKey
      } catch { return reply.value(ControlDesk.error("unavailable", error.text)) }
    }
    let pseudonymKey = key
    store.read(request.read, for: nil) { result in
      self.loop.execute {
        guard case .success(let found) = result else {
          return Self.answer(reply.value, result) { _, _ in }
        }
        self.shelf.views(Set(found.batches.map(\.catalogueVersion))) { views in
          let catalogues = views.mapValues(\.catalogue)
          reply.value(
            ControlDesk.result {
              request.write(
                found, catalogues: catalogues, now: self.now(), pseudonymKey: pseudonymKey, into: &$0)
            })
        }
      }
    }
  }

  /// The folder is made by the agent, with its rights: whoever asks must be allowed to change things.
  private func backUp(_ folder: String, _ access: ControlAccess, _ store: StoreThread, _ reply: Reply) {
    guard access == .change else {
      return reply.value(
        ControlDesk.error("forbidden", "a backup needs root, the agent's user, or group kerb-admin"))
    }
    guard folder.hasPrefix("/"), mkdir(folder, 0o700) == 0 else {
      let code = errno
      let failure = StoreFailure.unusable(path: folder, code: -code)
      if folder.hasPrefix("/"), ![EACCES, EPERM, EROFS, EEXIST].contains(code) {
        return reply.value(ControlDesk.error(failure.controlCode, "\(failure)"))
      }
      let reason = folder.hasPrefix("/") ? String(cString: strerror(code)) : "it must begin with /"
      // What the service may not do (docs/install.md) is no mistake in the name.
      let advice =
        [EACCES, EPERM, EROFS].contains(code)
        ? "the agent makes the folder, with its own rights: name one below \(configuration.statePath), or stop it "
          + "and try again" : "name a folder that is not there yet"
      return reply.value(ControlDesk.error("bad_value", "\(folder.prefix(200)): \(reason); \(advice)"))
    }
    store.backUp(to: folder) { result in
      self.loop.execute {
        if case .failure = result { rmdir(folder) }
        Self.answer(reply.value, result) { bytes, writer in
          writer.object {
            $0.member("folder", folder)
            $0.member("bytes", bytes)
          }
        }
      }
    }
  }
}
