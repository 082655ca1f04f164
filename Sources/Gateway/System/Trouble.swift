// What keeps a part of the box from its work, in words for who stands before it: what happened, to what, what to do.
// The same words go to the console, into `kerb status` and to `kerb doctor`.

import Synchronization

package struct Trouble: Sendable, Equatable {
  /// A word that stays the same in every language and version.
  package var code: String
  /// A bus, a file, a folder, a board.
  package var subject: String
  package var text: String
  package var chineseText: String

  package init(_ code: String, _ subject: String, _ text: String, _ chineseText: String) {
    self.code = code
    self.subject = subject
    self.text = text
    self.chineseText = chineseText
  }

  /// One trouble is told once, however its figures change.
  var key: String { "\(code) \(subject)" }

  package static let portMissing = "port-missing"
  package static let portLost = "port-lost"
  package static let commissionRefused = "commission-refused"
}

/// What is the matter now: written by the main thread, read by whoever is asked.
package final class TroubleBook: Sendable {
  private let page = Mutex<[Trouble]>([])

  package init() {}

  package var troubles: [Trouble] { page.withLock { $0 } }
  func write(_ troubles: [Trouble]) { page.withLock { $0 = troubles } }
}

extension JSONWriter {
  package mutating func troubles(_ troubles: [Trouble]) {
    array { list in
      for trouble in troubles {
        list.object {
          $0.member("code", trouble.code)
          $0.member("subject", trouble.subject)
          $0.member("en", trouble.text)
          $0.member("zh", trouble.chineseText)
        }
      }
    }
  }
}

extension Trouble {
  /// As `kerb status --json` has it.
  package init?(_ value: JSONValue) {
    guard let code = value["code"]?.string, let subject = value["subject"]?.string, let text = value["en"]?.string
    else { return nil }
    self.init(code, subject, text, value["zh"]?.string ?? text)
  }
}
