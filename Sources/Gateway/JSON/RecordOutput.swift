// What a record is written into, whatever the format: JSON or CBOR. Static generics only; no existential in the data's
// way.

package protocol RecordOutput: Sendable {
  /// A place to return to with `rewind`: what a writer does when the last record turns out to be one too many.
  associatedtype Mark
  init(reservingCapacity count: Int)

  var bytes: [UInt8] { get }
  var count: Int { get }
  var mark: Mark { get }
  mutating func rewind(to mark: Mark)

  /// Records that stand already, with what is between them.
  mutating func records(_ bytes: UnsafeBufferPointer<UInt8>)
  mutating func object(_ members: (inout Self) -> Void)
  mutating func key(_ name: String)
  mutating func string(_ text: String)
  mutating func string(joining parts: String...)
  mutating func integer(_ value: some FixedWidthInteger)
  mutating func number(_ value: Double)
  mutating func number(_ value: Float)
  mutating func bool(_ value: Bool)
  /// Seconds of a time or a span, with millisecond precision.
  mutating func seconds(milliseconds value: Int64)
}

extension RecordOutput {
  package mutating func member(_ name: String, _ value: String) {
    key(name)
    string(value)
  }
  package mutating func member(_ name: String, _ value: some FixedWidthInteger) {
    key(name)
    integer(value)
  }
  package mutating func member(_ name: String, _ value: Bool) {
    key(name)
    bool(value)
  }
}

extension JSONWriter: RecordOutput {}
