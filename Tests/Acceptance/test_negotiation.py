"""The same backlog as JSON, as SenML JSON and as SenML CBOR, read by libraries that nobody here wrote; with gzip and without."""

import csv
import gzip
import json
import re
import urllib.error
import urllib.request

import cbor2
import senml

from client import records
from running import PATIENCE, Consumer, free_port, poll

SITE = """
[[line]]
name = "street"
protocol = "modbus-rtu"
link = "{folder}/street"
baud = 115200
[[device]]
name = "cover"
line = "street"
address = 1
profile = "manhole-cover/generic"
[[device]]
name = "gate"
line = "street"
address = 2
profile = "access-gate/generic"
"""

BUSES = """
[[bus]]
name = "street"
protocol = "modbus-rtu"
port = "{folder}/street"
baud = 115200
[[device]]
name = "cover"
bus = "street"
address = 1
profile = "manhole-cover/generic"
[[device]]
name = "gate"
bus = "street"
address = 2
profile = "access-gate/generic"
"""

# RFC 8428, table 4.
LABELS = {-1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs", 0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s",
          6: "t", 7: "ut", 8: "vd"}
VALUES = {"v", "vb", "vs"}


class Puller:
    """Pulls a backlog with urllib, by following whatever the answers say."""

    def __init__(self, port, token, accept, takes_gzip=False):
        self.base = f"http://127.0.0.1:{port}"
        self.headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        if takes_gzip:
            self.headers["Accept-Encoding"] = "gzip"
        self.wire_bytes = 0

    def get(self, target):
        request = urllib.request.Request(self.base + target, headers=self.headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            body = response.read()
            self.wire_bytes += len(body)
            if response.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            return response.status, response.headers, body

    def packs(self):
        """Every pack of the backlog, by the links alone."""
        target = "/v1/batches?limit=300"
        while True:
            status, headers, body = self.get(target)
            link = headers["Link"]
            if status == 200:
                assert headers["Content-Type"] == self.headers["Accept"]
                yield body
            if link is None:
                return
            target = re.fullmatch(r'<([^>]+)>; rel="next"', link).group(1)


def from_cbor(pack):
    return [{LABELS.get(key, key): value for key, value in record.items()} for record in cbor2.loads(pack)]


def test_three_formats_say_the_same(house):
    site = house.site(SITE.replace("{folder}", str(house.folder)))
    consumers = [Consumer(name) for name in ("json", "senml", "cbor", "packed")]
    agent = house.agent(BUSES.replace("{folder}", str(house.folder)), consumers)
    poll(lambda: agent.status()["devices"]["online"] == 2, "both devices answer")
    for tilt in (27, 1, 2, 34):
        site.happen(f'device = "cover", point = "tilt", value = {tilt}')
        poll(lambda: any(
            point.get("v") == tilt for point in json.loads(agent.command("points", "cover", "--json").stdout)
        ), "the tilt arrives")
    poll(lambda: agent.ask("alarms", state="all"), "an alarm was raised")
    site.process.stop()
    poll(lambda: agent.status()["devices"]["online"] == 0, "the site is gone")
    # The last that there is to tell: from now on all four find the same.
    poll(lambda: any("bus-lost" in each["n"] for each in agent.ask("alarms", state="all")), "the line is missed")
    agent.ask("flush")

    def puller(consumer, accept, **options):
        return Puller(agent.port, agent.consumers[consumer].token, accept, **options)

    plain = puller("json", "application/json")
    answers = []
    while True:
        cursor = f"&after={answers[-1]['next']}" if answers else ""
        status, _, body = plain.get(f"/v1/batches?limit=300{cursor}")
        if status == 204:
            break
        answers.append(json.loads(body))
    expected = list(records(answers))
    assert len(expected) > 10 and any("alarm" in record for record in expected)

    texts = list(puller("senml", "application/senml+json").packs())
    by_text = [record for text in texts for record in json.loads(text)]
    slim = puller("cbor", "application/senml+cbor")
    by_bytes = [record for pack in slim.packs() for record in from_cbor(pack)]
    packed = puller("packed", "application/senml+json", takes_gzip=True)
    assert [record for text in packed.packs() for record in json.loads(text)] == by_text
    assert by_bytes == by_text
    assert slim.wire_bytes < 0.8 * sum(map(len, texts))
    assert packed.wire_bytes < 0.4 * sum(map(len, texts))

    # A library for SenML takes every pack; what it understands is what JSON said.
    understood = [each for text in texts for each in senml.SenMLDocument.from_json(json.loads(text)).measurements]
    assert len(understood) == len(expected)
    for mine, theirs, raw in zip(expected, understood, by_text):
        assert len(VALUES & raw.keys()) == 1, "one value in each record (RFC 8428, 4.2)"
        assert re.fullmatch(r"[A-Za-z0-9][-:./_A-Za-z0-9]*", raw["n"]), "a name of RFC 8428, 4.5.1"
        assert not any(key.endswith("_") for key in raw), "nothing that must be understood"
        assert not any(isinstance(value, (dict, list)) for value in raw.values())
        assert (theirs.name, theirs.time, theirs.unit) == (mine["n"], mine["t"], mine.get("u"))
        value = mine.get("v", mine.get("vb", mine.get("vs", mine.get("active", mine.get("q")))))
        assert theirs.value == value


def test_what_can_not_be_served_is_406_with_a_list(house):
    agent = house.agent("", [Consumer("city")])
    for path, accept in (("/v1/batches", "text/csv"), ("/v1/points", "application/senml+json")):
        try:
            Puller(agent.port, agent.consumers["city"].token, accept).get(path)
        except urllib.error.HTTPError as error:
            assert error.code == 406 and "application/json" in json.loads(error.read())["detail"]
        else:
            raise AssertionError(f"{accept} for {path} was served")


def test_a_window_ends_at_a_whole_second_wherever_it_is_read(house):
    port = free_port()
    house.site(
        f'[[line]]\nname = "line"\nprotocol = "modbus-tcp"\nlisten = "127.0.0.1:{port}"\n'
        '[[device]]\nname = "hydrant"\nline = "line"\naddress = 1\nprofile = "hydrant/generic"\n')
    agent = house.agent(
        f'[[bus]]\nname = "line"\nprotocol = "modbus-tcp"\nhost = "127.0.0.1:{port}"\n'
        '[[device]]\nname = "hydrant"\nbus = "line"\naddress = 1\n'
        '[[device.point]]\nname = "pressure"\nread = "input 0"\ntype = "f32"\nevery = "50ms"\nheartbeat = "10m"\n'
        'windows = [ { every = "1s", stats = ["mean", "count"] } ]\n', [Consumer("json"), Consumer("cbor")])

    def windows(found):
        return [record["t"] for record in found if "window" in record]

    def exported():
        rows = csv.DictReader(agent.command("export", "--since", "1h", "--csv").stdout.splitlines())
        return [float(row["time"]) for row in rows if row["window"] == "1s"]

    poll(lambda: agent.ask("flush") and len(exported()) >= 6, "three seconds of windows")
    read = {
        "csv": exported(),
        "json": windows(records([json.loads(
            Puller(agent.port, agent.consumers["json"].token, "application/json").get("/v1/batches")[2])])),
        "cbor": windows([record for pack in Puller(
            agent.port, agent.consumers["cbor"].token, "application/senml+cbor").packs() for record in from_cbor(pack)]),
    }
    for form, times in read.items():
        assert len(times) >= 6 and all(t == int(t) for t in times), (form, times)
