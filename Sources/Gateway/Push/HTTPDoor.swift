// Pushes over HTTP: one connection, kept alive, one POST at a time; over TLS, and through a proxy. Lives on the event
// loop; names and files are read on a thread of their own, so that a hanging name server holds up nobody.
//
// Invariants:
//  1. What belongs to an older `attempt` is not heard.
//  2. At most one thread waits for a name; while it hangs, an attempt fails at once.

import CLinux
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import StreamCore

package final class HTTPDoor: PushDoor, @unchecked Sendable {
  // Unchecked: touched on `loop` only.

  private let spec: PushSpec
  private let loop: any EventLoop
  private let clock: PushClock
  private let lookup: PushCredentials.Lookup
  private var hear: (@Sendable (DoorEvent) -> Void)?
  private var attempt = 0
  private var isReading = false
  private var channel: (any Channel)?
  private var session: HTTPSession?
  private var token: String?
  private var proxyAuthorization: String?

  package init(
    _ spec: PushSpec, loop: any EventLoop, clock: PushClock,
    lookup: @escaping PushCredentials.Lookup
  ) {
    self.spec = spec
    self.loop = loop
    self.clock = clock
    self.lookup = lookup
  }

  package func open(_ hear: @escaping @Sendable (DoorEvent) -> Void) {
    self.hear = hear
    attempt += 1
    let number = attempt
    guard !isReading else {
      hear(
        .failed(.unreachable("the look-up of its name still hangs; does the name server answer?")))
      return
    }
    let (spec, lookup, loop) = (spec, lookup, loop)
    isReading = CommandThread.start {
      let read = PushCredentials.read(spec, lookup: lookup)
      loop.execute { self.got(read, number) }
    }
    if !isReading { hear(.failed(.unreachable("there is no thread to be had for it"))) }
  }

  private func got(_ read: Result<PushCredentials, PushFailure>, _ number: Int) {
    isReading = false
    guard number == attempt else { return }
    switch read {
    case .failure(let why): hear?(.failed(why))
    case .success(let credentials):
      token = credentials.token
      // Through a tunnel it is said once, to the proxy alone.
      proxyAuthorization = credentials.tls == nil ? credentials.proxyAuthorization : nil
      connect(credentials, credentials.addresses[...], number)
    }
  }

  // MARK: Connecting

  private func connect(
    _ credentials: PushCredentials, _ addresses: ArraySlice<SocketAddress>, _ number: Int
  ) {
    guard let address = addresses.first else { return }
    // So that the last address, too, is tried within the time for all.
    let timeout = Limits.pushOpenNs / Int64(2 * credentials.addresses.count)
    ClientBootstrap(group: loop)
      .connectTimeout(.nanoseconds(timeout))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelOption(
        .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Limits.socketReadBytes)
      )
      .connect(to: address)
      .assumeIsolated()
      .whenComplete { result in
        switch result {
        case .success(let channel):
          guard number == self.attempt else { return channel.close(promise: nil) }
          self.connected(channel, credentials, number)
        case .failure(let error):
          guard number == self.attempt else { return }
          let rest = addresses.dropFirst()
          if !rest.isEmpty { return self.connect(credentials, rest, number) }
          self.hear?(
            .failed(
              .unreachable("\(address.ipAddress ?? ""): \(PushText.of(error, clock: self.clock))")))
        }
      }
  }

  private func connected(_ channel: any Channel, _ credentials: PushCredentials, _ number: Int) {
    self.channel = channel
    do {
      if spec.proxy != nil, credentials.tls != nil {
        let greeting = ProxyGreeting(
          authority: spec.address.authority, authorization: credentials.proxyAuthorization
        ) { failure in
          guard number == self.attempt else { return }
          if let failure { return self.fail(failure, number) }
          do { try self.furnish(channel, credentials, number) } catch {
            self.fail(.unreachable("\(error)"), number)
          }
        }
        try channel.pipeline.syncOperations.addHandler(greeting)
        greeting.begin()
      } else {
        try furnish(channel, credentials, number)
      }
    } catch { fail(.unreachable("\(error)"), number) }
  }

  private func furnish(_ channel: any Channel, _ credentials: PushCredentials, _ number: Int) throws
  {
    let pipeline = channel.pipeline.syncOperations
    let session = HTTPSession(waitsForTLS: credentials.tls != nil, clock: clock) { event in
      guard number == self.attempt else { return }
      self.take(event, number)
    }
    if let tls = credentials.tls {
      // Of an address the certificate is held against the address (RFC 6066 knows no address as a server's name).
      let isAddress = (try? SocketAddress(ipAddress: spec.address.host, port: 1)) != nil
      try pipeline.addHandler(
        NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : spec.address.host))
    }
    try pipeline.addHTTPClientHandlers(
      leftOverBytesStrategy: .dropBytes, enableOutboundHeaderValidation: true)
    try pipeline.addHandler(session)
    self.session = session
    if credentials.tls == nil { hear?(.opened) }
  }

  private func take(_ event: HTTPSession.Event, _ number: Int) {
    switch event {
    case .secured: hear?(.opened)
    case .answered(let parcel, let why): hear?(.answered(parcel, why))
    case .failed(let why): fail(why, number)
    case .closed:
      forget()
      hear?(.closed)
    }
  }

  private func fail(_ why: PushFailure, _ number: Int) {
    guard number == attempt else { return }
    forget()
    hear?(.failed(why))
  }

  private func forget() {
    attempt += 1
    channel?.close(mode: .all, promise: nil)
    channel = nil
    session = nil
  }

  // MARK: Sending

  package func send(_ parcel: PushParcel) {
    guard let session else { return }
    var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: target)
    head.headers.add(name: "Host", value: spec.address.authority)
    head.headers.add(name: "User-Agent", value: "kerb/\(Version.text)")
    head.headers.add(name: "Content-Type", value: parcel.type.rawValue)
    head.headers.add(name: "Content-Length", value: "\(parcel.body.count)")
    if parcel.isGzip { head.headers.add(name: "Content-Encoding", value: "gzip") }
    head.headers.add(name: "Idempotency-Key", value: parcel.id)
    for gap in parcel.gaps { head.headers.add(name: "Kerb-Gap", value: gap) }
    if let token { head.headers.add(name: "Authorization", value: "Bearer \(token)") }
    if let proxyAuthorization { head.headers.add(name: "Proxy-Authorization", value: proxyAuthorization) }
    session.send(head, parcel)
  }

  /// A proxy without TLS is told the whole address (RFC 9112, section 3.2.2).
  private var target: String {
    spec.proxy != nil && !spec.address.isTLS
      ? "http://\(spec.address.authority)\(spec.address.path)" : spec.address.path
  }

  package func shut() { forget() }

  package func leave(_ completion: @escaping @Sendable () -> Void) {
    forget()
    hear = nil
    completion()
  }
}
