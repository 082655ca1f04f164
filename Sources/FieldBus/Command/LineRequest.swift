// What a command asks of a line, and what becomes of it.

import StreamCore

package struct LineRequest: Sendable, Hashable {
  /// Unit, function, data; without the CRC. On a bus of asked frames: what is sent, preamble included.
  package var frame: [UInt8]
  /// On a bus of asked frames: the number of the device among the bus's; nil: a meter that need not be configured.
  package var device: Int?
  package var timeoutNs: Int64
  /// May wait for a gap in the polls that it fits into, rather than make one late.
  package var isPatient: Bool

  package init(_ frame: [UInt8], device: Int? = nil, timeoutNs: Int64, isPatient: Bool = false) {
    self.frame = frame
    self.device = device
    self.timeoutNs = timeoutNs
    self.isPatient = isPatient
  }
}

package struct LineReply: Sendable, Hashable {
  /// Checked against the request; without the CRC. On a bus of asked frames the whole frame, as it was on the
  /// line, or a line of text without its end.
  package var frame: [UInt8]
  /// From the request's first byte to the reply's last.
  package var tookNs: Int64
  package init(frame: [UInt8], tookNs: Int64) {
    self.frame = frame
    self.tookNs = tookNs
  }
}

package enum LineFailure: Error, Sendable, Hashable {
  case noReply
  case corrupt(Corruption)
  /// The device's exception code.
  case refused(UInt8)
  /// The line is not open: nobody can be asked.
  case lineLost
  /// Nobody serves the bus: it rests, is stopping or has not started.
  case notServed
  /// As many commands wait already as may.
  case busy
  /// It was not carried out in time; if it was under way, what became of it is not known.
  case tooLate
  /// Nothing can be asked on a bus of this protocol, or the frame is no request.
  case notPossible

  /// Of a write: it was never sent, or the device has refused it. After any other failure it may have been done.
  package var changesNothing: Bool {
    switch self {
    case .refused, .notServed, .busy, .notPossible: true
    case .noReply, .corrupt, .lineLost, .tooLate: false
    }
  }

  package init(_ failure: ReadFailure) {
    switch failure {
    case .noReply: self = .noReply
    case .corruptReply(let corruption): self = .corrupt(corruption)
    case .refused(let code): self = .refused(code)
    case .portLost: self = .lineLost
    }
  }
}

/// Somewhere that a request can be sent: a running agent's bus, or a line that this process has opened itself.
package protocol AskableLine {
  /// Blocks until the reply is there, or it is known that none comes.
  func ask(_ request: LineRequest) throws(LineFailure) -> LineReply
}
