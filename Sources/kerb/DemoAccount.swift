// The demo's account: whether everything that the agent produced is with the platform, reported as lost, or still
// stored.

import Gateway
import StreamCore

struct DemoAlarm {
  var device: String
  var name: String
  /// From when the condition was first on the wire, in a reply that the agent read, to the platform's receipt of the
  /// record: at most `forNs` and 50 ms. Nil: the record does not say when.
  var wireToClientNs: Int64?
  /// From when something was done to the device: until it is asked again nothing of that is on the wire. Nil: nobody
  /// did anything.
  var touchedToClientNs: Int64?
  /// How long its condition must hold.
  var forNs: Int64
}

struct DemoAccount {
  /// By the agent: samples and alarm events that its buses made.
  var produced: Int64 = 0
  /// By the platform: each sequence once; and those that it was told will never come.
  var delivered: Int64 = 0
  var reported: Int64 = 0
  var duplicates: Int64 = 0
  var missing: Int64 = 0
  var batches: Int64 = 0
  /// By the agent: behind the platform's cursor.
  var stored: Int64 = 0
  var alarms: [DemoAlarm] = []
  var buses: [(name: String, utilisation: Double, efficiency: Double)] = []
  var rssBytes: Int64 = 0
  var privateBytes: Int64 = 0

  var balanced: Bool {
    produced > 0 && produced == delivered + reported + stored && duplicates == 0 && missing == 0
  }

  /// The cover that was lifted on purpose.
  var alarmArrived: Bool {
    alarms.contains { $0.device == DemoSite.coverDevice && $0.name == DemoSite.coverAlarm }
  }

  /// The platform's part, as `kerb demo-client` prints it.
  mutating func take(platform: JSONValue) {
    delivered = platform["delivered"]?.integer ?? 0
    reported = platform["reported"]?.integer ?? 0
    duplicates = platform["duplicates"]?.integer ?? 0
    missing = platform["missing"]?.integer ?? 0
    batches = platform["batches"]?.integer ?? 0
  }

  /// The agent's part, as it writes it when it has ended: nothing is in hand any more.
  mutating func take(agent: JSONValue) {
    produced = agent["produced"]?.integer ?? 0
    let consumer = agent["consumers"]?.array?.first { $0["name"]?.string == DemoSite.consumer }
    stored = consumer?["lag_records"]?.integer ?? 0
  }

  /// How the agent was while it ran, as its control socket gave it.
  mutating func take(status: JSONValue) {
    buses = (status["buses"]?.array ?? []).map {
      ($0["name"]?.string ?? "?", $0["utilisation"]?.double ?? 0, $0["efficiency"]?.double ?? 0)
    }
    rssBytes = status["memory"]?["rss_bytes"]?.integer ?? 0
    privateBytes = status["memory"]?["private_bytes"]?.integer ?? 0
  }

  func write(_ writer: inout JSONWriter) {
    writer.member("balanced", balanced)
    writer.member("alarm_arrived", alarmArrived)
    writer.member("produced", produced)
    writer.member("delivered", delivered)
    writer.member("reported", reported)
    writer.member("stored", stored)
    writer.member("duplicates", duplicates)
    writer.member("missing", missing)
    writer.member("batches", batches)
    writer.key("alarms")
    writer.array { list in
      for alarm in alarms {
        list.object {
          $0.member("name", "\(alarm.device)/\(alarm.name)")
          if let ns = alarm.wireToClientNs {
            $0.member("wire_to_client_ms", rounded(Double(ns) / 1e6))
            $0.member("after_for_ms", rounded(Double(ns - alarm.forNs) / 1e6))
          }
          if let ns = alarm.touchedToClientNs { $0.member("touched_to_client_ms", rounded(Double(ns) / 1e6)) }
          $0.member("for_ms", alarm.forNs / 1_000_000)
        }
      }
    }
    writer.key("buses")
    writer.array { list in
      for bus in buses {
        list.object {
          $0.member("name", bus.name)
          $0.member("utilisation", bus.utilisation)
          $0.member("efficiency", bus.efficiency)
        }
      }
    }
    writer.member("rss_bytes", rssBytes)
    writer.member("private_bytes", privateBytes)
  }
}

/// To a tenth.
func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }
