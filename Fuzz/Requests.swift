// What a platform sends, behind the framing of HTTP: targets, cursors, bodies, what it accepts. The first byte says
// which.

import Store
import StreamCore

private let seal = CursorSeal(
  storeID: "6f1c2d3e-4b5a-4c7d-8e9f-0a1b2c3d4e5f", key: [UInt8](repeating: 7, count: 32))

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start, count > 0 else { return 0 }
  let bytes = [UInt8](UnsafeBufferPointer(start: start + 1, count: count - 1))
  let text = String(decoding: bytes, as: UTF8.self)
  switch start[0] % 4 {
  case 0:
    guard let target = RequestTarget(RequestTarget.origin(text) ?? text[...]) else { return 0 }
    precondition(target.parameters.count <= count)
    let decoded = target.parameters.reduce(target.path.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    precondition(decoded <= text.utf8.count)
  case 1:
    // Only what was sealed here is taken, and it means what it meant.
    guard let seal, let position = try? seal.position(text) else { return 0 }
    precondition(seal.token(position) == text)
  case 2:
    guard let value = try? JSONParser.parse(bytes) else { return 0 }
    var writer = JSONWriter()
    writer.value(value)
    // A number too large for a double has no text: it comes back as null.
    guard let again = try? JSONParser.parse(writer.bytes) else { preconditionFailure("it does not read itself") }
    var second = JSONWriter()
    second.value(again)
    precondition(second.bytes == writer.bytes)
  default:
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    let offers: [MediaType] = [.json, .senmlJSON, .senmlCBOR]
    if let best = MediaType.negotiate(offers, accept: parts) { precondition(offers.contains(best)) }
    _ = MediaType.takesGzip(parts)
  }
  return 0
}
