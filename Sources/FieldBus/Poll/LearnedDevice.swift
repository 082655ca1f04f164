// What a bus has learned of a device, kept across restarts.

import StreamCore

package struct LearnedDevice: Sendable, Equatable {
  package var latency = Latency()
  /// What it refused as one request.
  package var refused: [RefusedSpan] = []
  /// How short a silence it bears, and of which silence that was found: at another speed it is found anew.
  package var tolerance = Tolerance()
  package var silenceNs: Int64 = 0
  package init() {}
}
