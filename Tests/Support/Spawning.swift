// Processes that tests start beside each other in one process.

import Glibc
import Synchronization

/// Until it has become its program a child has every descriptor of its parent, and what is closed meanwhile stays open
/// in it: a lock is still held, a line has not hung up. On a busy machine that takes long enough to be seen.
package enum Spawning {
  private static let underWay = Mutex<Void>(())

  /// `spawn`: posix_spawn, which comes back when the child is its program.
  package static func start(_ spawn: () -> Int32) -> Int32 { underWay.withLock { _ in spawn() } }

  /// After a close that others must see: no child has the descriptor any more.
  package static func settle() { underWay.withLock { _ in } }
}
