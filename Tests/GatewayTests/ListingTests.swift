import FieldBus
import Gateway
import Store
import StreamCore
import Testing

@Suite struct ListingTests {
  @Test("Points show the latest value with quality, time and age; one never read is bad and has none")
  func points() throws {
    let fixture = try PullFixture()
    fixture.field.change {
      $0.points[0].raw = 34
      $0.points[0].quality = .good
      $0.points[0].readAt = PullFixture.at(998.5)
      $0.points[5].text = Array("SN".utf8)
      $0.points[5].quality = .stale
      $0.points[5].readAt = PullFixture.at(900)
    }
    let response = try fixture.get("/v1/points")
    let body = String(decoding: response.body, as: UTF8.self)
    #expect(
      body.contains(
        #"{"n":"box-7/cover-1/tilt","device":"cover-1","point":"tilt","t":1795212998.5,"age_ms":1500,"v":3.4,"#
          + #""u":"deg","q":"good"}"#), "\(body)")
    let points = response.json["points"]?.array ?? []
    #expect(points.count == 7)
    #expect(points.last?["q"] == .string("bad"))
    #expect(points.last?["v"] == nil)
    #expect(points.first { $0["point"] == .string("serial") }?["vs"] == .string("SN"))
    let one = try fixture.get("/v1/points?device=hydrant-1").json["points"]?.array ?? []
    #expect(one.compactMap { $0["point"]?.string } == ["flow", "open"])
  }

  @Test("A foreign device is 403; one that does not exist is 404 only for who may see all")
  func foreignDevice() throws {
    let fixture = try PullFixture([PullFixture.consumer("water") { $0.kinds = ["hydrant"] }])
    #expect(try fixture.get("/v1/points?device=no-such").status == 404)
    let foreign = try fixture.get("/v1/points?device=cover-1", as: "water")
    let unknown = try fixture.get("/v1/points?device=cover-9", as: "water")
    #expect(foreign.status == 403)
    #expect(unknown.status == 403)
    #expect(foreign.detail.replacing("cover-1", with: "cover-9") == unknown.detail)
    #expect(try fixture.get("/v1/points?device=hydrant-1", as: "water").status == 200)
    #expect(try fixture.get("/v1/points?dev=x").status == 400)
  }

  @Test("Alarms: the active ones, or all; in scope, by severity, with the id of their state")
  func alarms() throws {
    let fixture = try PullFixture([
      PullFixture.consumer("water") { $0.kinds = ["hydrant"] },
      PullFixture.consumer("major") { $0.severityMin = .major },
      PullFixture.consumer("numbers") { $0.lanes = [.telemetry] },
    ])
    fixture.store.change {
      $0.alarms = [
        StoredAlarm(
          name: "cover-1/cover-open", sequence: 17, epoch: 3, catalogueVersion: 1,
          event: PullFixture.event(0, .unacknowledged, .critical, at: 10)),
        StoredAlarm(
          name: "hydrant-1/leak", sequence: 12, epoch: 2, catalogueVersion: 1,
          event: PullFixture.event(1, .normal, .warning, at: 4)),
      ]
    }
    func names(_ query: String, _ consumer: String) throws -> [String] {
      (try fixture.get("/v1/alarms\(query)", as: consumer).json["alarms"]?.array ?? []).compactMap {
        $0["alarm"]?.string
      }
    }
    #expect(try names("", "all") == ["cover-open"])
    #expect(try names("?state=active", "all") == ["cover-open"])
    #expect(try names("?state=all", "all") == ["cover-open", "leak"])
    #expect(try names("?state=all", "water") == ["leak"])
    #expect(try names("?state=all", "major") == ["cover-open"])
    #expect(try fixture.get("/v1/alarms?state=old").status == 400)
    #expect(try fixture.get("/v1/alarms", as: "numbers").status == 403)
    let first = try fixture.get("/v1/alarms").json["alarms"]?.array?.first
    #expect(first?["id"] == .string("17"))
    #expect(first?["t"] == .integer(1_795_212_010))
    #expect(first?["since"] == .integer(1_795_212_008))
    // Of an epoch without a clock there is no time to tell.
    let old = try fixture.get("/v1/alarms?state=all", as: "water").json["alarms"]?.array?.first
    #expect(old?["t"] == nil && old?["since"] == nil)
    #expect(old?["unsynchronised"] == .bool(true))
  }

  @Test("Devices and the schema show what is in scope")
  func devicesAndSchema() throws {
    let fixture = try PullFixture([PullFixture.consumer("lift") { $0.kinds = ["elevator"] }])
    fixture.field.change {
      $0.devices[2].lastSeen = PullFixture.at(999)
      $0.devices[2].timeouts = 4
    }
    let devices = try fixture.get("/v1/devices", as: "lift").json["devices"]?.array ?? []
    #expect(devices.count == 1)
    #expect(devices.first?["name"] == .string("lift-1"))
    #expect(devices.first?["state"] == .string("online"))
    #expect(devices.first?["last_seen"] == .integer(1_795_212_999))
    #expect(devices.first?["timeouts"] == .integer(4))
    #expect(devices.first?["labels"]?["grid"] == .string("G4"))
    let schema = try fixture.get("/v1/schema", as: "lift")
    #expect(schema.json["points"]?.array?.count == 3)
    #expect(schema.json["points"]?.array?.first?["values"]?["1"] == .string("moving"))
    #expect(schema.json["alarms"] == .array([]))
    #expect(try fixture.get("/v1/schema").json["alarms"]?.array?.count == 3)
  }
}
