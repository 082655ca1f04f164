"""The tools that ask a line: through the running agent, and on a line that nobody has; and what tshark makes of a capture."""

import json
import os
import re
import shutil
import subprocess
import time
import tty

import pytest

from running import PATIENCE, attempt, poll, run

SITE = """
[[line]]
name = "line"
protocol = "modbus-rtu"
link = "{link}"
baud = 19200
[[device]]
name = "lamp-3"
line = "line"
address = 3
profile = "streetlight/generic"
[[device]]
name = "lift-7"
line = "line"
address = 7
profile = "elevator/generic"
[[device]]
name = "gate-9"
line = "line"
address = 9
profile = "access-gate/generic"
"""

BUS = """
[[bus]]
name = "line"
protocol = "modbus-rtu"
port = "{link}"
baud = 19200
"""

DEVICES = """
[[device]]
name = "lamp-3"
bus = "line"
address = 3
profile = "streetlight/generic"
[[device]]
name = "lift-7"
bus = "line"
address = 7
profile = "elevator/generic"
[[device]]
name = "gate-9"
bus = "line"
address = 9
profile = "access-gate/generic"
"""


@pytest.fixture
def line(house):
    link = house.folder / "line"
    house.site(SITE.replace("{link}", str(link)))
    return link


@pytest.fixture(params=["agent", "alone"])
def desk(request, house, line):
    """An agent with three devices: running, or only configured."""
    agent = house.agent(BUS.replace("{link}", str(line)) + DEVICES, start=request.param == "agent")
    if request.param == "agent":
        poll(lambda: agent.status()["devices"]["online"] == 3, "all devices are online")
    return agent


def asked(agent, *arguments, status=0):
    answer = agent.command(*arguments)
    assert answer.returncode == status, (arguments, answer.stdout, answer.stderr)
    return answer


def test_read_write_and_raw_mean_the_same_with_and_without_an_agent(desk):
    reading = json.loads(asked(desk, "read", "lamp-3", "voltage", "--json").stdout)
    assert 100 < reading["v"] < 300 and reading["u"] == "V" and reading["q"] == "good"
    raw = json.loads(asked(desk, "raw", "line", 3, "input", 0, 8, "--json").stdout)
    assert len(raw["values"]) == 8
    for value, coil in (("on", 1), ("off", 0)):
        written = json.loads(asked(desk, "write", "lamp-3", "lamp", value, "--yes", "--json").stdout)
        assert written["after"]["registers"] == [coil]
    table = asked(desk, "raw", "line", 3, "input", 0, 8).stdout.splitlines()
    assert len(table) == 9 and all(len(row) <= 80 for row in table)


def test_what_must_not_be_written_or_read_is_not(desk):
    asked(desk, "write", "lamp-3", "voltage", "1", "--yes", status=77)
    asked(desk, "write", "lift-7", "door_open", "1", "--yes", status=77)
    asked(desk, "write", "lamp-3", "lamp", "3", "--yes", status=64)
    asked(desk, "write", "lamp-3", "lamp", "1", status=64)
    points = json.loads(asked(desk, "check", "--json").stdout)
    assert points["valid"]
    asked(desk, "read", "gate-9", "card", status=77)
    asked(desk, "raw", "line", 9, "holding", 0, 60, status=77)
    asked(desk, "read", "lamp-4", "lamp", status=64)
    asked(desk, "raw", "line", 99, "holding", 0, status=69)


def test_nobody_loses_a_poll_to_a_scan(house, line):
    agent = house.agent(BUS.replace("{link}", str(line)) + DEVICES)
    poll(lambda: agent.status()["devices"]["online"] == 3, "all devices are online")

    def scan():
        before = agent.bus("line")
        found = json.loads(asked(agent, "scan", "line", "--to", 12, "--json").stdout)["found"]
        assert [each["address"] for each in found] == [3, 7, 9]
        assert [each["device"] for each in found] == ["lamp-3", "lift-7", "gate-9"]
        after = agent.bus("line")
        assert all(after[each] == before[each] for each in ("timeouts", "crc_errors", "late_replies")), (before, after)
        assert agent.status()["devices"]["online"] == 3

    attempt(5, scan)


def test_a_scan_writes_a_configuration_that_runs(house, line):
    agent = house.agent(BUS.replace("{link}", str(line)), start=False)
    options = ["--to", 10, "--baud", 19200, "--baud", 9600, "--parity", "none"]
    path = agent.folder / "conf.d" / "scan-line.toml"

    def scan():
        path.unlink(missing_ok=True)
        answer = asked(agent, "scan", "line", *options, "--write", "--json")
        assert answer.stderr.startswith("scanning bus line")
        assert all(len(line) <= 80 for line in re.split("[\r\n]", answer.stderr)), answer.stderr
        assert "found" in answer.stderr or answer.stderr
        result = json.loads(answer.stdout)
        assert [(each["address"], each["baud"]) for each in result["found"]] == [(3, 19200), (7, 19200), (9, 19200)]
        assert result["found"][0]["profiles"][0]["profile"] == "streetlight/generic"
        assert result["found"][1]["profiles"][0]["profile"] == "elevator/generic"
        assert result["added"] >= 2
        before = path.read_text()
        again = json.loads(asked(agent, "scan", "line", *options, "--write", "--json").stdout)
        assert again["added"] == 0 and path.read_text().startswith(before)
        return result

    # A device that its machine keeps from answering in time is not found.
    result = attempt(5, scan)
    agent.start()
    poll(lambda: agent.status()["devices"]["online"] == result["added"], "what was found is polled")


def test_tshark_decodes_a_capture_as_modbus_rtu(house, line):
    tshark = shutil.which("tshark")
    assert tshark, "tshark is missing: scripts/setup test installs it"
    agent = house.agent(BUS.replace("{link}", str(line)) + DEVICES)
    poll(lambda: agent.status()["devices"]["online"] == 3, "all devices are online")
    asked(agent, "write", "lamp-3", "lamp", "on", "--yes")
    capture = house.folder / "line.pcapng"
    shown = asked(agent, "monitor", "line", "--seconds", 1, "--write", capture, "--json").stdout.splitlines()
    frames = [json.loads(each) for each in shown]
    # The agent believes its clock: it is told to.
    assert all(abs(each["t"] - time.time()) < 60 and "unsynchronised" not in each for each in frames)
    with_bytes = [each for each in frames if each["bytes"]]
    decoded = subprocess.run(
        [tshark, "-r", capture, "-o", "mbrtu.crc_verification:TRUE", "-o", "mbrtu.tcp.port:502", "-T", "fields", "-e",
         "frame.protocols", "-e", "mbrtu.unit_id", "-e", "modbus.func_code", "-e", "_ws.col.Info", "-e", "mbrtu.crc16.status"],
        capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.splitlines()
    assert len(decoded) == len(with_bytes)
    for row, frame in zip(decoded, with_bytes):
        protocols, unit, function, info, crc = row.split("\t")
        assert "mbrtu:modbus" in protocols, row
        assert int(unit) == int(frame["bytes"][:2], 16)
        assert int(function) == int(frame["bytes"][2:4], 16) & 0x7F
        assert info.strip().startswith("Query" if frame["kind"] == "request" else "Response"), row
        assert crc in ("1", "Good"), row
    assert {frame["origin"] for frame in frames} >= {"poll", "command"}
    # The gate's replies are zeros: its profile has a card number.
    gate = [each for each in frames if each["kind"] == "reply" and each["bytes"].startswith("0903")]
    assert gate and all(each["masked"] and set(each["bytes"][6:-4]) == {"0"} for each in gate)


def test_without_an_agent_monitor_listens(house, line):
    agent = house.agent(BUS.replace("{link}", str(line)) + DEVICES, start=False)
    listened = asked(agent, "monitor", "line", "--seconds", 1)
    assert listened.stdout == "" and "listening" in listened.stderr


TALKER = """
kind = "weather-station"
[frame]
format = "text"
end = "\\r\\n"
split = ","
[[point]]
name = "wind"
read = "field 1"
type = "i16"
scale = 0.1
unit = "m/s"
[[point]]
name = "state"
read = "field 2"
type = "text:8"
"""


def test_monitor_shows_what_a_device_says_unasked(house):
    """A device that speaks when it likes: nothing is asked, everything that it says is seen."""
    talker, slave = os.openpty()
    tty.setraw(slave)
    try:
        profile = house.folder / "profiles/weather-station/talker.toml"
        profile.parent.mkdir(parents=True)
        profile.write_text(TALKER)
        agent = house.agent(
            f'[[bus]]\nname = "mast"\nprotocol = "serial"\nport = "{os.ttyname(slave)}"\n'
            '[[device]]\nname = "mast"\nbus = "mast"\nprofile = "weather-station/talker"\n')
        poll(lambda: agent.bus("mast")["state"] == "running", lambda: agent.bus("mast"))
        os.write(talker, b"42,calm\r\n\x00\xff\r\n")
        # The opening of the line, and the first frame: it ends by itself.
        first = [json.loads(each) for each in asked(agent, "monitor", "mast", "--count", 2, "--json").stdout.splitlines()]
        assert [each["kind"] for each in first] == ["opened", "reply"]
        said = first[1]
        assert bytes.fromhex(said["bytes"]) == b"42,calm\r\n" and said["length"] == 9 and said["origin"] == "line"
        assert [(each["point"], each.get("v", each.get("vs"))) for each in said["values"]] == [("wind", 4.2), ("state", "calm")]
        shown = asked(agent, "monitor", "mast", "--count", 3).stdout.splitlines()
        assert shown[1].endswith('wind 4.2 m/s · state calm  "42,calm\\r\\n"'), shown
        assert shown[2].endswith("00ff0d0a"), shown
        assert all(len(each) <= 80 for each in shown)
        capture = house.folder / "mast.pcapng"
        asked(agent, "monitor", "mast", "--seconds", 0, "--write", capture)
        decoded = subprocess.run(
            [shutil.which("tshark"), "-r", capture, "-T", "fields", "-e", "frame.protocols", "-e", "data.data"],
            capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.splitlines()
        assert [each.split("\t")[1] for each in decoded] == [b"42,calm\r\n".hex(), "00ff0d0a"], decoded
    finally:
        os.close(talker)
        os.close(slave)


def test_ports_are_listed_without_a_configuration():
    answer = run("ports", "--json", "--config", "/nonexistent/kerb.toml")
    assert answer.returncode == 0
    for port in json.loads(answer.stdout):
        assert port["path"].startswith("/dev/") and isinstance(port["held_by"], list)


METERS = """
[[line]]
name = "meters"
protocol = "dlt645"
link = "{link}"
baud = 9600
parity = "even"
[[device]]
name = "one"
line = "meters"
address = "202301234567"
profile = "electricity-meter/dlt645-generic"
[[device]]
name = "two"
line = "meters"
address = "202301234612"
profile = "electricity-meter/dlt645-generic"
"""

METER_BUS = """
[[bus]]
name = "meters"
protocol = "dlt645"
port = "{link}"
baud = 9600
parity = "even"
"""

ONE = """
[[device]]
name = "one"
bus = "meters"
address = "202301234567"
profile = "electricity-meter/dlt645-generic"
"""


@pytest.mark.parametrize("start", [True, False], ids=["agent", "alone"])
def test_meters_are_read_by_hand_and_found_with_and_without_an_agent(house, start):
    link = house.folder / "meters"
    house.site(METERS.replace("{link}", str(link)))
    agent = house.agent(METER_BUS.replace("{link}", str(link)) + ONE, start=start)
    if start:
        poll(lambda: agent.status()["devices"]["online"] == 1, "the meter is online")
    point = "voltage"
    reading = json.loads(asked(agent, "read", "one", point, "--json").stdout)
    assert reading["q"] == "good" and reading["u"] == "V" and len(reading["bytes"]) == 4, reading
    # Also of a meter that is not configured.
    for meter in ("202301234567", "202301234612"):
        raw = json.loads(asked(agent, "raw", "meters", meter, "di", "00010000", "--json").stdout)
        assert raw["unit"] == meter and len(raw["bytes"]) == 8, raw
    asked(agent, "raw", "meters", "202301234567", "holding", "0", status=64)
    asked(agent, "raw", "meters", "202301234567", "di", "0F0F0F0F", status=74)
    asked(agent, "raw", "meters", "999999999999", "di", "00010000", status=69)
    asked(agent, "write", "one", point, "1", "--yes", status=77)
    settings = [] if start else ["--baud", 9600, "--parity", "even"]
    asked(agent, "scan", "meters", "--from", 2, status=64)

    def scan():
        (agent.folder / "conf.d" / "scan-meters.toml").unlink(missing_ok=True)
        before = agent.bus("meters") if start else None
        done = agent.command("scan", "meters", *settings, "--timeout", "60ms", "--write", "--json", seconds=900)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert {each["address"]: each["device"] for each in result["found"]} == {
            "202301234567": "one", "202301234612": None}, result
        other = next(each for each in result["found"] if each["device"] is None)
        assert other["profiles"][0]["profile"] == "electricity-meter/dlt645-generic" and result["added"] == 1
        if start:
            after = agent.bus("meters")
            assert agent.status()["devices"]["online"] == 1
            assert all(after[each] == before[each] for each in ("timeouts", "crc_errors")), (before, after)

    # A meter that its machine keeps from answering in time is not found.
    attempt(4, scan)
    if start:
        agent.stop()
    agent.start()
    poll(lambda: agent.status()["devices"]["online"] == 2, "what was found is read")
    shown = asked(agent, "monitor", "meters", "--seconds", 0).stdout
    assert "202301234612  read di" in shown and "202301234567  di " in shown, shown
    capture = house.folder / "meters.pcapng"
    asked(agent, "monitor", "meters", "--seconds", 0, "--write", capture)
    decoded = subprocess.run(
        [shutil.which("tshark"), "-r", capture, "-T", "fields", "-e", "frame.protocols", "-e", "frame.len"],
        capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.splitlines()
    assert len(decoded) > 10 and all("user_dlt" in each for each in decoded), decoded[:3]
