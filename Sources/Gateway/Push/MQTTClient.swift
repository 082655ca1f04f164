// The one door to libmosquitto: one connection to a broker, from its making to its end. A new one for each attempt, so
// that nothing of an old connection is sent by a new one behind our back. One owner, one thread, which drives it.
//
// Invariants:
//  1. The handle is made, used and destroyed by one thread; another one traps.
//  2. Callbacks only note what happened; whoever drives it reads `events` between two turns.
//  3. It never connects again by itself.

import CLinux
import CMosquitto
import Glibc
import StreamCore

/// What a broker is told and shown; files and names are read when it connects.
struct MQTTSetup {
  var spec: PushSpec
  var password: String?
  var proxyPassword: String?
  var clock: PushClock
}

final class MQTTClient {
  enum Event {
    case connected
    /// By the number that `publish` gave.
    case acknowledged(Int32, PushFailure?)
    /// Acknowledged, too: and it has no subscriber.
    case unheard(Int32)
    case lost(PushFailure)
  }

  private static let library: Int32 = mosquitto_lib_init()
  private static let online = "online"
  private static let offline = "offline"

  private let setup: MQTTSetup
  private let owner = pthread_self()
  private var handle: OpaquePointer?
  private(set) var events: [Event] = []
  private(set) var isConnected = false
  /// What the library said last of an error: more than its codes tell.
  private var lastWord = ""

  /// Nil: no memory.
  init?(_ setup: MQTTSetup) {
    guard Self.library == MOSQ_ERR_SUCCESS.code else { return nil }
    self.setup = setup
    handle = mosquitto_new(setup.spec.clientID, true, Unmanaged.passUnretained(self).toOpaque())
    guard let handle else { return nil }
    let version = setup.spec.version == .v5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311
    mosquitto_int_option(handle, MOSQ_OPT_PROTOCOL_VERSION, version)
    mosquitto_int_option(handle, MOSQ_OPT_TCP_NODELAY, 1)
    mosquitto_max_inflight_messages_set(handle, UInt32(Limits.pushWindow))
    mosquitto_connect_v5_callback_set(handle) { _, owner, code, _, _ in
      MQTTClient.of(owner)?.greeted(code)
    }
    mosquitto_disconnect_v5_callback_set(handle) { _, owner, code, _ in
      MQTTClient.of(owner)?.left(code)
    }
    mosquitto_publish_v5_callback_set(handle) { _, owner, number, reason, _ in
      MQTTClient.of(owner)?.acknowledged(number, reason)
    }
    mosquitto_log_callback_set(handle) { _, owner, level, text in
      if level & Int32(MOSQ_LOG_ERR) != 0, let text {
        MQTTClient.of(owner)?.lastWord = String(cString: text)
      }
    }
  }

  deinit { if let handle { mosquitto_destroy(handle) } }

  private static func of(_ owner: UnsafeMutableRawPointer?) -> MQTTClient? {
    owner.map { Unmanaged<MQTTClient>.fromOpaque($0).takeUnretainedValue() }
  }

  private func own() -> OpaquePointer? {
    precondition(
      pthread_equal(owner, pthread_self()) != 0, "a broker's connection belongs to one thread")
    return handle
  }

  // MARK: Connecting

  /// Blocks, for the name and for TCP. Nil: on its way; `connected` or `lost` follows.
  func connect() -> PushFailure? {
    guard let handle = own() else { return .unreachable("no memory") }
    let spec = setup.spec
    if let username = spec.username,
      mosquitto_username_pw_set(handle, username, setup.password).isFailure
    {
      return .refused("nothing was sent: `username` can't be used")
    }
    if !spec.statusTopic.isEmpty {
      let will = Self.offline
      let code = mosquitto_will_set(handle, spec.statusTopic, Int32(will.utf8.count), will, 1, true)
      if code.isFailure { return .refused("nothing was sent: `status_topic` can't be used") }
    }
    if let proxy = spec.proxy,
      mosquitto_socks5_set(
        handle, proxy.host, Int32(proxy.port), spec.proxyUsername, setup.proxyPassword
      ).isFailure
    {
      return .refused("nothing was sent: this build of libmosquitto knows no proxies")
    }
    if spec.address.isTLS {
      // The folder is looked into for the one CA that is needed; the list in one file would be read whole.
      let folder = spec.caFile == nil ? "/etc/ssl/certs" : nil
      let code = mosquitto_tls_set(handle, spec.caFile, folder, spec.certificate, spec.key) {
        _, _, _, _ in 0
      }
      if code.isFailure || mosquitto_tls_opts_set(handle, 1, "tlsv1.2", nil).isFailure {
        return .refused("nothing was sent: `ca_file`, `certificate` or `key` can't be used")
      }
    }
    errno = 0
    let code = mosquitto_connect(
      handle, spec.address.host, Int32(spec.address.port), Limits.mqttKeepAliveSeconds)
    return code.isFailure ? failure(code) : nil
  }

  private func greeted(_ code: Int32) {
    if code == 0 {
      isConnected = true
      events.append(.connected)
      say(Self.online)
      return
    }
    let text = mosquitto_connack_string(code).map { String(cString: $0) } ?? ""
    let reason = setup.spec.version == .v5 ? String(cString: mosquitto_reason_string(code)) : text
    events.append(.lost(Self.failure(connack: code, isV5: setup.spec.version == .v5, reason)))
  }

  /// MQTT 3.1.1, 3.2.2.3 and MQTT 5, 3.2.2.2.
  static func failure(connack code: Int32, isV5: Bool, _ reason: String) -> PushFailure {
    let isPassing = isV5 ? [0x80, 0x83, 0x88, 0x89, 0x97, 0x9F].contains(code) : code == 3
    if isPassing { return .busy(status: UInt(code), afterNs: nil) }
    let isAccess = isV5 ? [0x86, 0x87, 0x8C].contains(code) : code == 4 || code == 5
    return .refused(
      "«\(reason)»; look at "
        + (isAccess ? "`username` and `password_file`" : "`protocol` and `client_id`"))
  }

  // MARK: Driving

  /// -1: none.
  var socket: Int32 { own().map { mosquitto_socket($0) } ?? -1 }
  var wantsWrite: Bool { own().map { mosquitto_want_write($0) } ?? false }

  /// After a wait for the socket, at least every `Limits.mqttTurnNs`.
  func turn(canRead: Bool, canWrite: Bool) {
    guard let handle = own() else { return }
    errno = 0
    var code = canRead ? mosquitto_loop_read(handle, Int32(Limits.pushWindow)) : 0
    if !code.isFailure, canWrite { code = mosquitto_loop_write(handle, Int32(Limits.pushWindow)) }
    if !code.isFailure { code = mosquitto_loop_misc(handle) }
    if code.isFailure { lose(failure(code)) }
  }

  func takeEvents() -> [Event] {
    defer { events = [] }
    return events
  }

  // MARK: Messages

  /// The library's number of the message; it keeps a copy until the broker has it.
  func publish(_ parcel: PushParcel) -> Result<Int32, PushFailure> {
    guard let handle = own() else { return .failure(.unreachable("no connection")) }
    var properties: OpaquePointer?
    defer { mosquitto_property_free_all(&properties) }
    if setup.spec.version == .v5 {
      let user = Int32(MQTT_PROP_USER_PROPERTY.rawValue)
      mosquitto_property_add_string(
        &properties, Int32(MQTT_PROP_CONTENT_TYPE.rawValue), parcel.type.rawValue)
      mosquitto_property_add_string_pair(&properties, user, "id", parcel.id)
      for gap in parcel.gaps { mosquitto_property_add_string_pair(&properties, user, "gap", gap) }
    }
    var number: Int32 = 0
    let code = mosquitto_publish_v5(
      handle, &number, setup.spec.topic(of: parcel), Int32(parcel.body.count), parcel.body, 1,
      false, properties)
    switch code {
    case MOSQ_ERR_SUCCESS.code: return .success(number)
    case MOSQ_ERR_OVERSIZE_PACKET.code, MOSQ_ERR_PAYLOAD_SIZE.code: return .failure(.tooLarge)
    default: return .failure(failure(code))
    }
  }

  /// What the retained status topic says from now on; the number of the message, if it could be sent.
  @discardableResult
  private func say(_ word: String) -> Int32? {
    let topic = setup.spec.statusTopic
    guard let handle = own(), !topic.isEmpty else { return nil }
    var number: Int32 = 0
    return mosquitto_publish(handle, &number, topic, Int32(word.utf8.count), word, 1, true)
      .isFailure ? nil : number
  }

  /// Says that the box goes, waits for the broker to have that, and ends the connection.
  func leave() {
    let deadline = kerb_monotonic_ns() + Limits.farewellNs / 2
    if isConnected, let number = say(Self.offline) {
      var isHeard = false
      while !isHeard, socket >= 0, kerb_monotonic_ns() < deadline {
        var polled = pollfd(
          fd: socket, events: Int16(POLLIN | (wantsWrite ? POLLOUT : 0)), revents: 0)
        _ = kerb_poll_until(&polled, 1, deadline)
        turn(
          canRead: polled.revents & ~Int16(POLLOUT) != 0,
          canWrite: polled.revents & Int16(POLLOUT) != 0)
        isHeard = takeEvents().contains {
          switch $0 {
          case .acknowledged(number, _), .unheard(number): true
          default: false
          }
        }
      }
    }
    guard let handle = own() else { return }
    if socket >= 0, mosquitto_disconnect(handle) == 0 { _ = mosquitto_loop_write(handle, 1) }
    mosquitto_destroy(handle)
    self.handle = nil
  }

  private func acknowledged(_ number: Int32, _ reason: Int32) {
    // MQTT 5, 3.4.2.1: «no matching subscribers».
    let isUnheard = reason == MQTT_RC_NO_MATCHING_SUBSCRIBERS.rawValue
    events.append(isUnheard ? .unheard(number) : .acknowledged(number, Self.failure(puback: reason)))
  }

  /// MQTT 5, 3.4.2.1; nil: the broker has it.
  static func failure(puback reason: Int32) -> PushFailure? {
    if reason < 0x80 { return nil }
    let text = "«\(String(cString: mosquitto_reason_string(reason)))»"
    switch reason {
    case 0x87: return .refused("\(text): the broker does not let this box publish on `topic`")
    case 0x90: return .refused("\(text): the broker does not take `topic`")
    case 0x95: return .tooLarge
    case 0x99: return .rejected("\(text): the broker does not take this `format`")
    default: return .busy(status: UInt(reason), afterNs: nil)
    }
  }

  // MARK: Ends

  private func left(_ code: Int32) { lose(failure(code)) }

  private func lose(_ why: PushFailure) {
    isConnected = false
    // The first reason is the nearest.
    if events.contains(where: { if case .lost = $0 { true } else { false } }) { return }
    events.append(.lost(why))
  }

  private func failure(_ code: Int32) -> PushFailure {
    let system = errno
    if lastWord.contains("certificate verify failed") {
      return .unreachable(setup.clock.certificateDoubt)
    }
    if lastWord.contains("host name verification failed") {
      return .unreachable("its certificate is for another name; look at `url`")
    }
    switch code {
    case MOSQ_ERR_EAI.code:
      return .unreachable("the name \(setup.spec.address.host) is not known here")
    case MOSQ_ERR_ERRNO.code where system != 0:
      return .unreachable(String(cString: strerror(system)))
    case MOSQ_ERR_PROXY.code:
      return .refused("the proxy lets this box not through: look at `proxy`, `proxy_username`, `proxy_password_file`")
    // MQTT 5, 3.14.2.1: the broker says why it ends a session.
    case 0x8E:
      return .refused("another client came under the same `client_id`; give each box its own")
    case _ where lastWord.contains("OpenSSL Error"):
      return .unreachable("TLS failed: \(PushText.printable(Array(lastWord.utf8)))")
    case 0x80...:
      return .unreachable(
        "the broker ended it: «\(String(cString: mosquitto_reason_string(code)))»")
    default: return .unreachable(String(cString: mosquitto_strerror(code)))
    }
  }
}

extension mosq_err_t { fileprivate var code: Int32 { rawValue } }

extension Int32 { fileprivate var isFailure: Bool { self != MOSQ_ERR_SUCCESS.code } }

extension PushSpec {
  package func topic(of parcel: PushParcel) -> String {
    Self.filled(topic, [("lane", parcel.lane.name), ("id", parcel.id)])
  }

  /// `{name}` becomes the value.
  package static func filled(_ template: String, _ values: [(name: String, value: String)])
    -> String
  {
    var (text, rest) = ("", template[...])
    while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
      let name = rest[rest.index(after: open)..<close]
      text += rest[..<open]
      text += values.first { $0.name == name }?.value ?? String(rest[open...close])
      rest = rest[rest.index(after: close)...]
    }
    return text + rest
  }
}
