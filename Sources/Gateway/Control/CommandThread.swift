// A thread for one command that has to wait: starts, runs, is gone. Nobody joins it; what it uses it holds.

import CLinux
import Glibc

enum CommandThread {
  /// Deep enough for a command's JSON; a bus's own stack is as deep.
  private static let stackBytes = 256 << 10

  /// False: there is no thread to be had.
  static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackBytes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let held = Unmanaged.passRetained(CommandBody(body))
    var handle = pthread_t()
    let code = pthread_create(
      &handle, &attributes,
      { raw in
        guard let raw else { return nil }
        let body = Unmanaged<CommandBody>.fromOpaque(raw).takeRetainedValue()
        kerb_block_signals()
        kerb_thread_name("kerb-command")
        body.run()
        return nil
      }, held.toOpaque())
    if code != 0 { held.release() }
    return code == 0
  }
}

private final class CommandBody: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}
