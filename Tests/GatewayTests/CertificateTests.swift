import FieldBus
import Gateway
import Glibc
import TestSupport
import Testing

/// A folder with a certificate and its key.
struct CertificateFolder {
  let folder: TemporaryFolder
  var files: CertificateFiles

  init(_ certificate: String = TestCertificates.box, _ key: String = TestCertificates.boxKey, clientCA: String? = nil)
    throws
  {
    folder = try TemporaryFolder()
    files = CertificateFiles(
      certificate: "\(folder.path)/cert.pem", key: "\(folder.path)/key.pem",
      clientCA: clientCA == nil ? nil : "\(folder.path)/ca.pem", place: Site.place)
    try put("cert.pem", certificate)
    try put("key.pem", key)
    if let clientCA { try put("ca.pem", clientCA) }
  }

  func put(_ name: String, _ text: String) throws {
    try folder.write(name, text)
    chmod("\(folder.path)/\(name)", 0o640)
  }

  /// "key: cert.pem: …", without the folder.
  var problems: [String] {
    PullCertificate.problems(files).map { failure in
      let parts = failure.text.split(separator: "\(folder.path)/", omittingEmptySubsequences: false)
      return "\(failure.key): \(parts.joined())"
    }
  }
}

@Suite struct CertificateTests {
  @Test("What the TLS library says is told in its words, without numbers and without its builder's folders")
  func words() {
    let text =
      "sslError([Error: 268435648 error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE at "
      + "/home/me/tls13_both.cc:348, Error: 1 error:2:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER at /me/a.cc:1])"
    #expect(TLSWords.of(text) == "peer did not return a certificate, no shared cipher")
    #expect(TLSWords.of("eofDuringHandshake") == "eofDuringHandshake")
    #expect(TLSWords.of("odd at /home/me") == "odd at ")
  }

  static let now: Int64 = 1_795_212_000

  @Test("A pair that belongs together is taken, with the time in which it is valid")
  func good() throws {
    let folder = try CertificateFolder(clientCA: TestCertificates.authority)
    #expect(folder.problems == [])
    let read = try PullCertificate.read(folder.files)
    #expect(PullCertificate.date(read.notBefore) == "2020-01-01 00:00 UTC")
    #expect(PullCertificate.date(read.notAfter) == "2120-01-01 00:00 UTC")
    #expect(read.problem(atUnix: Self.now) == nil)
    let chain = try CertificateFolder(TestCertificates.expired + TestCertificates.box, TestCertificates.expiredKey)
    #expect(PullCertificate.date(try PullCertificate.read(chain.files).notAfter) == "2021-01-01 00:00 UTC")
  }

  @Test("What is missing is named, each file by its key, all at once")
  func missing() throws {
    var folder = try CertificateFolder()
    folder.files.certificate += ".no"
    folder.files.key += ".no"
    folder.files.clientCA = "\(folder.folder.path)/no.pem"
    let text = "can't be read: No such file or directory; name the file that your certificate authority gave to you"
    #expect(
      folder.problems
        == ["certificate: cert.pem.no: \(text)", "key: key.pem.no: \(text)", "client_ca: no.pem: \(text)"])
  }

  @Test("A key of another certificate, files exchanged, text, and a key with a passphrase are told apart")
  func wrong() throws {
    let mismatch = try CertificateFolder(TestCertificates.box, TestCertificates.otherKey)
    #expect(mismatch.problems.count == 1)
    #expect(mismatch.problems[0].hasPrefix("key: key.pem: is not the key of the first certificate in cert.pem;"))
    let exchanged = try CertificateFolder(TestCertificates.boxKey, TestCertificates.box)
    #expect(exchanged.problems.count == 2)
    #expect(exchanged.problems[0].hasPrefix("certificate: cert.pem: holds a key where a certificate belongs"))
    #expect(exchanged.problems[1].hasPrefix("key: key.pem: holds no whole private key"))
    let torn = try CertificateFolder(String(TestCertificates.box.dropLast(60)), TestCertificates.boxKey)
    #expect(torn.problems.first?.hasPrefix("certificate: cert.pem: holds no whole certificate") == true)
    let locked = try CertificateFolder(TestCertificates.box, TestCertificates.lockedKey)
    #expect(locked.problems.first?.hasPrefix("key: key.pem: the key has a passphrase") == true)
  }

  @Test("A key that everybody can read is refused")
  func open() throws {
    let folder = try CertificateFolder()
    chmod(folder.files.key, 0o644)
    #expect(folder.problems == ["key: key.pem: everybody can read the key (mode 644); run: chmod 640 key.pem"])
  }

  @Test("Expired and early are said with the day, and `kerb check` reports the first")
  func time() throws {
    let old = try CertificateFolder(TestCertificates.expired, TestCertificates.expiredKey)
    #expect(old.problems == [])
    let problem = try PullCertificate.read(old.files).problem(atUnix: Self.now)
    #expect(problem == "expired on 2021-01-01 00:00 UTC; renew it: clients refuse it")
    let early = try CertificateFolder(TestCertificates.early, TestCertificates.earlyKey)
    let wait = try PullCertificate.read(early.files).problem(atUnix: Self.now)
    #expect(wait == "is not valid before 2119-01-01 00:00 UTC; is the box's clock right?")
    var configuration = Configuration()
    configuration.certificate = old.files
    let diagnostics = Diagnostics()
    configuration.reportExpired(into: diagnostics, atUnix: Self.now)
    #expect(diagnostics.all.map(\.key) == ["pull.certificate"])
  }

  @Test("A renewed pair is noticed once; a wrong one is said once, and a later right one is taken")
  func watched() throws {
    let folder = try CertificateFolder()
    var watch = CertificateWatch(folder.files)
    guard case .unchanged = watch.look(atUnix: Self.now) else { throw WireFailure(what: "seen as changed") }
    try folder.put("cert.pem", TestCertificates.other)
    guard case .refused(let reason) = watch.look(atUnix: Self.now) else { throw WireFailure(what: "not refused") }
    #expect(reason.contains("is not the key of the first certificate"))
    guard case .unchanged = watch.look(atUnix: Self.now) else { throw WireFailure(what: "said twice") }
    try folder.put("key.pem", TestCertificates.otherKey)
    guard case .changed(let certificate) = watch.look(atUnix: Self.now) else { throw WireFailure(what: "not taken") }
    #expect(certificate.notAfter > Self.now)
    guard case .unchanged = watch.look(atUnix: Self.now) else { throw WireFailure(what: "taken twice") }
    try folder.put("cert.pem", TestCertificates.expired)
    try folder.put("key.pem", TestCertificates.expiredKey)
    guard case .refused(let old) = watch.look(atUnix: Self.now) else { throw WireFailure(what: "expired and taken") }
    #expect(old.contains("expired on 2021-01-01"))
  }

  @Test("A server with a wrong certificate does not start, and with a right one knows its last day")
  func served() throws {
    let folder = try CertificateFolder()
    let fixture = try PullFixture(listen: [.tls(host: "127.0.0.1", port: 0)], certificate: folder.files)
    #expect(fixture.server.certificateExpires == 4_733_510_400)
    #expect(fixture.counts.certificateExpires == 4_733_510_400)
    // Plain HTTP finds nobody: no byte of an answer, and it is counted.
    let plain = try fixture.client()
    plain.send("GET /healthz HTTP/1.1\r\nHost: box\r\n\r\n")
    try plain.waitForEnd()
    #expect(eventually { fixture.counts.refused(.handshake) == 1 })
    try folder.put("key.pem", TestCertificates.otherKey)
    #expect(throws: PullFailure.self) {
      _ = try PullFixture(listen: [.tls(host: "127.0.0.1", port: 0)], certificate: folder.files)
    }
  }
}
