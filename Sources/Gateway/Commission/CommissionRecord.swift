// STATE/commission.json: how the box was set up, or why it was not. Written by `kerb commission`, shown by
// `kerb status`; a file that is missing or damaged says nothing.

import FieldBus
import Glibc
import StreamCore

package struct CommissionRecord: Sendable, Equatable {
  package var isGood: Bool
  /// The provisioning file; "console": a person did it.
  package var source: String
  /// Of the file, the box and the program: the same again changes nothing.
  package var digest: String
  package var gateway: String
  /// Unix seconds, as the box's clock had it.
  package var at: Int64
  package var problems: [String]

  package init(isGood: Bool, source: String, digest: String, gateway: String, at: Int64, problems: [String] = []) {
    self.isGood = isGood
    self.source = source
    self.digest = digest
    self.gateway = gateway
    self.at = at
    self.problems = problems
  }

  package static func path(statePath: String) -> String { "\(statePath)/commission.json" }

  package static func read(statePath: String) -> CommissionRecord? {
    guard let text = try? TextFile.read(path(statePath: statePath), bytesMax: Limits.commissionRecordBytesMax),
      let root = try? JSONParser.parse(Array(text.utf8)), let isGood = root["good"]?.bool
    else { return nil }
    return CommissionRecord(
      isGood: isGood, source: root["source"]?.string ?? "", digest: root["digest"]?.string ?? "",
      gateway: root["gateway"]?.string ?? "", at: root["at"]?.integer ?? 0,
      problems: (root["problems"]?.array ?? []).compactMap(\.string))
  }

  package func write(statePath: String) throws(FileProblem) {
    var writer = JSONWriter()
    writer.commission(self)
    try TextFile.write(writer.bytes + [0x0A], to: Self.path(statePath: statePath))
  }
}

extension JSONWriter {
  package mutating func commission(_ record: CommissionRecord) {
    object {
      $0.member("good", record.isGood)
      $0.member("source", record.source)
      $0.member("digest", record.digest)
      $0.member("gateway", record.gateway)
      $0.member("at", record.at)
      $0.key("problems")
      $0.array { for problem in record.problems.prefix(Limits.commissionProblemsMax) { $0.string(problem) } }
    }
  }
}
