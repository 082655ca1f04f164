// The only loop that blocks on a line: one POSIX thread a bus, its stack sized. Pause and stop come in through
// `BusControl`, commands through the bus's inbox; both are seen between two transactions. It wakes for its
// deadlines and for these alone.

import CLinux
import Glibc
import StreamCore

package final class BusThread: @unchecked Sendable {
  // Unchecked: the handle is written before `start` returns and used by the one who joins.
  private var handle = pthread_t()
  private var body: (@Sendable () -> Void)?
  private let name: String

  /// Deep enough for libmodbus's select and the decoder; a tenth of the default.
  package static let stackBytes = 256 << 10

  package init(name: String) { self.name = name }

  /// Runs the loop that `make` builds, on the new thread, until it is told to stop.
  package func start<Loop: BusWork & ~Copyable>(
    control: BusControl, make: @escaping @Sendable () -> Loop
  ) {
    let name = self.name
    body = {
      kerb_block_signals()
      kerb_thread_name(name)
      var loop = make()
      BusThread.run(&loop, control)
    }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setstacksize(&attributes, Self.stackBytes)
    let failure = pthread_create(
      &handle, &attributes,
      { context in
        guard let context else { return nil }
        let thread = Unmanaged<BusThread>.fromOpaque(context).takeRetainedValue()
        thread.body?()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    pthread_attr_destroy(&attributes)
    precondition(failure == 0, "no thread to be had")
  }

  package func join() { pthread_join(handle, nil) }

  private static func run<Loop: BusWork & ~Copyable>(_ loop: inout Loop, _ control: BusControl) {
    loop.start()
    control.inbox.open()
    while true {
      control.moved()
      // What is asked from here on ends the wait below.
      let (order, posts) = (control.order, control.inbox.posts)
      if order == .stop { break }
      if order == .pause {
        control.inbox.failAll(.notServed)
        loop.handOver()
        control.wakeStore()
        control.setPaused(true)
        control.wait(until: .distantFuture, order: order, posts: posts, listeningOn: -1)
        continue
      }
      control.setPaused(false)
      let until = loop.step()
      if loop.takeHandedOver() { control.wakeStore() }
      if until.nanoseconds > kerb_monotonic_ns() {
        control.wait(until: until, order: order, posts: posts, listeningOn: loop.listensOn)
      }
    }
    control.inbox.close()
    loop.stop()
    control.wakeStore()
  }
}

/// What a bus's thread turns: Modbus polls, or listens to lines of text.
package protocol BusWork: ~Copyable, SendableMetatype {
  mutating func start()
  /// Does what is due, and says until when there is nothing to do.
  mutating func step() -> Instant
  /// The descriptor on which something may come in by itself while there is nothing to do; -1: none.
  var listensOn: Int32 { get }
  mutating func handOver()
  mutating func takeHandedOver() -> Bool
  mutating func stop()
}

extension BusWork where Self: ~Copyable {
  package var listensOn: Int32 { -1 }
}

extension BusLoop: BusWork where Line: ~Copyable {}
