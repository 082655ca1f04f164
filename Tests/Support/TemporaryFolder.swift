// A folder for one test's files.

import Glibc

/// The folder of Package.swift.
package let packageRoot = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }

package struct FolderProblem: Error { package var code: Int32 }

package func text(ofFile path: String) throws -> String {
  guard let stream = fopen(path, "r") else { throw FolderProblem(code: errno) }
  defer { fclose(stream) }
  var bytes: [UInt8] = []
  var part = [UInt8](repeating: 0, count: 65_536)
  while true {
    let count = fread(&part, 1, part.count, stream)
    if count == 0 { break }
    bytes += part[..<count]
  }
  return String(decoding: bytes, as: UTF8.self)
}

/// Gone with its owner, and everything that was written through it.
package final class TemporaryFolder {
  package let path: String
  private var made: [String] = []

  package init() throws {
    var template = Array("/tmp/kerb-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw FolderProblem(code: errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    for entry in made.reversed() { remove(entry) }
    rmdir(path)
  }

  package func write(_ name: String, _ text: String) throws { try write(name, bytes: Array(text.utf8)) }

  package func write(_ name: String, bytes: [UInt8]) throws {
    var folder = path
    for part in name.split(separator: "/").dropLast() {
      folder += "/\(part)"
      if mkdir(folder, 0o700) == 0 { made.append(folder) }
    }
    let file = "\(path)/\(name)"
    guard let stream = fopen(file, "w") else { throw FolderProblem(code: errno) }
    made.append(file)
    fwrite(bytes, 1, bytes.count, stream)
    fclose(stream)
  }

  package func link(_ name: String, to target: String) {
    if symlink(target, "\(path)/\(name)") == 0 { made.append("\(path)/\(name)") }
  }
}
