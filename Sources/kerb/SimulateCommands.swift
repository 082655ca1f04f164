// Faults on command: events from standard input, one a line, on a thread of their own.

import FieldBus
import Glibc
import StreamCore
import VirtualSite

final class CommandReader: Sendable {
  private let site: VirtualSite
  private let printer: SitePrinter

  init(site: VirtualSite, printer: SitePrinter) {
    self.site = site
    self.printer = printer
  }

  /// The thread ends with its input; the process does not wait for it.
  func start() throws(SiteFailure) {
    _ = try LineThread(name: "commands") { [self] in
      while let line = readLine() {
        let text = line.drop { $0 == " " }
        if text.isEmpty || text.hasPrefix("#") { continue }
        let diagnostics = Diagnostics()
        if let event = SiteReader.event(line, site: site.spec, into: diagnostics), diagnostics.isEmpty {
          site.add(event)
        } else {
          printer.refused(line, diagnostics)
        }
      }
    }
  }
}
