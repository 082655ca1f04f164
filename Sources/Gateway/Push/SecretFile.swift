// A token or a password in a file of its own: read when it is needed, never kept in a configuration, never in a log.
// Pure functions that read files; not on an event loop.

import FieldBus
import Glibc
import StreamCore

package enum SecretFile {
  /// What is wrong with it; the text begins with its path and never holds what is in it.
  package struct Problem: Error, Sendable, Equatable {
    package var text: String
  }

  /// One line of printable ASCII.
  package static func read(_ path: String) throws(Problem) -> String {
    let text: String
    do { text = try TextFile.read(path, bytesMax: Limits.secretBytesMax) } catch {
      throw Problem(
        text: "\(path): \(error.message); "
          + (error.isAbsent
            ? "write the secret into it, and: chmod 600 \(path)"
            : "give it to the agent's user or group"))
    }
    var facts = stat()
    guard stat(path, &facts) == 0, facts.st_mode & 0o007 == 0 else {
      let mode = String(facts.st_mode & 0o777, radix: 8)
      throw Problem(
        text: "\(path): everybody can read the secret (mode \(mode)); run: chmod 600 \(path)")
    }
    let secret =
      text.split(whereSeparator: { $0 == "\n" || $0 == "\r\n" || $0 == "\r" }).first.map(
        String.init) ?? ""
    guard !secret.isEmpty, secret.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
      throw Problem(
        text: "\(path): the first line must be the secret, in letters, digits and signs of ASCII")
    }
    return secret
  }
}
