// What a connection of a push needs besides a socket: addresses, trust, its own certificate, its token. Read anew for
// each connection, so that a renewed file needs no restart. Blocks (names, files): never on an event loop.

import FieldBus
import Glibc
import NIOCore
import NIOSSL
import StreamCore

package struct PushCredentials: Sendable {
  var addresses: [SocketAddress]
  var token: String?
  /// "Basic …" for the proxy (RFC 7617).
  var proxyAuthorization: String?
  var tls: NIOSSLContext?

  package typealias Lookup =
    @Sendable (_ host: String, _ port: Int) -> Result<[SocketAddress], PushFailure>

  static func read(_ spec: PushSpec, lookup: Lookup) -> Result<PushCredentials, PushFailure> {
    let (host, port) =
      spec.proxy.map { ($0.host, $0.port) } ?? (spec.address.host, spec.address.port)
    do throws(PushFailure) {
      var credentials = PushCredentials(addresses: [])
      do throws(SecretFile.Problem) {
        credentials.token = try spec.tokenFile.map(SecretFile.read)
        if let name = spec.proxyUsername, let path = spec.proxyPasswordFile {
          let pair = "\(name):\(try SecretFile.read(path))"
          credentials.proxyAuthorization = "Basic \(Sodium.base64(Array(pair.utf8)))"
        }
      } catch { throw .refused("nothing was sent: \(error.text)") }
      if spec.address.isTLS { credentials.tls = try context(spec) }
      credentials.addresses = try lookup(host, port).get()
      return .success(credentials)
    } catch { return .failure(error) }
  }

  private static func context(_ spec: PushSpec) throws(PushFailure) -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    configuration.applicationProtocols = ["http/1.1"]
    configuration.shutdownTimeout = .nanoseconds(Limits.farewellNs)
    do throws(CertificateFailure) {
      if let path = spec.caFile {
        configuration.trustRoots = .certificates(
          try PullCertificate.certificates(path, key: "ca_file"))
      }
      if let certificate = spec.certificate, let key = spec.key {
        configuration.certificateChain = try PullCertificate.certificates(
          certificate, key: "certificate"
        )
        .map { .certificate($0) }
        configuration.privateKey = .privateKey(try PullCertificate.privateKey(key))
      }
    } catch { throw .refused("nothing was sent: \(error.text)") }
    do { return try NIOSSLContext(configuration: configuration) } catch {
      throw .refused(
        "nothing was sent: `certificate` and `key` don't belong together, or the system has no list of CAs"
      )
    }
  }

  /// The addresses of a name, as the system orders them.
  package static let lookup: Lookup = { host, port in
    if let address = try? SocketAddress(ipAddress: host, port: port) { return .success([address]) }
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = AI_ADDRCONFIG
    var found: UnsafeMutablePointer<addrinfo>?
    let code = getaddrinfo(host, nil, &hints, &found)
    guard code == 0 else {
      return .failure(
        .unreachable("the name \(host) is not known here (\(String(cString: gai_strerror(code))))"))
    }
    defer { freeaddrinfo(found) }
    var addresses: [SocketAddress] = []
    var entry = found
    while let each = entry?.pointee, addresses.count < Limits.addressesTriedMax {
      var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
      if getnameinfo(
        each.ai_addr, each.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
      {
        let name = String(
          decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if let address = try? SocketAddress(ipAddress: name, port: port) {
          addresses.append(address)
        }
      }
      entry = each.ai_next
    }
    return addresses.isEmpty
      ? .failure(.unreachable("the name \(host) has no address")) : .success(addresses)
  }
}
