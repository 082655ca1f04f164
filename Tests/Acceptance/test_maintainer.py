"""What a maintainer has a minute for: doctor, support bundle, watch, top, and the library of profiles."""

import json
import re
import tarfile

import pexpect
import pytest

from running import KERB, PATIENCE, PROFILES, Consumer, free_port, poll, run
from small_site import BUS, SITE


@pytest.fixture
def agent(house):
    port = free_port()
    house.port = port
    house.site(SITE.replace("{port}", str(port)))
    agent = house.agent(BUS.replace("{port}", str(port)), [Consumer("city")])
    poll(lambda: agent.status()["points"]["good"] == 13, "every point was read")
    return agent


def findings(result):
    document = json.loads(result.stdout)
    return document["well"], {each["code"]: each for each in document["findings"]}


def test_doctor_finds_a_well_box_well_and_a_stopped_agent_at_once(agent):
    well = agent.command("doctor", "--json")
    is_well, found = findings(well)
    assert well.returncode == 0 and is_well, well.stdout
    assert {"configuration", "agent", "clock", "bus", "buffer", "disk"} <= set(found)
    assert found["consumer-never"]["level"] == "note" and found["consumer-never"]["subject"] == "city"
    agent.stop()
    ill = agent.command("doctor", "--json")
    is_well, found = findings(ill)
    assert ill.returncode == 1 and not is_well
    assert found["agent-not-running"]["level"] == "wrong" and "systemctl" in found["agent-not-running"]["step"]
    people = agent.command("doctor")
    assert people.returncode == 1 and people.stdout.startswith("WRONG") and people.stderr == ""
    assert all(len(line) <= 80 for line in people.stdout.splitlines())
    chinese = run("doctor", *agent.files, environment={"LANG": "zh_CN.UTF-8"})
    assert "代理未运行" in chinese.stdout


def test_doctor_sees_silent_devices_and_a_wrong_configuration(house, agent):
    agent.configuration.write_text(agent.configuration.read_text().replace('kind = "', 'knid = "') + "\nbaudd = 1\n")
    status = agent.command("doctor", "--json")
    assert status.returncode == 1 and "configuration-wrong" in findings(status)[1]


def test_a_bundle_has_what_helps_and_no_secret(house, agent, tmp_path):
    path = tmp_path / "box.tar.gz"
    configuration = agent.configuration.read_text()
    [hashed] = re.findall(r'token_sha256 = "(\w+)"', configuration)
    result = agent.command("doctor", "--bundle", path)
    assert result.returncode == 0 and str(path) in result.stdout, result.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    names = {name.removeprefix("kerb-bundle/") for name in files}
    assert {"doctor.txt", "doctor.json", "status.json", "points.json", "configuration/kerb.toml.json"} <= names
    read = json.loads(files["kerb-bundle/configuration/kerb.toml.json"])
    assert read["gateway"]["id"] == "box" and read["consumer"][0]["token_sha256"] == "(masked)"
    key = (agent.state / "box.key").read_bytes()
    for name, content in files.items():
        assert hashed.encode() not in content and key not in content and key.hex().encode() not in content, name
        assert agent.consumers["city"].token.encode() not in content, name
    refused = agent.command("doctor", "--bundle", tmp_path / "nowhere" / "box.tar.gz")
    assert refused.returncode == 74 and "nowhere" in refused.stderr


def test_watch_writes_a_line_for_each_change_and_names_what_is_not_there(agent):
    lines = agent.command("watch", "cover-1/tilt", "hydrant-1", "--count", 2, "--every", 0.2).stdout.splitlines()
    assert any("cover-1/tilt  34 deg  good" in line for line in lines)
    assert sum("hydrant-1/" in line for line in lines) >= 7
    each = [json.loads(line) for line in agent.command("watch", "cover-1/tilt", "--count", 1, "--json").stdout.splitlines()]
    assert each[0]["point"] == "tilt" and each[0]["v"] == 34
    wrong = agent.command("watch", "cover-1/tlit", "--count", 1)
    assert wrong.returncode == 64 and "tilt" in wrong.stderr
    assert agent.command("watch", "nobody/tilt", "--count", 1).returncode == 64


def test_top_draws_drills_and_gives_the_terminal_back(agent):
    screen = pexpect.spawn(
        str(KERB), ["top", *map(str, agent.files)], dimensions=(24, 80), encoding="utf-8", timeout=PATIENCE,
        env={"TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1", "PATH": "/usr/bin:/bin"})
    screen.expect(">line")
    screen.expect("q leave")
    screen.send("\r")
    screen.expect("hydrant-1")
    screen.send("\x1b[B\r")
    screen.expect("pressure")
    screen.send("\x1b")
    screen.expect(">cover-1")
    screen.send("q")
    screen.expect(re.escape("\x1b[?1049l"))
    screen.expect(pexpect.EOF)
    # close() kills what has not quite ended yet.
    assert screen.wait() == 0
    screen.close()
    refused = agent.command("top")
    assert refused.returncode == 64 and "kerb status --json" in refused.stderr


def test_profiles_are_listed_shown_and_tried_on_a_live_device(agent, tmp_path):
    listed = json.loads(agent.command("profiles", "--json").stdout)
    assert {"manhole-cover/generic", "hydrant/generic"} <= {each["name"] for each in listed}
    table = agent.command("profiles")
    assert table.returncode == 0 and all(len(line) <= 80 for line in table.stdout.splitlines())
    cover = json.loads(agent.command("profiles", "manhole-cover/generic", "--json").stdout)
    assert cover["points"][0] == {
        "name": "tilt", "read": "holding 0", "type": "i16", "unit": "deg", "every_s": 1, "personal": False, "write": "no"}
    assert cover["alarms"][0]["when"] == "tilt > 15"
    missing = agent.command("profiles", "manhole-cover/generik")
    assert missing.returncode == 78 and "manhole-cover/generic" in missing.stderr

    fits = agent.command("profile", "test", "hydrant/generic", "--against", "line/2", "--json")
    points = {each["point"]: each for each in json.loads(fits.stdout)["points"]}
    assert fits.returncode == 0 and len(points) == 7 and all(each["q"] == "good" for each in points.values())
    own = tmp_path / "mine.toml"
    own.write_text('kind = "hydrant"\n[[point]]\nname = "far"\nread = "input 900"\n[[point]]\nname = "near"\nread = "input 0"\n')
    partly = agent.command("profile", "test", own, "--against", "line/2")
    assert partly.returncode == 74 and "1 of 2 points are good" in partly.stdout and "far" in partly.stdout
    for wrong, status in [(["nowhere/2"], 64), (["line"], 64), (["line/900"], 64)]:
        refused = agent.command("profile", "test", "hydrant/generic", "--against", *wrong)
        assert refused.returncode == status and refused.stderr, wrong
    own.write_text('kind = "hydrant"\n[[point]]\nname = "x"\nraed = "input 0"\n')
    assert agent.command("profile", "test", own, "--against", "line/2").returncode == 78

    agent.stop()
    alone = agent.command("profile", "test", PROFILES / "hydrant/generic.toml", "--against", "line/2")
    assert alone.returncode == 0 and "7 of 7" in alone.stdout, alone.stdout + alone.stderr
