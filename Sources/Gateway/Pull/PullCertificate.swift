// The one door to NIOSSL: certificate files become what a TLS listener needs, or a failure that says which file is
// wrong and what to do. Values only; any thread, but not an event loop, for it reads files.
//
// Invariants:
//  1. Nothing older than TLS 1.3 is spoken.
//  2. With a CA every client must show a certificate that it signed; without one none is asked for.
//  3. A key that belongs to another certificate, or that everybody can read, is never used.

import FieldBus
import Glibc
import NIOSSL
import StreamCore

/// Which files, and where the configuration names them.
package struct CertificateFiles: Sendable, Hashable {
  /// PEM: the box's own certificate, then those between it and the CA.
  package var certificate: String
  package var key: String
  /// PEM: whoever signs the clients' certificates. Nil: clients need none.
  package var clientCA: String?
  package var place: SourcePlace

  package init(certificate: String, key: String, clientCA: String? = nil, place: SourcePlace) {
    self.certificate = certificate
    self.key = key
    self.clientCA = clientCA
    self.place = place
  }

  package var paths: [String] { [certificate, key] + (clientCA.map { [$0] } ?? []) }
}

/// What is wrong: the configuration's key that names the file, and a text that begins with its path.
package struct CertificateFailure: Error, Sendable, Equatable {
  package var key: String
  package var text: String
}

package struct PullCertificate: Sendable {
  let context: NIOSSLContext
  /// Unix seconds: the time in which every certificate of the chain is valid.
  package let notBefore: Int64
  package let notAfter: Int64

  package static func read(_ files: CertificateFiles) throws(CertificateFailure) -> PullCertificate {
    let chain = try certificates(files.certificate, key: "certificate")
    let key = try privateKey(files.key)
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
    configuration.minimumTLSVersion = .tlsv13
    configuration.applicationProtocols = ["http/1.1"]
    configuration.shutdownTimeout = .nanoseconds(Limits.farewellNs)
    if let path = files.clientCA {
      configuration.trustRoots = .certificates(try certificates(path, key: "client_ca"))
      configuration.certificateVerification = .noHostnameVerification
    }
    do {
      return PullCertificate(
        context: try NIOSSLContext(configuration: configuration),
        notBefore: chain.map { Int64($0.notValidBefore) }.max() ?? 0,
        notAfter: chain.map { Int64($0.notValidAfter) }.min() ?? 0)
    } catch {
      // Each part was read: what is left is that they don't belong together.
      throw CertificateFailure(
        key: "key",
        text: "\(files.key): is not the key of the first certificate in \(files.certificate); give the pair that was "
          + "made together, and put the box's own certificate first")
    }
  }

  /// Everything that is wrong with the files, whatever the time.
  package static func problems(_ files: CertificateFiles) -> [CertificateFailure] {
    var found: [CertificateFailure] = []
    func look(_ part: () throws(CertificateFailure) -> Void) {
      do throws(CertificateFailure) { try part() } catch { found.append(error) }
    }
    look { () throws(CertificateFailure) in _ = try certificates(files.certificate, key: "certificate") }
    look { () throws(CertificateFailure) in _ = try privateKey(files.key) }
    if let path = files.clientCA {
      look { () throws(CertificateFailure) in _ = try certificates(path, key: "client_ca") }
    }
    if found.isEmpty { look { () throws(CertificateFailure) in _ = try read(files) } }
    return found
  }

  /// SHA-256 of the box's own certificate, by which a platform that knows no CA knows it; nil if it can't be read.
  package static func fingerprint(_ path: String) -> [UInt8]? {
    guard let chain = try? certificates(path, key: "certificate"), let first = try? chain.first?.toDERBytes() else {
      return nil
    }
    return Sodium.sha256(first)
  }

  static func certificates(_ path: String, key: String) throws(CertificateFailure) -> [NIOSSLCertificate] {
    let text = try text(path, key: key)
    if let found = try? NIOSSLCertificate.fromPEMBytes(Array(text.utf8)), !found.isEmpty { return found }
    let isKey = text.contains("PRIVATE KEY-----")
    throw CertificateFailure(
      key: key,
      text: "\(path): "
        + (isKey ? "holds a key where a certificate belongs; exchange the two" : "holds no whole certificate")
        + ": a PEM file begins with -----BEGIN CERTIFICATE-----")
  }

  static func privateKey(_ path: String) throws(CertificateFailure) -> NIOSSLPrivateKey {
    let text = try text(path, key: "key")
    var facts = stat()
    guard stat(path, &facts) == 0, facts.st_mode & 0o007 == 0 else {
      let mode = String(facts.st_mode & 0o777, radix: 8)
      throw CertificateFailure(
        key: "key", text: "\(path): everybody can read the key (mode \(mode)); run: chmod 640 \(path)")
    }
    if let key = try? NIOSSLPrivateKey(bytes: Array(text.utf8), format: .pem) { return key }
    let isLocked = text.contains("ENCRYPTED")
    throw CertificateFailure(
      key: "key",
      text: "\(path): "
        + (isLocked
          ? "the key has a passphrase, and nobody is there to type it; take it out with openssl pkey"
          : "holds no whole private key: a PEM file begins with -----BEGIN PRIVATE KEY-----"))
  }

  private static func text(_ path: String, key: String) throws(CertificateFailure) -> String {
    do { return try TextFile.read(path, bytesMax: Limits.certificateBytesMax) } catch {
      let advice =
        error.isAbsent
        ? "; name the file that your certificate authority gave to you" : "; give it to the agent's user or group"
      throw CertificateFailure(key: key, text: "\(path): \(error.message)\(advice)")
    }
  }

  /// Why it is of no use at this time; nil if it is.
  package func problem(atUnix now: Int64) -> String? {
    if now >= notAfter { return "expired on \(Self.date(notAfter)); renew it: clients refuse it" }
    if now < notBefore { return "is not valid before \(Self.date(notBefore)); is the box's clock right?" }
    return nil
  }

  package static func date(_ unix: Int64) -> String {
    var seconds = time_t(unix)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
      + "\(two(parts.tm_hour)):\(two(parts.tm_min)) UTC"
  }
}

extension Configuration {
  /// What is right as it is written, and wrong at this time: `kerb check` says it, and a reload refuses it. A start
  /// does not: a power cut after the last day of a certificate must not end the reading of the buses.
  package func reportExpired(into diagnostics: Diagnostics, atUnix now: Int64) {
    guard let files = certificate, let read = try? PullCertificate.read(files),
      let problem = read.problem(atUnix: now)
    else { return }
    diagnostics.report(files.place, "pull.certificate", "\(files.certificate): \(problem)")
  }
}
