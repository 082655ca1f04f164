// `kerb commission`: from a bare box to a working configuration, by questions or by a file.

import ArgumentParser
import FieldBus
import Gateway
import Glibc

struct Commission: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "commission",
    abstract: "Set a box up: its name, board, lines, devices and platforms; by questions, or from a file.",
    discussion: """
      Writes conf.d/commission.toml beside the configuration, in one piece, and keeps what was there as
      commission.toml.old. At the end stands a screen to photograph: who the box is, and its certificate's fingerprint;
      the square says the same. Run it again at any time.

      With --from nothing is asked: the file says it all, for one box or for each of a hundred. What is wrong in it is
      said with its place, beside it in FILE.result.txt, and in `kerb status`; the box stays as it was.
      docs/commissioning.md describes the file.

      Example:
        kerb commission
        kerb commission --lang zh
        kerb commission --from /boot/firmware/kerb-commission.toml
      """)

  @OptionGroup var files: ConfigurationOptions
  @Option(help: ArgumentHelp("Set the box up by this file, without a question.", valueName: "FILE")) var from: String?
  @Flag(help: "With --from: do it again, though the file is the same as before.") var again = false
  @Option(help: ArgumentHelp("With --from: the box is the machine below this folder.", valueName: "DIR"))
  var root = "/"
  @Option(help: ArgumentHelp("Ask in this language: en or zh.", valueName: "LANG")) var lang: String?

  func validate() throws {
    if let lang, !["en", "zh"].contains(lang) { throw ValidationError("--lang is en or zh") }
    if again || root != "/", from == nil { throw ValidationError("--again and --root belong to --from") }
  }

  func run() throws {
    // Before the language is looked at for the first time.
    if let lang { setenv("LC_ALL", lang == "zh" ? "zh_CN.UTF-8" : "en_GB.UTF-8", 1) }
    if let from {
      return try CommissionFromFile(files: files, path: from, again: again, machine: Machine(root: root)).run()
    }
    guard isatty(0) == 1 else {
      throw CommandFailure(
        Phrase(
          "nobody can be asked here: give a file with --from, or run this on a console",
          "此处无法提问：请用 --from 指定文件，或在控制台上运行")(),
        exitCode: CommandFailure.usage)
    }
    var talk = CommissionTalk(files)
    do { try talk.run() } catch is EndOfInput {
      talk.commissioning.forgetSecrets()
      if talk.isWritten {
        throw CommandFailure(
          Phrase(
            "ended: the box is set up; tokens are not shown again (kerb consumer rotate NAME makes another)",
            "已结束：本机已开通；令牌不再显示（kerb consumer rotate 名称 可另发）")(), exitCode: CommandFailure.usage)
      }
      throw CommandFailure(Phrase("ended: nothing was written", "已结束：未写入")(), exitCode: CommandFailure.usage)
    } catch {
      talk.commissioning.forgetSecrets()
      throw error
    }
  }
}
