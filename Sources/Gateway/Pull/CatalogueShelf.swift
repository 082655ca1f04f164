// The catalogues that answers are written with: the present one for ever, a few older ones while they are in use.
// Lives on the event loop.
//
// Invariant: at most `Limits.cataloguesCachedMax` are kept; the one that was used longest ago goes first.

import NIOCore
import Store
import StreamCore

/// One catalogue, and what each consumer may see of it.
final class CatalogueView {
  let catalogue: Catalogue
  private var scopes: [Int: Scope] = [:]

  init(_ catalogue: Catalogue) { self.catalogue = catalogue }

  func forgetScopes() { scopes = [:] }

  private var json: RecordForms?
  private var cbor: RecordForms?

  func forms(_ type: MediaType) -> RecordForms {
    let isCBOR = type == .senmlCBOR
    if let made = isCBOR ? cbor : json { return made }
    let made = RecordForms(catalogue, isCBOR: isCBOR)
    if isCBOR { cbor = made } else { json = made }
    return made
  }

  func scope(of consumer: Consumer) -> Scope {
    if let scope = scopes[consumer.index] { return scope }
    let scope = Scope(consumer.spec, of: catalogue)
    scopes[consumer.index] = scope
    return scope
  }
}

final class CatalogueShelf: @unchecked Sendable {
  // Unchecked: touched on `loop` only, which every entry asserts.

  let present: CatalogueView
  let presentVersion: UInt32
  private let loop: any EventLoop
  private let source: any BatchSource
  /// Most recently used last; never the present one.
  private var older: [(version: UInt32, view: CatalogueView)] = []

  var count: Int { 1 + older.count }

  init(present: Catalogue, version: UInt32, source: any BatchSource, loop: any EventLoop) {
    self.present = CatalogueView(present)
    presentVersion = version
    self.source = source
    self.loop = loop
  }

  /// Calls with those of `versions` that exist and can be read: at once if they stand here already.
  func views(
    _ versions: Set<UInt32>, found: [UInt32: CatalogueView] = [:],
    _ completion: @escaping ([UInt32: CatalogueView]) -> Void
  ) {
    loop.preconditionInEventLoop()
    var found = found
    var missing: UInt32?
    for version in versions where found[version] == nil {
      if let view = cached(version) { found[version] = view } else { missing = version }
    }
    guard let missing else { return completion(found) }
    let waiting = NIOLoopBound((found: found, completion: completion), eventLoop: loop)
    source.catalogue(version: missing) { bytes in
      self.loop.execute {
        let (found, completion) = waiting.value
        if let bytes, let catalogue = try? Catalogue(decoding: bytes) {
          self.keep(CatalogueView(catalogue), version: missing)
          self.views(versions, found: found, completion)
        } else {
          self.views(versions.subtracting([missing]), found: found, completion)
        }
      }
    }
  }

  /// The consumers have changed.
  func forgetScopes() {
    present.forgetScopes()
    for entry in older { entry.view.forgetScopes() }
  }

  private func cached(_ version: UInt32) -> CatalogueView? {
    if version == presentVersion { return present }
    guard let place = older.firstIndex(where: { $0.version == version }) else { return nil }
    let entry = older.remove(at: place)
    older.append(entry)
    return entry.view
  }

  private func keep(_ view: CatalogueView, version: UInt32) {
    older.removeAll { $0.version == version }
    older.append((version, view))
    if older.count > Limits.cataloguesCachedMax - 1 { older.removeFirst() }
  }
}
