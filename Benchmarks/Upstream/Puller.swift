// A client that costs next to nothing: a blocking socket, one connection, and a search for what it needs in the bytes.
// It counts records and follows the cursor; what the answers mean is looked at elsewhere.

import CLinux
import Glibc

func pull(port: UInt16, type: String, records: Int, tokenFiles: [String]) throws {
  let tokens = try tokenFiles.map { path -> String in
    guard let file = fopen(path, "r") else { throw BenchFailure(what: path) }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    fgets(&line, 256, file)
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return String(text.prefix { $0 != "\n" })
  }
  let began = seconds()
  var threads: [pthread_t] = []
  let pullers = try tokens.enumerated().map {
    try Puller(port: port, token: $0.element, type: type, records: records, number: $0.offset)
  }
  for puller in pullers {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { raw in
        if let raw { Unmanaged<Puller>.fromOpaque(raw).takeUnretainedValue().run() }
        return nil
      }, Unmanaged.passUnretained(puller).toOpaque())
    threads.append(thread)
  }
  for thread in threads { pthread_join(thread, nil) }
  let took = seconds() - began
  if let failure = pullers.compactMap(\.failure).first {
    let line = Array("\(failure)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    exit(1)
  }
  let total = pullers.reduce(0) { $0 + $1.count }
  let bytes = pullers.reduce(0) { $0 + $1.bytes }
  let answers = pullers.reduce(0) { $0 + $1.answers }
  let slowest = pullers.map(\.slowest).max() ?? 0
  var usage = rusage()
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  let cpu =
    Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
    + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
  print(
    "{\"records\":\(total),\"seconds\":\(took),\"per_second\":\(Int(Double(total) / took)),\"answers\":\(answers),"
      + "\"bytes\":\(bytes),\"client_cpu_s\":\(cpu),\"slowest_answer_ms\":\(slowest * 1e3)}")
}

final class Puller: @unchecked Sendable {
  // Unchecked: one thread runs it, which is joined before anything is read.
  private let fd: Int32
  private let token: String
  private let type: String
  private let wanted: Int
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)
  private var filled = 0
  private(set) var count = 0
  private(set) var bytes = 0
  private(set) var answers = 0
  private(set) var slowest = 0.0
  private(set) var failure: String?

  /// Each from an address of its own: as many from one are turned away.
  init(port: UInt16, token: String, type: String, records: Int, number: Int) throws {
    self.token = token
    self.type = type
    wanted = records
    fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    var own = address
    own.sin_port = 0
    own.sin_addr.s_addr = UInt32(0x7F00_0102 + number).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    func on(_ place: inout sockaddr_in, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
      withUnsafePointer(to: &place) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(fd, $0, size) }
      }
    }
    guard on(&own, bind) == 0, on(&address, connect) == 0 else { throw BenchFailure(what: "connect: \(errno)") }
    var yes: Int32 = 1
    setsockopt(fd, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
  }

  deinit { close(fd) }

  func run() {
    var cursor = ""
    while count < wanted {
      let asked = seconds()
      let after = cursor.isEmpty ? "" : "&after=\(cursor)"
      send(
        "GET /v1/batches?lane=telemetry&limit=10000\(after) HTTP/1.1\r\nHost: box\r\n"
          + "Authorization: Bearer \(token)\r\nAccept: \(type)\r\n\r\n")
      guard let next = answer() else { return }
      slowest = max(slowest, seconds() - asked)
      answers += 1
      cursor = next
      if failure != nil { return }
    }
  }

  private func send(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
  }

  private func more() -> Bool {
    if filled == buffer.count { buffer.append(contentsOf: repeatElement(0, count: buffer.count)) }
    let got = buffer.withUnsafeMutableBytes { recv(fd, $0.baseAddress.map { $0 + filled }, $0.count - filled, 0) }
    if got <= 0 {
      failure = "the connection ended"
      return false
    }
    filled += got
    return true
  }

  /// The next cursor; nil: it failed, or nothing is left.
  private func answer() -> String? {
    filled = 0
    var head: Int?
    repeat {
      guard more() else { return nil }
      head = place(of: "\r\n\r\n", from: 0, to: filled)
    } while head == nil
    guard let head else { return nil }
    guard place(of: "HTTP/1.1 200", from: 0, to: head) == 0 else {
      failure = String(decoding: buffer[..<min(filled, 400)], as: UTF8.self)
      return nil
    }
    guard let at = place(of: "ontent-Length: ", from: 0, to: head) else {
      failure = "no length"
      return nil
    }
    var length = 0
    var digit = at + 15
    while buffer[digit] >= 0x30 && buffer[digit] <= 0x39 {
      length = length * 10 + Int(buffer[digit] - 0x30)
      digit += 1
    }
    let begin = head + 4
    while filled < begin + length { guard more() else { return nil } }
    bytes += length
    count += records(from: begin, to: begin + length)
    let mark = type == "application/json" ? "\"next\":\"" : "after="
    let (from, to) = type == "application/json" ? (begin, begin + length) : (0, head)
    guard let next = last(mark, from: from, to: to) else {
      failure = "no cursor"
      return nil
    }
    let start = next + mark.utf8.count
    return String(decoding: buffer[start..<(start + 66)], as: UTF8.self)
  }

  /// In JSON the beginnings of records; in CBOR whole maps on the first level, by skipping from item to item.
  private func records(from begin: Int, to end: Int) -> Int {
    if !type.hasSuffix("cbor") {
      var (found, at) = (0, begin)
      while let place = place(of: "{\"n\":", from: at, to: end) {
        found += 1
        at = place + 5
      }
      return found
    }
    return buffer.withUnsafeBytes { bytes in
      var (found, at, depth) = (0, begin + 1, 0)
      while at < end {
        let byte = bytes[at]
        at += 1
        switch byte {
        case 0xBF:
          depth += 1
          if depth == 1 { found += 1 }
        case 0xFF: depth -= 1
        case 0x60...0x77: at += Int(byte & 31)
        case 0x78: at += 1 + Int(bytes[at])
        case 0x18, 0x38: at += 1
        case 0x19, 0x39, 0xF9: at += 2
        case 0x1A, 0x3A, 0xFA: at += 4
        case 0x1B, 0x3B, 0xFB: at += 8
        default: break
        }
      }
      return found
    }
  }

  private func place(of text: StaticString, from: Int, to: Int) -> Int? {
    buffer.withUnsafeBytes { bytes -> Int? in
      guard let base = bytes.baseAddress else { return nil }
      let length = text.utf8CodeUnitCount
      var at = from
      while at + length <= to {
        guard let hit = memchr(base + at, Int32(text.utf8Start[0]), to - length + 1 - at) else { return nil }
        at = UnsafeRawPointer(hit) - base
        if memcmp(base + at, text.utf8Start, length) == 0 { return at }
        at += 1
      }
      return nil
    }
  }

  private func last(_ text: String, from: Int, to: Int) -> Int? {
    let wanted = Array(text.utf8)
    var at = to - wanted.count
    while at >= from {
      if buffer[at] == wanted[0], buffer[at..<(at + wanted.count)].elementsEqual(wanted) { return at }
      at -= 1
    }
    return nil
  }
}
