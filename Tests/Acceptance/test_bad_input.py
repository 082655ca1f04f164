"""What is wrong is said at once, with its place, and nothing else suffers from it."""

import fcntl
import json
import os
import re

import pytest

from client import Client
from running import PROFILES, Consumer, free_port, poll, run
from small_site import BUS, SITE

# Every [N] is taken out, and stands before the place that error N must name; a letter before one that an error refers to.
WRONG = """\
[gateway]
id = "box"
[1]stat = "/tmp/kerb"
memory_limit = [2]8
state = "{state}"
runtime = "{runtime}"

[[bus]]
name = "rs485-1"
protocol = "modbus-rtu"
port = [a]"/dev/kerb-none-1"

[[bus]]
name = "rs485-2"
protocol = "modbus-rtu"
port = [3]"/dev/kerb-none-1"

[[bus]]
name = "slow"
protocol = "modbus-rtu"
port = "/dev/kerb-none-2"
baud = 1200

[[device]]
name = [b]"cover-1"
bus = "rs485-1"
address = 1
profile = "manhole-cover/generic"

  [[device.point]]
  name = "serial"
  read = "holding 100"
  type = [4]"text:252"

  [[device.alarm]]
  name = "too-far"
  when = "tilt > 15 and [5]tild < 80"

[[device]]
name = [6]"cover-1"
bus = "rs485-1"
address = 2
profile = [7]"manhole-cover/generc"

[[device]]
name = "meter"
bus = "slow"
address = 3

  [[device.point]]
  name = "energy"
  read = "holding 0"
  type = "u64"
  every = [8]"20ms"
"""

SAID = {
    1: 'gateway.stat: unknown key; did you mean "state"?',
    2: "gateway.memory_limit: expected a string, got an integer",
    3: "bus.rs485-2.port: is the port of another bus already, at {a}",
    4: "point.serial.type: takes 126 registers: a request reads at most 125",
    5: 'alarm.too-far.when: no point is named "tild"; did you mean "tilt"?',
    6: 'device.cover-1.name: "cover-1" is already the name at {b}',
    7: 'profile: there is no profile "manhole-cover/generc"; did you mean "manhole-cover/generic"?',
    8: 'point.energy.every: 20ms is impossible on bus "slow"',
}


def marked(text):
    """The text without its marks, and by mark the line and column, from 1."""
    places = {}
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        while found := re.search(r"\[(\d|[a-z])\]", line):
            places[found[1]] = (number, found.start() + 1)
            line = line[: found.start()] + line[found.end():]
        lines.append(line)
    return "\n".join(lines), places


@pytest.fixture
def wrong(house):
    text, places = marked(WRONG.replace("{state}", f"{house.folder}/state").replace("{runtime}", f"{house.folder}/run"))
    file = house.folder / "kerb.toml"
    file.write_text(text)
    named = {letter: "{}:{}:{}".format(file, *places.pop(letter)) for letter in "ab"}
    errors = {place: SAID[int(number)].format(**named) for number, place in places.items()}
    assert len(errors) == len(SAID)
    return file, errors


@pytest.mark.parametrize("command", ["check", "run"])
def test_everything_wrong_with_a_configuration_is_said_at_once_with_its_place(house, wrong, command):
    file, errors = wrong
    answer = run(command, "--config", file, "--profiles", PROFILES)
    assert answer.returncode == 78
    lines = [line for line in (answer.stdout + answer.stderr).split("\n") if line.startswith(f"{file}:")]
    for (line, column), said in errors.items():
        [found] = [text for text in lines if text.startswith(f"{file}:{line}:{column}: ")]
        assert said in found
    assert len(lines) == len(errors), f"nothing is reported twice, and nothing that is right: {lines}"
    # Nothing was begun.
    assert not (house.folder / "state").exists() and not (house.folder / "run").exists()


def test_a_program_gets_the_same_places_as_json(wrong):
    file, errors = wrong
    answer = run("check", "--json", "--config", file, "--profiles", PROFILES)
    assert answer.returncode == 78
    told = json.loads(answer.stdout)["errors"]
    assert len(told) == len(errors)
    for error in told:
        assert error["file"] == str(file)
        assert errors[error["line"], error["column"]] in f"{error['key']}: {error['message']}"


def test_what_is_right_is_said_to_be_right(house):
    agent = house.agent(COVERS.replace("{port}", "/dev/kerb-none"), start=False)
    answer = agent.command("check")
    assert answer.returncode == 0, answer.stderr
    answer = agent.command("check", "--json")
    assert answer.returncode == 0 and json.loads(answer.stdout)["errors"] == []


def test_too_little_memory_is_refused_naming_what_holds_it(house):
    agent = house.agent(COVERS.replace("{port}", "/dev/kerb-none"), start=False, memory="1MiB")
    for command in ("check", "run"):
        answer = agent.command(command)
        assert answer.returncode == 78
        text = answer.stdout + answer.stderr
        assert f"{agent.configuration}:5:16: gateway.memory_limit: " in text
        assert "store" in text and "pull" in text, text
    assert not agent.state.exists()


# MARK: Ports

COVERS = """
[[bus]]
name = "one"
protocol = "modbus-rtu"
port = "{port}"
baud = 115200
[[device]]
name = "cover-1"
bus = "one"
address = 1
profile = "manhole-cover/generic"
"""


def two_lines(folder):
    text = ""
    for number in (1, 2):
        text += f'[[line]]\nname = "line-{number}"\nprotocol = "modbus-rtu"\nlink = "{folder}/line-{number}"\nbaud = 115200\n'
        text += "paced = false\n"
    for number in (1, 2):
        text += f'[[device]]\nname = "cover-{number}"\nline = "line-{number}"\naddress = {number}\n'
        text += 'profile = "manhole-cover/generic"\n'
    return text


def covers(ports):
    text = ""
    for number, port in ports.items():
        text += f'[[bus]]\nname = "bus-{number}"\nprotocol = "modbus-rtu"\nport = "{port}"\nbaud = 115200\n'
        text += f'[[device]]\nname = "cover-{number}"\nbus = "bus-{number}"\naddress = {number}\n'
        text += 'profile = "manhole-cover/generic"\n'
    return text


def good(agent, bus):
    return agent.bus(bus)["good"]


def expect_no_waiting(agent, name):
    """Its port was never let go, and it was asked without a pause. A machine that stands still costs a timeout now and then."""
    bus = agent.bus(name)
    assert bus["state"] == "running" and bus["reopened"] == 0 and bus["lost"] == 0, bus
    assert bus["timeouts"] * 3 <= bus["transactions"], bus


def test_a_busy_port_is_taken_once_it_is_free_and_the_other_bus_never_waits(house):
    house.site(two_lines(house.folder))
    holder = os.open(house.folder / "line-2", os.O_RDWR | os.O_NOCTTY)
    house.at_the_end(lambda: os.close(holder))
    fcntl.flock(holder, fcntl.LOCK_EX)
    agent = house.agent(covers({1: house.folder / "line-1", 2: house.folder / "line-2"}))

    before = poll(lambda: good(agent, "bus-1"), "the free bus runs")
    said = poll(lambda: agent.bus("bus-2").get("problem"), "the busy port is named")
    assert str(house.folder / "line-2") in said or "busy" in said or "taken" in said, said
    poll(lambda: good(agent, "bus-1") > before + 2, "the free bus runs on")
    assert agent.bus("bus-2")["good"] == 0

    fcntl.flock(holder, fcntl.LOCK_UN)
    poll(lambda: good(agent, "bus-2"), "the port is taken after it was freed")
    expect_no_waiting(agent, "bus-1")
    poll(lambda: agent.status()["devices"]["online"] == 2, "both devices are there")


def test_a_missing_port_is_taken_once_it_is_there_and_the_other_bus_never_waits(house):
    house.site(two_lines(house.folder))
    adapter = house.folder / "adapter"
    agent = house.agent(covers({1: house.folder / "line-1", 2: adapter}))
    before = poll(lambda: good(agent, "bus-1"), "the bus with a port runs")
    poll(lambda: agent.bus("bus-2").get("problem"), "the missing port is named")
    poll(lambda: good(agent, "bus-1") > before + 2, "the bus with a port runs on")
    assert agent.bus("bus-2")["good"] == 0
    adapter.symlink_to(os.readlink(house.folder / "line-2"))
    poll(lambda: good(agent, "bus-2"), "the port is taken after it came")
    expect_no_waiting(agent, "bus-1")


def test_a_second_agent_on_the_same_state_is_refused_by_name_of_the_holder(house):
    agent = house.agent(COVERS.replace("{port}", "/dev/kerb-none"))
    second = house.agent(COVERS.replace("{port}", "/dev/kerb-none"), start=False, name="second")
    text = second.configuration.read_text().replace(f'state = "{second.state}"', f'state = "{agent.state}"')
    second.configuration.write_text(text)
    answer = second.command("run")
    assert answer.returncode == 69
    assert re.search(rf"\b{agent.process.pid}\b", answer.stderr), answer.stderr
    assert str(agent.state) in answer.stderr
    # The holder runs on as if nothing had been.
    assert agent.status()["epoch"] == 1 and agent.process.is_running


# MARK: Requests


def held(agent, name):
    """What the agent takes this consumer to hold, of both lanes together; and the gaps it was told of."""
    status = agent.status()
    durable = status["buffer"]["durable"]
    [consumer] = [each for each in status["consumers"] if each["name"] == name]
    return durable["alarms"] + durable["telemetry"] - consumer["lag_records"], consumer["gaps"]


def test_a_wrong_request_is_refused_with_its_reason_and_changes_nothing(house):
    port = free_port()
    house.site(SITE.replace("{port}", str(port)))
    water = Consumer("water", kinds=["manhole-cover"], lanes=["telemetry"])
    fire = Consumer("fire", kinds=["hydrant"])
    agent = house.agent(BUS.replace("{port}", str(port)), [water, fire])
    stranger = house.agent(BUS.replace("{port}", str(port)), [water], name="stranger")

    client = Client(agent.port, water.token)
    cursor = poll(lambda: client.pull(wait=1, limit=2), "records to pull")["next"]
    # This acknowledges the first two: the position that nothing may move from now on.
    behind = client.get("/v1/batches", after=cursor, limit=2).json["batches"]
    position = held(agent, "water"), held(agent, "fire")
    assert position[0][0] > position[1][0] == 0

    stranger_client = Client(stranger.port, water.token)
    foreign = poll(lambda: stranger_client.pull(wait=1), "another box's records")["next"]
    fire_client = Client(agent.port, fire.token)
    of_fire = poll(lambda: fire_client.pull(wait=1), "the fire brigade's records")["next"]

    nobody, guesser = Client(agent.port), Client(agent.port, "0" * 43)
    refused = [
        (401, nobody.get("/v1/batches")),
        (401, nobody.get("/v1/points")),
        (401, guesser.get("/v1/batches")),
        (401, guesser.get("/v1/batches", after=cursor)),
        (401, Client(agent.port, water.token + "x").get("/v1/batches")),
        (401, Client(agent.port, "").get("/v1/batches")),
        (403, client.get("/v1/points", device="hydrant-1")),
        (403, client.get("/v1/batches", lane="alarms")),
        (403, client.get("/v1/alarms")),
        (400, client.get("/v1/batches", after="nonsense")),
        (400, client.get("/v1/batches", after="")),
        (400, client.get("/v1/batches", after=cursor[:-1])),
        (400, client.get("/v1/batches", after=cursor[:-4] + ("AAAA" if cursor[-4:] != "AAAA" else "BBBB"))),
        (400, client.get("/v1/batches", after=of_fire)),
        (400, client.get("/v1/batches", after=cursor, limit="many")),
        (400, client.get("/v1/batches", after=cursor, limit=0)),
        (400, client.get("/v1/batches", after=cursor, wait=-1)),
        (400, client.get("/v1/batches", after=cursor, lane="both")),
        (400, client.get("/v1/batches", after=cursor, befor=cursor)),
        (409, client.get("/v1/batches", after=foreign)),
        (404, client.get("/v1/nothing")),
    ]
    for number, (status, answer) in enumerate(refused):
        assert answer.status == status, (number, answer.status, answer.body)
        assert answer.type == "application/problem+json", (number, answer.headers)
        problem = answer.json
        assert problem["status"] == status and problem["title"] and problem["detail"], problem
        assert water.token not in answer.body.decode() and guesser.token not in answer.body.decode()
    assert agent.status()["store"] in refused[-2][1].body.decode(), "a 409 says which store this is"

    assert (held(agent, "water"), held(agent, "fire")) == position
    # With the cursor and without it the answer is what it was before.
    assert client.get("/v1/batches", after=cursor, limit=2).json["batches"] == behind
    assert client.get("/v1/batches", limit=2).json["batches"] == behind
    log = agent.log
    assert water.token not in log and guesser.token not in log
