"""Every tool against a running agent, for people and for programs; and what they say without one."""

import json
import re

import pytest

from client import Client
from running import Consumer, free_port, poll, run
from small_site import BUS, SITE


@pytest.fixture
def agent(house):
    port = free_port()
    house.site(SITE.replace("{port}", str(port)))
    agent = house.agent(BUS.replace("{port}", str(port)), [Consumer("city")])
    poll(lambda: agent.status()["alarms"]["active"] == 1 and agent.status()["points"]["good"] == 13, "the alarm is raised")
    return agent


def asked(agent, *arguments):
    """The answer of a tool that has to succeed: for a person, and for a program."""
    people, program = agent.command(*arguments), agent.command(*arguments, "--json")
    for answer in (people, program):
        assert answer.returncode == 0, (arguments, answer.stderr)
        assert answer.stderr == ""
    lines = people.stdout.rstrip("\n").split("\n")
    assert all(len(line) <= 80 for line in lines), [line for line in lines if len(line) > 80]
    assert "\x1b" not in people.stdout, "colour belongs on a terminal"
    return people.stdout, json.loads(program.stdout)


def test_status_shows_the_whole_box(agent):
    text, status = asked(agent, "status")
    assert {
        "gateway", "version", "uptime_s", "epoch", "clock_synchronised", "buses", "devices", "points", "alarms", "buffer",
        "consumers", "memory", "threads",
    } <= status.keys()
    [bus] = status["buses"]
    assert {
        "name", "state", "utilisation", "cycle_ms", "transactions", "good", "timeouts", "crc_errors", "exceptions",
        "late_replies",
    } <= bus.keys()
    assert bus["name"] == "line" and bus["state"] == "running" and bus["good"] > 0
    assert status["devices"]["online"] == 2 and status["devices"]["offline"] == 0
    assert status["points"] == {"good": 13, "uncertain": 0, "bad": 0, "stale": 0}
    assert status["alarms"] == {
        "active": 1, "unacknowledged": 1, "shelved": 0, "out_of_service": 0, "flood": False,
    }
    assert {"samples", "bytes", "capacity_bytes", "oldest", "evicted", "state"} <= status["buffer"].keys()
    [consumer] = status["consumers"]
    assert {"name", "lag_records", "gaps", "last_seen"} <= consumer.keys() and consumer["name"] == "city"
    assert status["memory"]["rss_bytes"] >= status["memory"]["private_bytes"] > 0 < status["memory"]["arena_bytes"]
    assert status["gateway"] == "box" and status["epoch"] == 1 and status["clock_synchronised"] is True
    seen = Client(agent.port, agent.consumers["city"].token).get("/v1/status").json
    shared = {"gateway", "version", "store", "clock_synchronised"}
    assert {key: seen[key] for key in shared} == {key: status[key] for key in shared}
    for word in ("box", "line", "city", "running"):
        assert word in text
    assert len(text.split("\n")) <= 24, "one screen"


def test_points_shows_the_latest_values_of_all_devices_or_of_one(agent):
    text, points = asked(agent, "points")
    assert len(points) == 13 and {point["device"] for point in points} == {"cover-1", "hydrant-1"}
    assert "cover-1/tilt" in text and "hydrant-1/pressure" in text
    text, points = asked(agent, "points", "cover-1")
    [tilt] = [point for point in points if point["point"] == "tilt"]
    assert tilt["n"] == "box/cover-1/tilt" and tilt["v"] == 34 and tilt["u"] == "deg" and tilt["q"] == "good"
    assert 0 <= tilt["age_ms"] < 60_000
    assert "hydrant" not in text and {point["device"] for point in points} == {"cover-1"}
    stranger = agent.command("points", "cover-l")
    assert stranger.returncode != 0 and "cover-1" in stranger.stderr, "the nearest match is named"


def test_devices_shows_who_answers(agent):
    text, devices = asked(agent, "devices")
    assert [device["name"] for device in devices] == ["cover-1", "hydrant-1"]
    for device in devices:
        assert device["state"] == "online" and device["bus"] == "line" and device["good"] > device["timeouts"] >= 0
        assert device["latency_ms"] > 0 < device["timeout_ms"] and device["refused_requests"] == 0
    assert "cover-1" in text and "manhole-cover" in text and "online" in text
    answering, learned = text.rstrip("\n").split("\n\n")
    assert len(answering.split("\n")) == 3 and re.search(r"^hydrant-1 +[\d.]+ ms +\d+ ms +0 +-$", learned, re.MULTILINE)
    chinese = run("devices", *agent.files, environment={"LANG": "zh_CN.UTF-8"}).stdout
    assert "已学到" in chinese and all(len(line) <= 80 for line in chinese.split("\n"))


def test_alarms_shows_what_is_wrong(agent):
    text, alarms = asked(agent, "alarms")
    [alarm] = alarms
    assert alarm["n"] == "box/cover-1/cover-open" and alarm["alarm"] == "cover-open" and alarm["active"] is True
    assert alarm["severity"] == "critical" and alarm["values"]["tilt"] == 34
    assert "Cover cover-1 is lifted: tilt 34 deg" in text and "critical" in text
    _, everything = asked(agent, "alarms", "--all")
    assert alarm["id"] in [each["id"] for each in everything]
    chinese = run("alarms", *agent.files, environment={"LANG": "zh_CN.UTF-8"})
    assert "井盖 cover-1 被掀开" in chinese.stdout


def test_check_and_plan_need_no_agent_but_say_the_same_beside_one(agent):
    text, report = asked(agent, "check")
    assert report["valid"] is True and report["errors"] == [] and report["devices"] == 2
    assert "2 devices" in text
    text, plan = asked(agent, "plan")
    [bus] = plan["buses"]
    assert bus["name"] == "line" and {request["device"] for request in bus["requests"]} == {"cover-1", "hydrant-1"}
    memory = plan["memory"]
    assert memory["total_bytes"] == sum(line["bytes"] for line in memory["lines"]) <= memory["limit_bytes"] == 8 << 20
    assert "cover-1" in text and "memory" in text


def test_plan_shows_how_full_a_line_is(house):
    agent = house.agent(
        '[[bus]]\nname = "slow"\nprotocol = "modbus-rtu"\nport = "/dev/kerb-none"\nbaud = 9600\n'
        '[[device]]\nname = "cover-1"\nbus = "slow"\naddress = 1\nprofile = "manhole-cover/generic"\n', start=False)
    _, plan = asked(agent, "plan")
    [bus] = plan["buses"]
    # Four registers a second and two more every five seconds: 8 + 13 and 8 + 9 bytes of 10 bits, and t3.5 twice each.
    silence = 2 * 3.5 * 10 / 9600
    wire = (21 * 10 / 9600 + silence) / 1 + (17 * 10 / 9600 + silence) / 5
    assert abs(bus["utilisation"] - wire) < 0.01, (bus["utilisation"], wire)


def test_consumer_add_lets_a_platform_in_and_prints_its_token_once(agent):
    added = agent.command("consumer", "add", "fire-brigade", "--kind", "hydrant", "--json")
    assert added.returncode == 0, added.stderr
    told = json.loads(added.stdout)
    plain = agent.command("consumer", "add", "water-bureau", "--kind", "manhole-cover")
    assert plain.returncode == 0, plain.stderr
    tokens = {"fire-brigade": told["token"], "water-bureau": plain.stdout.strip()}
    assert all(re.fullmatch(r"[\w-]{32,}", token) for token in tokens.values()), "the token alone is on stdout"
    for token in tokens.values():
        for path in agent.folder.rglob("*"):
            assert not path.is_file() or token.encode() not in path.read_bytes(), f"the token stands in {path}"

    text, listed = asked(agent, "consumer", "list")
    assert {each["name"] for each in listed} == {"city", "fire-brigade", "water-bureau"} and "water-bureau" in text
    again = agent.command("consumer", "add", "city")
    assert again.returncode == 64 and "city" in again.stderr
    wrong = agent.command("consumer", "add", "gas-works", "--kind", "hydrent")
    assert wrong.returncode == 64 and "hydrant" in wrong.stderr
    assert asked(agent, "check")[1]["consumers"] == 3, "what was refused left nothing behind"

    agent.stop()
    agent.start()
    for name, device in (("fire-brigade", "hydrant-1"), ("water-bureau", "cover-1")):
        client = Client(agent.port, tokens[name])
        devices = client.get("/v1/devices").json["devices"]
        assert [each["name"] for each in devices] == [device]


def test_consumers_come_change_and_go_while_the_agent_runs(agent):
    def devices(token):
        answer = Client(agent.port, token).get("/v1/devices")
        return [each["name"] for each in answer.json["devices"]] if answer.status == 200 else answer.status

    running = agent.process.pid
    added = agent.command("consumer", "add", "fire-brigade", "--kind", "hydrant")
    first = added.stdout.strip()
    assert added.returncode == 0 and devices(first) == ["hydrant-1"]
    client = Client(agent.port, first)
    agent.ask("flush")
    assert client.pull_all() is not None and client.cursor
    held = next(each for each in agent.status()["consumers"] if each["name"] == "fire-brigade")

    second = json.loads(agent.command("consumer", "rotate", "fire-brigade", "--json").stdout)
    assert second["in_force"] and devices(first) == 401 and devices(second["token"]) == ["hydrant-1"]
    removed = agent.command("consumer", "remove", "fire-brigade")
    assert removed.returncode == 0 and devices(second["token"]) == 401
    assert [each["name"] for each in agent.status()["consumers"]] == ["city"]
    back = agent.command("consumer", "add", "fire-brigade", "--kind", "hydrant").stdout.strip()
    again = next(each for each in agent.status()["consumers"] if each["name"] == "fire-brigade")
    assert again["lag_records"] <= held["lag_records"] + 20 and again["gaps"] == held["gaps"]
    assert devices(back) == ["hydrant-1"]

    # What needs a restart is said; what is wrong changes nothing; nobody was interrupted.
    text = agent.configuration.read_text()
    agent.configuration.write_text(text.replace('id = "box"', 'id = "other"'))
    told = json.loads(agent.command("reload", "--json").stdout)
    assert told == {"applied": [], "restart": ["gateway"]}
    agent.configuration.write_text(text.replace("[pull]", "[pall]"))
    wrong = agent.command("reload")
    assert wrong.returncode == 78 and "pall" in wrong.stderr
    agent.process.send(1)  # SIGHUP
    poll(lambda: agent.log.count("the changed configuration is wrong") == 2, "SIGHUP reloads, too")
    agent.configuration.write_text(text)
    assert "nothing was changed" in agent.command("reload").stdout
    assert agent.process.pid == running and agent.process.is_running
    assert agent.bus("line")["reopened"] == 0
    for line in ("consumer fire-brigade added", "consumer fire-brigade: another token", "consumer fire-brigade removed"):
        assert f"reload: {line}" in agent.log


def test_a_push_is_no_consumer_to_be_removed_and_its_place_is_named(agent):
    folder = agent.configuration.parent / "conf.d"
    folder.mkdir(exist_ok=True)
    (folder / "city.toml").write_text('\n[[push]]\nname = "p1"\nkind = "http"\nurl = "http://127.0.0.1:9/x"\n')
    for order in ("remove", "rotate"):
        told = agent.command("consumer", order, "p1")
        assert told.returncode == 64 and "p1 is a push" in told.stderr and f"{folder}/city.toml:2" in told.stderr, told.stderr
    assert "there is no consumer p2" in agent.command("consumer", "remove", "p2").stderr
    assert (folder / "city.toml").read_text().count("p1") == 1


def test_version_needs_nothing():
    text, told = run("version"), run("version", "--json")
    assert text.returncode == told.returncode == 0
    assert text.stdout == f"kerb {json.loads(told.stdout)['version']}\n"


@pytest.mark.parametrize("command", ["status", "points", "devices", "alarms"])
def test_without_an_agent_a_tool_says_how_to_start_one(house, command):
    agent = house.agent('[[bus]]\nname = "line"\nprotocol = "modbus-rtu"\nport = "/dev/kerb-none"\n', start=False)
    for arguments in ([], ["--json"]):
        answer = agent.command(command, *arguments)
        assert answer.returncode == 69 and answer.stdout == ""
        assert str(agent.runtime / "control.sock") in answer.stderr
        assert f"kerb run -c {agent.configuration}" in answer.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["statuss"], ["status", "--jsn"], ["points", "a", "b"], ["run", "--unknown"], ["simulate"], ["check", "--config"],
        ["consumer", "add"], ["demo", "--seconds", "many"],
    ])
def test_wrong_usage_is_said_with_its_usage(arguments):
    answer = run(*arguments)
    assert answer.returncode == 64
    assert answer.stdout == "" and "--help" in answer.stderr


def subcommands(*command):
    """As the help lists them, and theirs."""
    text = run(*command, "--help").stdout
    if "SUBCOMMANDS:" not in text:
        return []
    names = re.findall(r"^  ([a-z][a-z-]*)( \(default\))?(?:  |$)", text.split("SUBCOMMANDS:")[1], re.MULTILINE)
    found = []
    for name, _ in names:
        found += [[*command, name], *subcommands(*command, name)]
    return found


def test_every_command_has_help_with_an_example_in_80_columns():
    commands = subcommands()
    assert ["monitor"] in commands and ["buffer", "restore"] in commands and ["alarms", "list"] in commands
    assert ["consumer", "rotate"] in commands and ["board", "udev"] in commands and len(commands) >= 45, commands
    for command in [[], *commands]:
        answer = run(*command, "--help")
        assert answer.returncode == 0 and answer.stderr == "", command
        assert "Example:" in answer.stdout, command
        example = answer.stdout.split("Example:")[1].split("USAGE:")[0]
        # `kerb alarms list` is what `kerb alarms` does.
        assert " ".join(["kerb", *command]).removesuffix(" list").removesuffix(" show") in example, command
        assert all(len(line) <= 80 for line in answer.stdout.splitlines()), answer.stdout
        wrong = run(*command, "--no-such-option")
        assert wrong.returncode == 64 and wrong.stdout == "", command
        assert all(len(line) <= 80 for line in wrong.stderr.splitlines()), wrong.stderr


WIDE = """
[[bus]]
name = "line"
protocol = "modbus-rtu"
port = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0"
silence = "learned"
[[bus]]
name = "meters"
protocol = "dlt645"
port = "/dev/kerb-none"
[[device]]
name = "a-streetlight-with-a-name-as-long-as-any-that-is-allowed-0000017"
bus = "line"
address = 3
profile = "streetlight/generic"
[[device]]
name = "lift-7"
bus = "line"
address = 247
profile = "elevator/generic"
[[device]]
name = "gate-9"
bus = "line"
address = 9
profile = "access-gate/generic"
[[device]]
name = "an-electricity-meter-with-a-long-name"
bus = "meters"
address = "202301234567"
profile = "electricity-meter/dlt645-generic"
[[push]]
name = "a-platform-that-has-a-name-as-long-as-any"
kind = "http"
url = "http://127.0.0.1:9"
format = "senml+json"
gzip = true
"""


def test_the_plan_fits_80_columns_and_tells_what_each_platform_takes(house):
    agent = house.agent(WIDE, [Consumer("lamps", kinds=["streetlight"]), Consumer("calls", lanes=["alarms"])], start=False)
    shown = agent.command("plan")
    assert shown.returncode == 0, shown.stderr
    wide = [line for line in shown.stdout.splitlines() if len(line) > 80]
    assert not wide, wide
    assert "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0" in shown.stdout
    assert "upstream in a day, at the most" in shown.stdout
    plan = json.loads(agent.command("plan", "--json").stdout)["upstream"]
    lamps, calls, city = plan["platforms"]
    assert [each["name"] for each in plan["platforms"]][:2] == ["lamps", "calls"]
    assert lamps["push"] is None and lamps["format"] == "json" and not lamps["gzip"] and calls["records_per_day_max"] == 0
    assert city["push"] == "http" and city["format"] == "senml+json" and city["gzip"]
    assert 0 < lamps["records_per_day_max"] < city["records_per_day_max"]
    assert 0 < city["bytes_per_record"] < 40 < lamps["bytes_per_record"] < 200
    for each in plan["platforms"]:
        assert abs(each["bytes_per_day_max"] - each["records_per_day_max"] * each["bytes_per_record"]) <= 1 + each["bytes_per_record"]
    assert abs(plan["bytes_per_day_max"] - sum(each["bytes_per_day_max"] for each in plan["platforms"])) <= 3


def test_a_configuration_that_is_not_there_is_named(house):
    missing = house.folder / "missing.toml"
    for command in ("run", "check", "plan"):
        answer = run(command, "--config", missing)
        assert answer.returncode != 0 and str(missing) in answer.stdout + answer.stderr
    for command in ("status", "points", "devices", "alarms", "watch cover-1", "reload"):
        answer = run(*command.split(), "--config", missing)
        assert answer.returncode == 69 and answer.stdout == ""
        first, *others = answer.stderr.splitlines()
        assert first.startswith(f"{missing}: there is no such file"), answer.stderr
        assert "kerb run" not in answer.stderr and any("no agent answers at" in line for line in others)
    chinese = run("status", "--config", missing, environment={"LANG": "zh_CN.UTF-8"})
    assert chinese.stderr.startswith(f"{missing}：没有此文件")
