// The lines of a configuration file that are one consumer's, wherever it stands. What is around them stays as somebody
// wrote it.

import FieldBus
import Gateway
import StreamCore

struct ConsumerFile {
  private let consumer: ConsumerSpec
  private let lines: [String]

  init(_ consumer: ConsumerSpec, lines: [String]) {
    self.consumer = consumer
    self.lines = lines
  }

  static func lines(_ path: String) throws(CommandFailure) -> [String] {
    do throws(FileProblem) {
      let text = try TextFile.read(path, bytesMax: Limits.configurationBytesMax)
      return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    } catch {
      throw CommandFailure("\(path): \(error.message)", exitCode: CommandFailure.inputOutput)
    }
  }

  /// The file that `kerb commission` writes, and writes again.
  static func isCommissioned(_ path: String) -> Bool { path.hasSuffix("/conf.d/\(CommissionFiles.name)") }

  /// All lines but its own: from its [[consumer]] to the next table that is not within it. Refused if what is left is
  /// not exactly the rest.
  func without() throws(CommandFailure) -> [String] {
    let first = consumer.place.line - 1
    guard lines.indices.contains(first), lines[first].trimmed.hasPrefix("[[consumer]]") else { throw elsewhere }
    let end =
      lines[(first + 1)...].firstIndex { line in
        line.trimmed.hasPrefix("[") && !line.trimmed.hasPrefix("[consumer.") && !line.trimmed.hasPrefix("[[consumer.")
      } ?? lines.count
    let rest = Array(lines[..<first] + lines[end...])
    guard let before = names(lines), let after = names(rest), after == before.filter({ $0 != consumer.name }),
      tables(lines) == tables(rest)
    else { throw elsewhere }
    return rest
  }

  /// Of the consumers, in order; nil: it is no TOML.
  private func names(_ lines: [String]) -> [String]? {
    parsed(lines).map { root in
      root.tables("consumer").map { if case .string(let name)? = $0["name"]?.item.value { name } else { "" } }
    }
  }

  /// Everything else, as text.
  private func tables(_ lines: [String]) -> String? {
    parsed(lines).map { root in
      var root = root
      root.remove("consumer")
      return TomlText.of(root)
    }
  }

  private func parsed(_ lines: [String]) -> TomlTable? {
    TomlFile.parse(lines.joined(separator: "\n"), file: consumer.place.file, into: Diagnostics())
  }

  private var elsewhere: CommandFailure {
    CommandFailure(
      Messages.text(.consumerElsewhere, consumer.name, "\(consumer.place.file):\(consumer.place.line)"),
      exitCode: CommandFailure.usage)
  }
}

extension String {
  var trimmed: Substring { drop { $0 == " " || $0 == "\t" } }
  var isBlankOrComment: Bool { trimmed.isEmpty || trimmed.hasPrefix("#") }
}
