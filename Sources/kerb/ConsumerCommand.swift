// `kerb consumer`: who may pull. A consumer is a file of its own in conf.d; its token is shown once and kept as a
// hash. What changes them stands in ConsumerChange.swift.

import ArgumentParser
import FieldBus
import Gateway

struct ConsumerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consumer",
    abstract: "The platforms: list them; let one in that pulls, remove it, give it another token.",
    discussion: """
      Example:
        kerb consumer list
        kerb consumer add water-bureau --kind manhole-cover --kind hydrant
        kerb consumer remove water-bureau
      """,
    subcommands: [ConsumerAdd.self, ConsumerList.self, ConsumerRemove.self, ConsumerRotate.self])
}

struct ConsumerList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "The consumers and pushes of the configuration, and what each may see.",
    discussion: """
      How far each has come is in `kerb status`.

      Example:
        kerb consumer list --json
      """)

  @OptionGroup var files: ConfigurationOptions

  @Flag(
    help: """
      A JSON array: name, file, push, devices, kinds, labels, points, lanes, min_severity, personal, pseudonym_key,
      metrics, commands.
      """)
  var json = false

  func run() throws {
    let configuration = try files.read()
    let targets = Dictionary(configuration.pushes.map { ($0.name, $0.address.text) }) { first, _ in
      first
    }
    let consumers = configuration.consumers + configuration.pushes.map(\.consumer)
    if json { return showJSON(consumers, targets) }
    if consumers.isEmpty { return show(Messages.text(.noConsumers)) }
    var table = Table(Messages.columns(.consumerListHead))
    for consumer in consumers {
      let labels = consumer.labels.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      let scope = consumer.devices + consumer.kinds + labels + consumer.points
      table.rows.append([
        Cell(consumer.name),
        Cell(scope.isEmpty ? Messages.text(.all) : scope.joined(separator: " ")),
        Cell(consumer.lanes.map(\.name).joined(separator: " ")), Cell(consumer.severityMin.word),
        Cell(consumer.personal.rawValue), Cell(consumer.commands ? Messages.text(.allowed) : "-"),
      ])
    }
    // Below: a column of addresses would leave no room for the names.
    let pushes = configuration.pushes.map { Messages.text(.pushLine, $0.name, $0.address.text) }
    show(table.lines() + pushes)
  }

  private func showJSON(_ consumers: [ConsumerSpec], _ targets: [String: String]) {
    var writer = JSONWriter()
    writer.array { list in
      for consumer in consumers {
        list.object { entry in
          func strings(_ key: String, _ values: [String]) {
            entry.key(key)
            entry.array { for value in values { $0.string(value) } }
          }
          entry.member("name", consumer.name)
          entry.member("file", consumer.place.file)
          entry.key("push")
          if let target = targets[consumer.name] { entry.string(target) } else { entry.null() }
          strings("devices", consumer.devices)
          strings("kinds", consumer.kinds)
          entry.key("labels")
          entry.object {
            for key in consumer.labels.keys.sorted() { $0.member(key, consumer.labels[key] ?? "") }
          }
          strings("points", consumer.points)
          strings("lanes", consumer.lanes.map(\.name))
          entry.member("min_severity", consumer.severityMin.word)
          entry.member("personal", consumer.personal.rawValue)
          entry.member("pseudonym_key", consumer.pseudonymKey)
          entry.member("metrics", consumer.metrics.rawValue)
          entry.member("commands", consumer.commands)
        }
      }
    }
    show(writer)
  }
}
