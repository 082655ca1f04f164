// Notices that the certificate files were changed, and reads them again. A value; on the main thread.
//
// Invariants:
//  1. What is wrong is refused, said once, and what was served before is served on.
//  2. A change while the files are being read is noticed at the next look: the stamp is older than the reading.

import Glibc
import StreamCore

package struct CertificateWatch {
  package enum Outcome: Sendable {
    case unchanged
    case changed(PullCertificate)
    case refused(String)
  }

  /// What differs when a file was written, replaced, or a link in front of it turned.
  private struct Stamp: Equatable {
    var device: dev_t = 0
    var inode: ino_t = 0
    var size: off_t = -1
    var seconds: time_t = 0
    var nanoseconds = 0
  }

  private let files: CertificateFiles
  private var served: [Stamp]
  private var refused: [Stamp] = []

  /// What the files hold now is served already.
  package init(_ files: CertificateFiles) {
    self.files = files
    served = Self.stamps(files)
  }

  package mutating func look(atUnix now: Int64) -> Outcome {
    let stamps = Self.stamps(files)
    if stamps == served || stamps == refused { return .unchanged }
    do throws(CertificateFailure) {
      let certificate = try PullCertificate.read(files)
      if now >= certificate.notAfter, let problem = certificate.problem(atUnix: now) {
        throw CertificateFailure(key: "certificate", text: "\(files.certificate): \(problem)")
      }
      served = stamps
      refused = []
      return .changed(certificate)
    } catch {
      refused = stamps
      return .refused(error.text)
    }
  }

  private static func stamps(_ files: CertificateFiles) -> [Stamp] {
    files.paths.map { path in
      var facts = stat()
      guard stat(path, &facts) == 0 else { return Stamp() }
      return Stamp(
        device: facts.st_dev, inode: facts.st_ino, size: facts.st_size, seconds: facts.st_mtim.tv_sec,
        nanoseconds: facts.st_mtim.tv_nsec)
    }
  }
}
