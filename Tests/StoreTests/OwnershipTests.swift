import Glibc
import Testing

@testable import Store

@Suite("Ownership of a handle")
struct OwnershipTests {
  @Test("A thread that did not open a connection traps when it touches it")
  func stranger() async {
    let end = await #expect(processExitsWith: .failure, observing: [\.standardOutputContent]) {
      // A crash report of a deliberate trap is of no use, and slow.
      signal(SIGTRAP, SIG_DFL)
      signal(SIGILL, SIG_DFL)
      let folder = Folder()
      let shared = Shared(path: folder.file("any.db"))
      // What ends before this is another failure.
      write(1, "open", shared.isOpen ? 4 : 0)
      // Nobody tidies up after a trap.
      Folder.remove(folder.path)
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { context in
          guard let context else { return nil }
          Unmanaged<Shared>.fromOpaque(context).takeUnretainedValue().touch()
          return nil
        }, Unmanaged.passRetained(shared).toOpaque())
      pthread_join(thread, nil)
    }
    let said = String(decoding: end?.standardOutputContent ?? [], as: UTF8.self)
    #expect(said.contains("open"))
  }
}

private final class Shared {
  private let connection: Connection?

  init(path: String) { connection = try? Connection.open(path: path, pagesMax: 100, cacheKiB: 64) }

  var isOpen: Bool {
    switch connection {
    case .some: true
    case .none: false
    }
  }

  func touch() {
    switch connection {
    case .some(let connection): try? connection.execute("SELECT 1")
    case .none: break
    }
  }
}
