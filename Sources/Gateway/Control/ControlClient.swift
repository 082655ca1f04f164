// The tools' side of the control socket: one blocking connection, one question at a time, with a deadline. Any
// thread, one at a time.

import CLinux
import Glibc
import StreamCore

package enum ControlFailure: Error, Sendable, Equatable {
  /// Nobody listens there.
  case noAgent(path: String)
  case notPermitted(path: String)
  /// Somebody does, but says nothing.
  case silent(path: String)
  /// What came is no answer.
  case broken(String)
  /// The agent's own words.
  case refused(code: String, message: String)
}

package final class ControlClient {
  private let path: String
  private let fd: Int32

  package init(path: String, waitNs: Int64 = Limits.controlWaitNs) throws(ControlFailure) {
    self.path = path
    fd = kerb_unix_connect(path, waitNs)
    guard fd >= 0 else {
      switch -fd {
      case EACCES, EPERM: throw .notPermitted(path: path)
      case EAGAIN: throw .silent(path: path)
      default: throw .noAgent(path: path)
      }
    }
  }

  deinit { if fd >= 0 { close(fd) } }

  /// The result of a method.
  package func call(_ method: String, _ parameters: [(String, String)] = []) throws(ControlFailure) -> JSONValue {
    var writer = JSONWriter()
    writer.object {
      $0.member("method", method)
      for (name, value) in parameters { $0.member(name, value) }
    }
    try send(writer.bytes + [0x0A])
    let answer: JSONValue
    do { answer = try JSONParser.parse(try line()) } catch let failure as ControlFailure { throw failure } catch {
      throw .broken("the answer is not JSON")
    }
    if let result = answer["result"] { return result }
    guard let code = answer["error"]?["code"]?.string, let message = answer["error"]?["message"]?.string else {
      throw .broken("the answer has neither result nor error")
    }
    throw .refused(code: code, message: message)
  }

  private func send(_ bytes: [UInt8]) throws(ControlFailure) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes[sent...].withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      let code = errno
      if count < 0, code == EINTR { continue }
      // A refused one is closed before it is asked: its answer still waits to be read.
      if count < 0, code == EPIPE { return }
      if count < 0 { throw code == EAGAIN ? .silent(path: path) : .broken(String(cString: strerror(code))) }
      sent += count
    }
  }

  private func line() throws(ControlFailure) -> [UInt8] {
    var received: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(fd, &chunk, chunk.count, 0)
      let code = errno
      if count < 0, code == EINTR { continue }
      if count < 0 { throw code == EAGAIN ? .silent(path: path) : .broken(String(cString: strerror(code))) }
      if count == 0 { throw .broken("the agent closed the connection") }
      if let end = chunk[..<count].firstIndex(of: 0x0A) { return received + chunk[..<end] }
      received += chunk[..<count]
      if received.count > Limits.controlAnswerBytesMax { throw .broken("the answer has no end") }
    }
  }
}
