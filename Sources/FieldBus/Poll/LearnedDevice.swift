// What a bus has learned of a device, kept across restarts.

import StreamCore

package struct LearnedDevice: Sendable, Equatable {
  package var latency = Latency()
  /// What it refused as one request.
  package var refused: [RefusedSpan] = []
  package init() {}
}
