// What one [[push]] of the configuration says: where to, how, and what of the data. A value.

import FieldBus
import StreamCore

package enum PushKind: String, Sendable, CaseIterable {
  case http, mqtt
}

package enum MQTTVersion: String, Sendable, CaseIterable {
  case v3 = "3.1.1"
  case v5 = "5"
}

package enum PushFormat: String, Sendable, CaseIterable {
  /// As an answer of the pull interface: records with the ids of their batches, and gaps.
  case json = "json"
  case senmlJSON = "senml+json"
  case senmlCBOR = "senml+cbor"

  package var type: MediaType {
    switch self {
    case .json: .json
    case .senmlJSON: .senmlJSON
    case .senmlCBOR: .senmlCBOR
    }
  }
}

/// Where a push goes: the parts of its URL.
package struct PushAddress: Sendable, Hashable {
  package var isTLS: Bool
  package var host: String
  package var port: Int
  /// With the query; of MQTT empty.
  package var path: String
  package var scheme: String

  package init(scheme: String, isTLS: Bool, host: String, port: Int, path: String = "") {
    self.scheme = scheme
    self.isTLS = isTLS
    self.host = host
    self.port = port
    self.path = path
  }

  /// "city.example:8883", "[::1]:80"
  package var authority: String { (host.contains(":") ? "[\(host)]" : host) + ":\(port)" }
  /// For a person and a log: without the query, in which somebody may have put a secret.
  package var text: String { "\(scheme)://\(authority)\(path.prefix { $0 != "?" })" }
  package var isLocal: Bool { ListenAddress.tcp(host: host, port: port).isLocal }
}

package struct PushSpec: Sendable, Equatable {
  /// Name and scope; a push is a consumer, but for the token.
  package var consumer: ConsumerSpec
  package var kind: PushKind
  package var address: PushAddress
  package var format = PushFormat.json
  package var bodyBytesMax = Limits.pushBodyBytesDefault
  /// Bytes a second.
  package var rate: Int?
  package var spreadNs: Int64 = Limits.pushSpreadNsDefault

  /// PEM: who signs the platform's certificate; nil: the system's list.
  package var caFile: String?
  /// PEM: what the box shows of itself.
  package var certificate: String?
  package var key: String?
  /// HTTP: an http proxy. MQTT: a socks5 one.
  package var proxy: HostAndPort?
  package var proxyUsername: String?
  package var proxyPasswordFile: String?

  // HTTP
  package var tokenFile: String?
  package var gzip = false

  // MQTT
  package var version = MQTTVersion.v3
  package var topic = ""
  package var statusTopic = ""
  package var clientID = ""
  package var username: String?
  package var passwordFile: String?

  package init(consumer: ConsumerSpec, kind: PushKind, address: PushAddress) {
    self.consumer = consumer
    self.kind = kind
    self.address = address
  }

  package var name: String { consumer.name }

  /// A message is one batch: in SenML its id can only stand beside it, in a property or in the topic.
  package var isSingle: Bool { kind == .mqtt && format != .json }
  /// MQTT 3.1.1 has nothing but the topic: the id is there, and gaps are packs of their own.
  package var packsGaps: Bool { isSingle && version == .v3 }

  package var settings: PushMachine.Settings {
    var settings = PushMachine.Settings()
    settings.lanes = consumer.lanes
    settings.bodyBytesMax = bodyBytesMax
    settings.window = kind == .mqtt ? Limits.pushWindow : 1
    settings.isEager = kind == .mqtt
    settings.rate = rate
    settings.spreadNs = spreadNs
    return settings
  }

  /// Line by line what it takes of memory.
  package var memory: [(part: String, bytes: Int)] {
    var parts: [(String, Int)] = []
    // What is kept until it is delivered, and one that is being made: its list, and the list with its envelope.
    parts.append(("bodies", (settings.window + 1) * bodyBytesMax + 2 * bodyBytesMax))
    if gzip { parts.append(("compression", Limits.compressionBytes)) }
    if kind == .mqtt {
      parts.append(("client", Limits.pushWindow * bodyBytesMax + Limits.mqttStackBytes))
    }
    if address.isTLS {
      let isListed = kind == .http && caFile == nil
      parts.append(("TLS", Limits.pushTLSBytes + (isListed ? Limits.pushTrustBytes : 0)))
    }
    return parts
  }
}
