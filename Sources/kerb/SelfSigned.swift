// A key and a certificate that signs itself, made by openssl: for boxes whose platforms know the certificate by its
// fingerprint. Files that are there already are left as they are.

import FieldBus
import Gateway
import Glibc

struct SelfSigned {
  let folder: String
  var certificate: String { "\(folder)/cert.pem" }
  var key: String { "\(folder)/key.pem" }
  /// A certificate that ends while the box hangs in a shaft helps nobody; it is known by its fingerprint.
  private static let days = "3650"

  /// True: they were made now.
  func make(name: String) throws(CommandFailure) -> Bool {
    let hasKey = access(key, F_OK) == 0
    if access(certificate, F_OK) == 0 {
      if hasKey { return false }
      throw CommandFailure(
        Phrase(
          "{0} is there, but not {1}: put its key there, or move the certificate away", "有 {0} 而没有 {1}：请补上密钥，或移走证书")(
            certificate, key), exitCode: CommandFailure.configuration)
    }
    try checkClock()
    if mkdir(folder, 0o750) != 0, errno != EEXIST {
      throw CommandFailure(cannotWrite: folder, errno)
    }
    let drafts = (certificate: "\(certificate).new", key: "\(key).new")
    defer {
      unlink(drafts.certificate)
      unlink(drafts.key)
    }
    // A power cut may have left the key alone.
    let keyWords =
      hasKey
      ? ["-key", key]
      : ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", drafts.key]
    let made = Tool.run(
      "openssl",
      ["req", "-x509", "-new", "-sha256", "-days", Self.days, "-subj", "/CN=\(name)"] + keyWords + [
        "-addext", "subjectAltName=\(Self.names(name))", "-out", drafts.certificate,
      ])
    guard made.status == 0 else {
      let reason = made.said.split(separator: "\n").last.map(String.init) ?? ""
      throw CommandFailure(
        made.status == 127
          ? Phrase(
            "there is no openssl to make a certificate with: apt install openssl, or name files of your own",
            "没有 openssl，无法生成证书：请 apt install openssl，或使用自己的证书文件")()
          : Phrase("openssl made no certificate: {0}", "openssl 未能生成证书：{0}")(reason),
        exitCode: CommandFailure.unavailable)
    }
    if !hasKey { try put(drafts.key, at: key, mode: 0o640) }
    try put(drafts.certificate, at: certificate, mode: 0o644)
    return true
  }

  private func put(_ draft: String, at path: String, mode: mode_t) throws(CommandFailure) {
    if let obstacle = FileDraft.obstacle(at: path) {
      throw CommandFailure("\(path) \(obstacle.message)", exitCode: CommandFailure.inputOutput)
    }
    if geteuid() == 0, let group = getgrnam("kerb")?.pointee.gr_gid {
      _ = chown(folder, uid_t.max, group)
      _ = chown(draft, uid_t.max, group)
    }
    guard chmod(draft, mode) == 0, rename(draft, path) == 0 else {
      throw CommandFailure(cannotWrite: path, errno)
    }
  }

  private static func names(_ name: String) -> String {
    var host = [CChar](repeating: 0, count: 256)
    gethostname(&host, host.count - 1)
    let own = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let names = Set([name, own, "localhost"]).filter { text in
      !text.isEmpty && text.utf8.allSatisfy { $0 != 0x2C && $0 != 0x5F && $0 > 0x20 && $0 < 0x7F }
    }
    return names.sorted().map { "DNS:\($0)" }.joined(separator: ",") + ",IP:127.0.0.1"
  }

  /// A box without a clock may believe that it is 1970; a certificate of then is over today.
  private func checkClock() throws(CommandFailure) {
    var facts = stat()
    guard let executable = ProfileFolders.executable, stat(executable, &facts) == 0,
      time(nil) < facts.st_mtim.tv_sec - 86_400
    else { return }
    throw CommandFailure(
      Phrase(
        "the box believes that it is {0}: set its clock (timedatectl set-time), or connect it to a time server, and "
          + "commission it again", "本机时间为 {0}：请先校时（timedatectl set-time）或连接时间服务器，再重新开通")(
          Shown.time(unix: Double(time(nil)))), exitCode: CommandFailure.tryAgain)
  }
}
