// Where the pull API listens, and host:port texts, as a configuration writes them.

import StreamCore

package struct HostAndPort: Sendable, Hashable {
  package var host: String
  package var port: Int

  /// "10.0.0.7:502", "[::1]:502", "server.local:502"; without a port only if there is a usual one. Nil if it is none.
  package init?(_ text: String, usualPort: Int? = nil) {
    var rest = text[...]
    if rest.hasPrefix("[") {
      guard let close = rest.firstIndex(of: "]") else { return nil }
      host = String(rest[rest.index(after: rest.startIndex)..<close])
      guard host.contains(":"), host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else { return nil }
      rest = rest[rest.index(after: close)...]
    } else {
      let end = rest.firstIndex(of: ":") ?? rest.endIndex
      host = String(rest[..<end])
      rest = rest[end...]
      guard !host.isEmpty, host.utf8.count <= Limits.hostBytesMax else { return nil }
      let isName = host.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0)) }
      guard isName else { return nil }
    }
    if rest.isEmpty, let usualPort {
      port = usualPort
      return
    }
    let digits = rest.dropFirst()
    guard rest.first == ":", digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(digits),
      (1...65_535).contains(port)
    else { return nil }
    self.port = port
  }
}

extension ListenAddress {
  /// "127.0.0.1:8480", "[::1]:8480", "unix:/run/kerb/pull.sock"; nil if it is none. With `hasCertificate` the
  /// network is spoken to by TLS and this box in the clear, unless the address begins with https:// or http://.
  package init?(_ text: String, hasCertificate: Bool = false) {
    for (scheme, isTLS) in [("https://", true), ("http://", false)] where text.hasPrefix(scheme) {
      guard let address = HostAndPort(String(text.dropFirst(scheme.count))) else { return nil }
      self = isTLS ? .tls(host: address.host, port: address.port) : .tcp(host: address.host, port: address.port)
      return
    }
    if text.hasPrefix("unix:") {
      let path = String(text.dropFirst(5))
      guard path.hasPrefix("/"), path.utf8.count <= Limits.unixPathBytesMax else { return nil }
      self = .unix(path: path)
    } else {
      guard let address = HostAndPort(text) else { return nil }
      self = .tcp(host: address.host, port: address.port)
      if hasCertificate, !isLocal { self = .tls(host: address.host, port: address.port) }
    }
  }

  /// Nobody on the network reaches it.
  package var isLocal: Bool {
    switch self {
    case .unix: return true
    case .tcp(let host, _), .tls(let host, _):
      if host == "localhost" || host == "::1" { return true }
      let parts = host.split(separator: ".", omittingEmptySubsequences: false)
      return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
  }
}
