// The control socket: RUNTIME/control.sock, one JSON object a line each way, peers checked by the credentials that
// the kernel vouches for. The face is for any thread; what is behind it runs on one loop of the group that is
// given.
//
// Where the folder RUNTIME-admin is, there is a second door in it: only who may enter that folder comes to it, so
// whoever comes may change things. Within a user namespace of its own (systemd's PrivateUsers) the agent has no
// other way to know a member of group `kerb-admin`: everybody but root and itself has the same number there.
//
// Invariants:
//  1. A line is at most `Limits.controlLineBytesMax` long, connections at most `controlConnectionsMax`; one more is
//     told so and closed.
//  2. A connection's lines are answered in order, one at a time.

import CLinux
import Glibc
import Logging
import NIOCore
import NIOPosix
import Store
import StreamCore

package final class ControlServer: Sendable {
  package static func path(runtime: String) -> String { "\(runtime)/control.sock" }
  package static func adminPath(runtime: String) -> String { path(runtime: adminFolder(runtime: runtime)) }
  private static func adminFolder(runtime: String) -> String { "\(runtime)-admin" }

  private let path: String
  private let adminFolder: String
  private let adminPath: String
  private let loop: any EventLoop
  private let desk: ControlDesk
  private let house: ControlHouse
  private let logger: Logger
  private let access: @Sendable (_ uid: UInt32, _ gid: UInt32) -> ControlAccess

  package init(
    configuration: Configuration, catalogue: Catalogue, catalogueVersion: UInt32, store: any BatchSource,
    field: any FieldView, alarms: (any AlarmOwners)? = nil, house: HouseAlarms? = nil, pull: PullServer?,
    push: PushOffice? = nil,
    arenaBytes: Int, startedAt: Instant, group: any EventLoopGroup, logger: Logger, reloads: ReloadDoor? = nil,
    troubles: TroubleBook = TroubleBook(), earlier: Earlier = Earlier(), healthNs: Int64 = Limits.healthNs,
    now: @escaping @Sendable () -> Instant = { Instant(nanoseconds: kerb_monotonic_ns()) },
    access: @escaping @Sendable (_ uid: UInt32, _ gid: UInt32) -> ControlAccess = {
      ControlAccess.of(uid: $0, gid: $1, agent: geteuid(), namespace: .current)
    }
  ) {
    path = Self.path(runtime: configuration.runtimePath)
    adminFolder = Self.adminFolder(runtime: configuration.runtimePath)
    adminPath = Self.adminPath(runtime: configuration.runtimePath)
    loop = group.next()
    desk = ControlDesk(
      configuration: configuration, catalogue: catalogue, catalogueVersion: catalogueVersion, source: store,
      field: field, alarms: alarms, house: house, pull: pull, push: push, arenaBytes: arenaBytes, startedAt: startedAt,
      loop: loop, logger: logger, reloads: reloads, troubles: troubles, earlier: earlier, healthNs: healthNs,
      now: now)
    self.house = ControlHouse()
    self.logger = logger
    self.access = access
  }

  /// Not on an event loop.
  package func start() throws(PullFailure) {
    try open(path, admitting: .none)
    if Glibc.access(adminFolder, W_OK) == 0 { try open(adminPath, admitting: .change) }
  }

  /// Everybody who comes through this door may do at least as much as `least`.
  private func open(_ path: String, admitting least: ControlAccess) throws(PullFailure) {
    do {
      let socket = kerb_unix_listen(path, 0o660, Int32(Limits.controlConnectionsMax))
      guard socket >= 0 else { throw IOError(errnoCode: -socket, reason: "bind") }
      if least == .none { shareWithGroup() }
      let channel = try ServerBootstrap(group: loop)
        .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Limits.socketReadBytes))
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try self.welcome(channel, least) }
        }
        .withBoundSocket(socket).wait()
      try loop.submit { self.house.listeners.append((path, channel)) }.wait()
    } catch {
      let reason = (error as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(error)"
      throw .cannotControl(path: path, reason: reason)
    }
  }

  /// Members of group `kerb` may connect, where there is such a group and we may give the socket to it.
  private func shareWithGroup() {
    if let group = getgrnam("kerb") { _ = chown(path, uid_t.max, group.pointee.gr_gid) }
  }

  /// Closes everything. Blocks; not on an event loop.
  package func stop() { close { Array($0.connections.values) } }

  /// Nobody comes in any more; who is here is served on. Blocks; not on an event loop.
  func closeDoors() { close { _ in [] } }

  private func close(_ others: @escaping @Sendable (ControlHouse) -> [any Channel]) {
    let left = loop.makePromise(of: Void.self)
    loop.execute {
      let open = self.house.listeners.map(\.channel) + others(self.house)
      for listener in self.house.listeners { unlink(listener.path) }
      self.house.listeners = []
      for channel in open { channel.close(promise: nil) }
      EventLoopFuture.andAllComplete(open.map(\.closeFuture), on: self.loop).cascade(to: left)
    }
    try? left.futureResult.wait()
  }

  /// The kernel's `struct ucred`.
  private struct Peer: Sendable {
    var pid: Int32
    var uid: UInt32
    var gid: UInt32
  }

  /// On the loop: a new connection.
  private func welcome(_ channel: any Channel, _ least: ControlAccess) throws {
    let id = ObjectIdentifier(channel)
    let isOver = house.connections.count >= Limits.controlConnectionsMax
    house.connections[id] = channel
    channel.closeFuture.assumeIsolated().whenComplete { _ in self.house.connections[id] = nil }
    let connection = ControlConnection(desk: desk)
    try channel.pipeline.syncOperations.addHandler(connection)
    if isOver {
      connection.refuse("too_many", "\(Limits.controlConnectionsMax) connections are open already; close one of them")
      return
    }
    guard let provider = channel as? any SocketOptionProvider else { return channel.close(promise: nil) }
    let credentials: EventLoopFuture<Peer> = provider.unsafeGetSocketOption(
      level: .socket, name: .init(rawValue: SO_PEERCRED))
    credentials.assumeIsolated().whenComplete { result in
      guard case .success(let peer) = result else { return channel.close(promise: nil) }
      let access = max(least, self.access(peer.uid, peer.gid))
      if access == .none {
        self.logger.warning("refused at the control socket", metadata: ["uid": "\(peer.uid)", "pid": "\(peer.pid)"])
        connection.refuse("forbidden", "your user may not look in here; ask for membership in group kerb")
      } else {
        connection.admit(access)
      }
    }
  }
}

/// What the control server has open. Lives on the loop.
private final class ControlHouse: @unchecked Sendable {
  // Unchecked: touched from the loop only: the initializer of a connection, its end, start and stop submit there.
  var listeners: [(path: String, channel: any Channel)] = []
  var connections: [ObjectIdentifier: any Channel] = [:]
}
