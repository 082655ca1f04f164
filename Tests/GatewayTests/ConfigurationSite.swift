import FieldBus
import Gateway
import TestSupport

/// A configuration in a folder of its own, and what reading it gave. Nothing of the machine that tests is looked at.
struct ConfigurationSite {
  let folder: TemporaryFolder
  let configuration: Configuration?
  let diagnostics = Diagnostics()

  /// `more`: further files by their path below the folder of kerb.toml.
  init(
    _ text: String, more: [(name: String, text: String)] = [], links: [(name: String, target: String)] = []
  ) throws {
    folder = try TemporaryFolder()
    for (name, target) in links { folder.link(name, to: target) }
    let place = folder.path
    let parts = text.split(separator: "FOLDER/", omittingEmptySubsequences: false)
    try folder.write("kerb.toml", parts.joined(separator: "\(place)/"))
    for (name, text) in more { try folder.write(name, text) }
    configuration = ConfigurationReader.read(
      path: "\(place)/kerb.toml", profileDirectories: ["\(packageRoot)/profiles"], diagnostics: diagnostics,
      systemProfileDirectories: [], machineIDPath: "\(place)/machine-id",
      boardDirectories: ["\(place)/boards", "\(packageRoot)/boards"])
  }

  /// As an installer sees them, with paths as short as kerb.toml's lines: "12:3: bus.a.port: …".
  var problems: [String] {
    diagnostics.sorted.map { diagnostic in
      let text = withoutLibraryWords(shorten(diagnostic.text))
      return text.hasPrefix("kerb.toml:") ? String(text.dropFirst("kerb.toml:".count)) : text
    }
  }

  private func shorten(_ text: String) -> String {
    var rest = text[...]
    var result = ""
    for (prefix, short) in [(folder.path + "/", ""), (packageRoot + "/", "project/")] {
      result = ""
      while let found = rest.firstRange(of: prefix) {
        result += rest[..<found.lowerBound] + short
        rest = rest[found.upperBound...]
      }
      result += rest
      rest = result[...]
    }
    return result
  }
}

extension Substring {
  fileprivate func firstRange(of text: String) -> Range<Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
