// A configuration that anybody may have written: what is read is a tree of bounded depth with places inside the text,
// what is not is refused at a place.

import StreamCore

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzToml(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, let text = String(validating: UnsafeBufferPointer(start: data, count: size), as: UTF8.self) else {
    return 0
  }
  let diagnostics = Diagnostics()
  guard var root = TomlFile.parse(text, file: "f", into: diagnostics) else {
    require(diagnostics.count == 1 && diagnostics.all.allSatisfy { $0.place.line > 0 && !$0.message.isEmpty })
    return 0
  }
  require(diagnostics.isEmpty)
  // A table in an array of tables is counted once.
  walk(.table(root), levelsLeft: 2 * Limits.tomlLevelsMax + 1)
  root.merge(root, diagnostics: diagnostics)
  return 0
}

private func walk(_ value: TomlValue, levelsLeft: Int) {
  require(levelsLeft >= 0)
  switch value {
  case .table(let table): for member in table.members { walk(member.item.value, levelsLeft: levelsLeft - 1) }
  case .array(let items): for item in items { walk(item.value, levelsLeft: levelsLeft - 1) }
  default: break
  }
}
