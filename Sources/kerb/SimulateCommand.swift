// `kerb simulate`: a virtual site from its file until SIGTERM or SIGINT.

import ArgumentParser
import CLinux
import FieldBus
import Gateway
import Glibc
import StreamCore
import VirtualSite

struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Virtual devices on pseudo-terminals or TCP, with faults on command.",
    discussion: """
      SITE.toml names lines, devices, how their values move and what happens when; docs/simulate.md describes it.
      Prints a line for everything that happens. Ends on Ctrl-C or SIGTERM, and takes its links away.

      Example:
        kerb simulate site.toml
        echo 'device = "manhole-03", point = "tilt", value = 34, for = "5s"' | kerb simulate site.toml --events
      """)

  @Argument(help: ArgumentHelp("The site file.", valueName: "SITE.toml"))
  var site: String

  @Option(help: ArgumentHelp("A folder with device profiles; it goes before the usual ones.", valueName: "DIR"))
  var profiles: [String] = []

  @Flag(help: "One JSON object a line.")
  var json = false

  @Flag(help: "Also take events from standard input, one a line, with the keys of [[event]].")
  var events = false

  func run() throws {
    kerb_block_signals()
    let spec = try readSite()
    let printer = SitePrinter(json: json, spec: spec)
    let running: VirtualSite
    do throws(SiteFailure) {
      running = try VirtualSite(spec) { printer.happened($0) }
      try running.start()
    } catch {
      complain("kerb simulate: \(error.explanation)")
      throw ExitCode(error.exitCode)
    }
    printer.started(running)
    let commands = events ? CommandReader(site: running, printer: printer) : nil
    try commands?.start()
    wait()
    running.stop()
    printer.stopped()
  }

  private func wait() {
    while StandardOutput.isOpen {
      let signal = StandardOutput.waitForSignal(ms: 60_000)
      if signal == SIGTERM || signal == SIGINT { return }
    }
  }

  private func readSite() throws -> SiteSpec {
    let text: String
    do {
      text = try TextFile.read(site, bytesMax: Limits.siteBytesMax)
    } catch {
      complain("kerb simulate: \(site) \(error.message)")
      throw ExitCode(SysExit.noInput)
    }
    let folder = site.lastIndex(of: "/").map { String(site[..<$0]) + "/profiles" } ?? "profiles"
    let diagnostics = Diagnostics()
    let library = ProfileLibrary(searchPaths: profiles + ProfileFolders.usual + [folder])
    let spec = SiteReader.read(text, file: site, profiles: library, into: diagnostics)
    guard diagnostics.isEmpty else {
      for diagnostic in diagnostics.sorted { complain(diagnostic.text) }
      throw ExitCode(SysExit.configuration)
    }
    return spec
  }
}

/// sysexits.h
enum SysExit {
  static let usage: Int32 = 64
  static let noInput: Int32 = 66
  static let unavailable: Int32 = 69
  static let software: Int32 = 70
  static let inputOutput: Int32 = 74
  static let configuration: Int32 = 78
}

extension SiteFailure {
  var exitCode: Int32 {
    switch self {
    case .linkTaken, .linkServed, .cannotListen: return SysExit.unavailable
    case .linkFailed, .noPty, .outOfMemory, .noThread: return SysExit.inputOutput
    }
  }

  /// What happened, to what, and what to do next.
  var explanation: String {
    func reason(_ code: Int32) -> String { String(cString: strerror(code)) }
    switch self {
    case .linkTaken(let path):
      return "\(path) exists and is not a link of ours: move it away, or name another path in the site file"
    case .linkServed(let path):
      return "\(path) is served by another kerb simulate: end that one first, or name another path in the site file"
    case .linkFailed(let path, let code):
      return "can't make the link \(path): \(reason(code)); does its folder exist, and may you write there?"
    case .noPty(let code): return "can't open a pseudo-terminal: \(reason(code)); is /dev/pts mounted?"
    case .cannotListen(let host, let port, let code):
      return "can't listen on \(host):\(port): \(reason(code)); name another port in the site file"
    case .outOfMemory: return "out of memory: name fewer devices in the site file"
    case .noThread(let code): return "can't start a thread: \(reason(code))"
    }
  }
}
