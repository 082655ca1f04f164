// The bounds of what the box sends of itself, and the reason for each.

extension Limits {
  /// One body of a push, before compression: any one alarm with all its texts fits.
  package static let pushBodyBytesMin = 8 << 10
  package static let pushBodyBytesMax = 1 << 20
  package static let pushBodyBytesDefault = 64 << 10
  /// The first bodies, until it is known how fast the way is.
  package static let pushBodyBytesFirst = 16 << 10
  /// A body that takes longer is followed by a smaller one: an alarm waits for what is on its way.
  package static let pushBodyNs: Int64 = 10_000_000_000
  /// MQTT messages on their way without an acknowledgement; each is kept until then.
  package static let pushWindow = 4
  /// The first connection after a start comes at a random moment within this: a district's power comes back at once.
  package static let pushSpreadNsDefault: Int64 = 10_000_000_000
  package static let pushSpreadNsMax: Int64 = 600_000_000_000
  /// Between two attempts, doubled with each failure.
  package static let pushRetryNsMin: Int64 = 1_000_000_000
  package static let pushRetryNsMax: Int64 = 120_000_000_000
  /// Full jitter may choose nearly nothing: at least this.
  package static let pushRetryNsFloor: Int64 = 100_000_000
  /// After a refusal that only a person can end.
  package static let pushRefusedNsMin: Int64 = 30_000_000_000
  package static let pushRefusedNsMax: Int64 = 600_000_000_000
  /// A platform may ask for that much patience, and no more.
  package static let retryAfterNsMax: Int64 = 3_600_000_000_000
  /// Name, connection, TLS and greeting together.
  package static let pushOpenNs: Int64 = 30_000_000_000
  /// The answer to a body, and for each byte on its way as much time as the slowest usable link needs.
  package static let pushAnswerNs: Int64 = 30_000_000_000
  package static let pushBytesPerSecondMin: Int64 = 1_000
  package static let pushRateMin = 1_000
  package static let pushRateMax = 1_000_000_000
  /// Heads, TLS and TCP around a body, for `max_rate`.
  package static let pushOverheadBytes = 512
  /// An answer is thrown away, but for its status; one that never ends is cut here.
  package static let pushAnswerBytesMax = 2 << 20
  /// The beginning of a refusal's text that is shown to a person.
  package static let pushReasonBytesMax = 160
  /// Of a proxy's answer to CONNECT.
  package static let proxyHeadBytesMax = 8 << 10
  /// A token or a password with its line end.
  package static let secretBytesMax = 4 << 10
  /// A name, and over SOCKS a password, has one byte for its length (RFC 1929).
  package static let proxyLoginBytesMax = 255
  /// Of a hash, in a body's name: two contents with one name are not met in the life of a fleet.
  package static let fingerprintBytes = 8
  package static let urlBytesMax = 1_024
  /// With a body's name in it; RabbitMQ, which makes a routing key of it, takes no more than 255.
  package static let topicBytesMax = 255
  /// A uuid, an epoch, a lane, two sequences and a fingerprint, with what is between them.
  package static let bodyNameBytesMax = 36 + 10 + 9 + 2 * 19 + 2 * fingerprintBytes + 5
  /// Addresses of one name that are tried.
  package static let addressesTriedMax = 4
  /// What TLS takes for a push: 520 KiB measured with OpenSSL, which MQTT uses; less with the other.
  package static let pushTLSBytes = 512 << 10
  /// The system's list of CAs for HTTPS, where no `ca_file` is named: 1.0 to 1.2 MiB measured, of 140 CAs.
  package static let pushTrustBytes = 1_280 << 10
  /// What the thread of an MQTT push touches of its stack, and libmosquitto of the heap.
  package static let mqttStackBytes = 256 << 10
  /// A connection without a body for so long is closed: a router may have forgotten it, and an alarm would wait
  /// for an answer that can't come. Longer than the pause between two commits: a handshake costs 5 KB.
  package static let pushIdleNs: Int64 = 240_000_000_000
  /// libmosquitto looks at its keep-alive this often: brokers allow half of it on top.
  package static let mqttTurnNs: Int64 = 10_000_000_000
  /// A connection without traffic is proven alive this often.
  package static let mqttKeepAliveSeconds: Int32 = 60
}
