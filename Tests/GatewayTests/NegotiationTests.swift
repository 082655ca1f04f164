import CZlib
import FieldBus
import Gateway
import Store
import StreamCore
import Testing

@Suite struct NegotiationTests {
  @Test(
    "Of what is offered the client gets what it likes best",
    arguments: [
      ("", "application/json"), ("*/*", "application/json"), ("application/*", "application/json"),
      ("application/senml+json", "application/senml+json"), ("Application/SenML+CBOR", "application/senml+cbor"),
      ("application/senml+cbor;q=0.4, application/senml+json;q=0.5", "application/senml+json"),
      ("*/*;q=0.1, application/senml+cbor", "application/senml+cbor"),
      ("application/json;q=0, */*", "application/senml+json"),
      ("application/json;q=0.2, application/*;q=0.9", "application/senml+json"),
      ("text/html, application/senml+cbor ; charset=x ; q=0.001", "application/senml+cbor"),
      ("text/html", nil), ("application/json;q=0", nil), ("*/*;q=0", nil), ("application/json;q=7", nil), ("json", nil),
    ] as [(String, String?)])
  func accept(_ header: String, _ type: String?) {
    let parts = header.split(separator: ",")
    #expect(MediaType.negotiate([.json, .senmlJSON, .senmlCBOR], accept: parts)?.rawValue == type)
  }

  @Test(
    "gzip is for those who ask for it",
    arguments: [
      ("", false), ("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("*", true), ("br", false),
      ("*;q=0", false), ("gzip;q=0, *", false), ("identity", false), ("x-gzip", true), ("gzip;q=nan", false),
    ])
  func encoding(_ header: String, _ takes: Bool) {
    #expect(MediaType.takesGzip(header.split(separator: ",")) == takes)
  }

  @Test("CBOR as RFC 8949, appendix A, shows it")
  func cbor() {
    func hex(_ write: (inout CBORWriter) -> Void) -> String {
      var writer = CBORWriter()
      write(&writer)
      return Hexadecimal.text(writer.bytes)
    }
    #expect(hex { $0.integer(0) } == "00")
    #expect(hex { $0.integer(23) } == "17")
    #expect(hex { $0.integer(24) } == "1818")
    #expect(hex { $0.integer(1_000) } == "1903e8")
    #expect(hex { $0.integer(1_000_000) } == "1a000f4240")
    #expect(hex { $0.integer(UInt64.max) } == "1bffffffffffffffff")
    #expect(hex { $0.integer(-1) } == "20")
    #expect(hex { $0.integer(-1_000) } == "3903e7")
    #expect(hex { $0.integer(Int64.min) } == "3b7fffffffffffffff")
    #expect(hex { $0.number(1.1) } == "fb3ff199999999999a")
    #expect(hex { $0.number(100_000.0) } == "1a000186a0")
    #expect(hex { $0.number(Float(1.5)) } == "fa3fc00000")
    #expect(hex { $0.number(-4.125) } == "fac0840000")
    #expect(hex { $0.number(Double.nan) } == "f6")
    #expect(hex { $0.bool(true) } == "f5")
    #expect(hex { $0.string("水") } == "63e6b0b4")
    #expect(hex { $0.string(joining: "a", "/", "b") } == "63612f62")
    #expect(hex { $0.seconds(milliseconds: -2_000) } == "21")
    #expect(hex { $0.seconds(milliseconds: 1_250) } == "fa3fa00000")
    // SenML's labels in the record, texts in what is nested in it.
    let nested = hex {
      $0.object { record in
        record.member("v", 1)
        record.key("in")
        record.object { $0.member("v", 2) }
        record.member("q", "good")
      }
    }
    #expect(nested == "bf020162696ebf617602ff617164676f6f64ff")
  }

  private func filled() throws -> PullFixture {
    let fixture = try PullFixture()
    fixture.store.change {
      $0.telemetryGaps = [
        Gap(from: 1, to: 20, epoch: 3, start: PullFixture.at(1), end: PullFixture.at(6.5), reason: .evicted)
      ]
    }
    fixture.store.add([
      PullFixture.sample(0, 34, at: 10.25), PullFixture.sample(3, 1, at: 11), PullFixture.sample(0, 0, at: 12, .bad),
      PullFixture.sample(4, 1, at: 13),
    ])
    var event = PullFixture.event(0, .unacknowledged, .critical, at: 14)
    event.add(AlarmCause(series: 0, quality: .good, raw: 171))
    fixture.store.add(event)
    return fixture
  }

  @Test("senml+json: the records alone, each with one value and nothing nested; the cursor in Link, gaps in Kerb-Gap")
  func senmlJSON() throws {
    let fixture = try filled()
    let response = try fixture.get(
      "/v1/batches?limit=50&lane=telemetry", headers: "Accept: application/senml+json\r\n")
    #expect(response.status == 200)
    #expect(response.headers["content-type"] == "application/senml+json")
    #expect(
      String(decoding: response.body, as: UTF8.self)
        == #"[{"n":"box-7/cover-1/tilt","t":1795212010.25,"v":3.4,"u":"deg","q":"good"},"#
        + #"{"n":"box-7/hydrant-1/open","t":1795212011,"vb":true,"q":"good"},"#
        + #"{"n":"box-7/cover-1/tilt","t":1795212012,"vs":"bad","u":"deg","q":"bad"},"#
        + #"{"n":"box-7/lift-1/state","t":1795212013,"v":1,"label":"moving","q":"good"}]"#)
    #expect(
      response.headers["kerb-gap"]
        == "telemetry;from=1;to=20;count=20;start=1795212001;end=1795212006.5;reason=evicted")
    let cursor = fixture.cursor(Position(alarms: 0, telemetry: 24))
    #expect(response.headers["link"] == "</v1/batches?after=\(cursor)&limit=50&lane=telemetry>; rel=\"next\"")
    let next = response.headers["link"]?.dropFirst().prefix { $0 != ">" } ?? ""
    #expect(try fixture.get(String(next), headers: "Accept: application/senml+json\r\n").status == 204)
    #expect(fixture.store.change { $0.cursors["all"]?.telemetry } == 24)

    let alarms = try fixture.get("/v1/batches?lane=alarms", headers: "Accept: application/senml+json\r\n")
    #expect(
      String(decoding: alarms.body, as: UTF8.self)
        == #"[{"n":"box-7/cover-1/cover-open","t":1795212014,"id":"1","alarm":"cover-open","#
          + #""event":"raised","state":"unacknowledged","#
        + #""active":true,"severity":"critical","since":1795212012,"vb":true,"#
        + #""message-en":"Cover cover-1 of box-7: 17.1 deg","message-zh":"井盖 cover-1","tilt-value":17.1}]"#)
  }

  @Test("senml+cbor says the same in fewer bytes")
  func senmlCBOR() throws {
    let fixture = try filled()
    let response = try fixture.get("/v1/batches?lane=telemetry", headers: "Accept: application/senml+cbor\r\n")
    #expect(response.headers["content-type"] == "application/senml+cbor")
    let body = Hexadecimal.text(response.body)
    let first = "bf0072" + Hexadecimal.text("box-7/cover-1/tilt".utf8) + "06fb41dac030ba90000002fb400b3333333333330163"
      + Hexadecimal.text("deg".utf8) + "6171" + "64" + Hexadecimal.text("good".utf8) + "ff"
    #expect(body.hasPrefix("9f" + first), "\(body)")
    #expect(body.hasSuffix("ffff"))
  }

  @Test("A pack without a record is none: 204, with the cursor and the gaps")
  func emptyPack() throws {
    let fixture = try PullFixture([PullFixture.consumer("water") { $0.kinds = ["hydrant"] }])
    fixture.store.add([PullFixture.sample(0, 34, at: 10)])
    let response = try fixture.get("/v1/batches", as: "water", headers: "Accept: application/senml+cbor\r\n")
    #expect(response.status == 204)
    #expect(response.headers["link"]?.hasPrefix("</v1/batches?after=") == true)
  }

  @Test("More gaps than a head holds come with the next answer")
  func manyGaps() throws {
    let fixture = try PullFixture()
    fixture.store.change {
      $0.telemetryGaps = (0..<100).map {
        Gap(from: 2 * $0 + 1, to: 2 * $0 + 1, epoch: 3, start: nil, end: nil, reason: .damaged)
      }
    }
    fixture.store.add([PullFixture.sample(0, 1, at: 1)])
    let client = try fixture.client()
    client.sendRequest("/v1/batches", token: "token-all", headers: "Accept: application/senml+json\r\n")
    let head = try client.rawHead()
    #expect(head.split(separator: "\r\n").count { $0.hasPrefix("Kerb-Gap: ") } == Limits.gapHeadersMax)
  }

  @Test("A long answer is compressed for who asks, the same byte for byte; a short one is not, and HEAD has no body")
  func gzip() throws {
    let fixture = try PullFixture()
    fixture.store.add((0..<4_000).map { PullFixture.sample(0, Int64($0 % 97), at: 1 + Double($0) / 4) })
    let query = "/v1/batches?limit=4000"
    let plain = try fixture.get(query)
    #expect(plain.headers["content-encoding"] == nil)
    #expect(plain.body.count > 4 * Limits.compressBytesPerTurn)
    let client = try fixture.client()
    for _ in 0..<3 {
      let packed = try client.get(query, token: "token-all", headers: "Accept-Encoding: deflate, gzip\r\n")
      #expect(packed.headers["content-encoding"] == "gzip")
      #expect(packed.body.count * 4 < plain.body.count)
      #expect(Self.unpacked(packed.body) == plain.body)
    }
    let head = try client.get(query, token: "token-all", method: "HEAD", headers: "Accept-Encoding: gzip\r\n")
    #expect(head.headers["content-encoding"] == nil)
    let short = try client.get("/healthz", token: nil, headers: "Accept-Encoding: gzip\r\n")
    #expect(short.headers["content-encoding"] == nil)
    #expect(short.headers["content-length"] == "15")
  }

  @Test("A client that leaves in the middle of a compressed answer leaves nothing behind")
  func leaves() throws {
    let fixture = try PullFixture()
    fixture.store.add((0..<4_000).map { PullFixture.sample(0, Int64($0 % 97), at: 1 + Double($0) / 4) })
    for _ in 0..<3 * Limits.compressionsMax {
      let client = try fixture.client()
      client.sendRequest("/v1/batches?limit=4000", token: "token-all", headers: "Accept-Encoding: gzip\r\n")
      client.hangUp()
    }
    #expect(eventually { fixture.counts.connections == 0 })
    let after = try fixture.get("/v1/batches?limit=4000", headers: "Accept-Encoding: gzip\r\n")
    #expect(after.headers["content-encoding"] == "gzip")
  }

  private static func unpacked(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    guard inflateInit2_(&stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { return [] }
    defer { inflateEnd(&stream) }
    var input = bytes
    var output = [UInt8](repeating: 0, count: 2 * Limits.answerBytesMax)
    let result = input.withUnsafeMutableBufferPointer { source in
      output.withUnsafeMutableBufferPointer { target in
        stream.next_in = source.baseAddress
        stream.avail_in = UInt32(source.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(target.count)
        return inflate(&stream, Z_FINISH)
      }
    }
    return result == Z_STREAM_END ? Array(output[..<(output.count - Int(stream.avail_out))]) : []
  }
}
