"""`kerb reload` while the buses run: what is changed is in force, and what is not changed notices nothing."""

import http.client
import json
import threading
import time

import pytest

from client import Client, Ledger
from running import Consumer, free_port, poll
from small_site import BUS, SITE
from test_conservation import settle
from test_refusals import partition

PROFILE = """
title = { en = "Something that counts" }
source = "This test."
[[point]]
name = "count"
read = "holding 0"
type = "u32"
every = "100ms"
windows = [ { every = "2s", stats = ["count"] } ]
[[point]]
name = "mark"
read = "holding 2"
type = "u16"
every = "100ms"
heartbeat = "500ms"
[[alarm]]
name = "high"
when = "mark > 900"
for = "3s"
severity = "warning"
message = { en = "high" }
"""


def device(name, line, address, more=""):
    return (
        f'[[device]]\nname = "{name}"\n{line}\naddress = {address}\nprofile = "counter/test"\n{more}')


def site(ports):
    text = ""
    for line, port in ports.items():
        text += f'[[line]]\nname = "{line}"\nprotocol = "modbus-tcp"\nlisten = "127.0.0.1:{port}"\n'
        for address in (1, 2, 3):
            mark = 100 * list(ports).index(line) + address
            text += device(
                f"{line}-{address}", f'line = "{line}"', address,
                f'  [[device.signal]]\n  point = "count"\n  shape = "counter"\n  rate = 1000\n'
                f'  [[device.signal]]\n  point = "mark"\n  shape = "constant"\n  value = {mark}\n')
    return text


def buses(ports, order, devices):
    """`devices`: (line, address), in this order; the same name means the same device."""
    text = ""
    for line in order:
        text += f'[[bus]]\nname = "{line}"\nprotocol = "modbus-tcp"\nhost = "127.0.0.1:{ports[line]}"\n'
    for line, address in devices:
        text += device(f"{line}-{address}", f'bus = "{line}"', address)
    return text


class Running:
    """An agent on three lines, its configuration written anew as a test likes, and a platform that pulls all the time."""

    LINES = ("kept", "other", "third")

    def __init__(self, house):
        house.profile("counter/test", PROFILE)
        self.ports = {line: free_port() for line in self.LINES}
        self.site = house.site(site(self.ports))
        self.account = house.folder / "account.json"
        everyone = [(line, address) for line in self.LINES for address in (1, 2, 3)]
        self.agent = house.agent(
            buses(self.ports, self.LINES, everyone), [Consumer("city")], account=self.account, telemetry="16MiB")
        self.head = self.agent.configuration.read_text().split("[[bus]]")[0]
        self.ledger = Ledger()
        house.at_the_end(self._rest)
        self.client = Client(self.agent.port, self.agent.consumers["city"].token)
        self.wants_more = True
        self.trouble = []
        # The test may end before `finish`.
        self.thread = threading.Thread(target=self._pull, daemon=True)
        self.thread.start()

    def _rest(self):
        self.wants_more = False

    def _pull(self):
        client = self.client
        while self.wants_more:
            try:
                answer = client.get("/v1/batches", after=client.cursor, wait=1)
            except (OSError, http.client.HTTPException):
                answer = None  # the door is shut for a moment
            if answer is None or answer.status == 503:
                time.sleep(0.02)
            elif answer.status == 200:
                self.ledger.add(answer.json)
                client.cursor = answer.json["next"]
            elif answer.status != 204:
                self.trouble.append(answer.body)
                return

    def write(self, order, devices, more=""):
        self.agent.configuration.write_text(self.head + buses(self.ports, order, devices) + more)

    def reload(self):
        told = self.agent.command("reload", "--json")
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def at_work(self):
        """The bus that no test changes, once a thread that begins anew would have far fewer transactions."""
        poll(lambda: self.agent.bus("kept")["transactions"] > 30, "the bus is at work")
        return self.agent.bus("kept")

    def finish(self):
        """Everything is pulled, the agent has ended, and its account is balanced."""
        self.wants_more = False
        self.thread.join(30)
        assert not self.thread.is_alive() and not self.trouble, self.trouble
        self.agent.ask("flush")
        for answer in self.client.pull_all():
            self.ledger.add(answer)
        return settle(self.agent, self.account, {"city": self.ledger})

    def values(self, point, stat=None):
        """All values of a series that came: (t, v)."""
        return [(each["t"], each["v"]) for each in self._records() if each["n"] == point and each.get("stat") == stat]

    def _records(self):
        for _, text in self.ledger.delivered("telemetry").values():
            yield json.loads(text)


def test_a_bus_that_is_not_changed_runs_on_through_any_number_of_reloads(house):
    running = Running(house)
    agent = running.agent
    poll(lambda: all(each["state"] == "online" for each in agent.ask("devices")), "all devices answer")
    assert running.reload() == {"applied": [], "restart": []}
    before = running.at_work()
    epoch = agent.status()["epoch"]

    all_of = {line: [(line, address) for address in (1, 2, 3)] for line in Running.LINES}
    courses = [
        # Its numbers move: what stood before it is behind it now, or away.
        (("other", "kept", "third"), all_of["other"] + all_of["kept"] + all_of["third"][1:]),
        (("kept", "other"), [("other", 3)] + all_of["kept"]),
        (("third", "kept"), all_of["third"][:2] + all_of["kept"]),
        (("third", "other", "kept"), all_of["third"] + all_of["other"][1:] + all_of["kept"]),
        (("kept", "other", "third"), all_of["kept"] + all_of["other"] + all_of["third"]),
    ]
    # An alarm that has to stand for 3 s: whoever begins anew never gets there.
    running.site.happen('device = "kept-2", point = "mark", value = 950')
    reloads, transactions = 0, before["transactions"]

    def is_raised():
        return any(each["n"] == "box/kept-2/high" for each in agent.ask("alarms", state="active"))

    while not is_raised() or reloads < 2 * len(courses):
        assert reloads < 200, "the alarm was never raised"
        running.write(*courses[reloads % len(courses)])
        told = running.reload()
        assert told["restart"] == [] and told["applied"], told
        assert not any("kept" in change for change in told["applied"]), told
        now = agent.bus("kept")
        assert now["transactions"] >= transactions and now["reopened"] == 0 and now["state"] == "running", now
        transactions = now["transactions"]
        reloads += 1
    poll(lambda: all(each["state"] == "online" for each in agent.ask("devices")), "all devices answer again")
    assert agent.status()["epoch"] == epoch + reloads
    assert agent.log.count("running") >= reloads and "buses_going_on=kept" in agent.log
    counts = agent.status()["buffer"]
    assert counts["lost"] == 0 and counts["produced"] >= counts["accepted"] > 0

    account = running.finish()
    assert account["lost"] == 0 and not running.ledger.gaps
    # Under whatever number it came: each device's values are its own.
    for line in Running.LINES:
        for address in (1, 2, 3):
            marks = {v for _, v in running.values(f"box/{line}-{address}/mark")}
            mine = 100 * Running.LINES.index(line) + address
            assert marks == ({mine, 950} if (line, address) == ("kept", 2) else {mine}), (line, address, marks)
    for address in (1, 2, 3):
        counted = running.values(f"box/kept-{address}/count")
        assert counted == sorted(counted) and len({t for t, _ in counted}) == len(counted)
        # Each window once, none cut in two by a reload.
        ends = [t for t, _ in running.values(f"box/kept-{address}/count", "count")]
        steps = {round(after - before) for before, after in zip(ends, ends[1:])}
        assert len(ends) >= 2 and steps == {2}, ends
    raised = [
        json.loads(text) for _, text in running.ledger.delivered("alarms").values()
        if '"box/kept-2/high"' in text]
    assert [(each["event"], each["state"]) for each in raised] == [("raised", "unacknowledged")], raised


def test_all_that_was_changed_is_in_force_or_named_and_nothing_half(house):
    running = Running(house)
    agent, city = running.agent, running.client
    everyone = [(line, address) for line in Running.LINES for address in (1, 2, 3)]
    before = running.at_work()

    # A device goes, another gets a label, a platform comes, a device of its own is described; the box's name can't change now.
    fire = Consumer("fire", devices=["tank"])
    tank = device("tank", 'bus = "third"', 2).replace('profile = "counter/test"', 'kind = "tank"') + (
        '  [[device.point]]\n  name = "level"\n  read = "holding 2"\n  type = "u16"\n  every = "200ms"\n  heartbeat = "1s"\n')
    left = [each for each in everyone if each not in (("third", 2), ("other", 1))]
    running.write(Running.LINES, left, tank + fire.toml)
    text = agent.configuration.read_text()
    text = text.replace('name = "kept-1"', 'name = "kept-1"\nlabels = { street = "Mill Lane" }')
    agent.configuration.write_text(text.replace('id = "box"', 'id = "other"'))
    told = running.reload()
    assert told["restart"] == ["gateway"]
    assert sorted(told["applied"]) == [
        "consumer fire added", "device kept-1 changed", "device other-1 removed", "device tank added",
        "device third-2 removed"]
    assert {each["name"] for each in agent.ask("devices")} == {f"{line}-{address}" for line, address in left} | {"tank"}
    [mine] = [each for each in city.get("/v1/devices").json["devices"] if each["name"] == "kept-1"]
    assert mine["labels"] == {"street": "Mill Lane"}
    new = Client(agent.port, fire.token)
    assert [each["name"] for each in new.get("/v1/devices").json["devices"]] == ["tank"]
    poll(lambda: agent.ask("flush") and any(
        record["n"] == "box/tank/level" and record["v"] == 202
        for answer in new.pull_all() for batch in answer["batches"] for record in batch["records"]), "the tank speaks")
    now = agent.bus("kept")
    assert now["transactions"] >= before["transactions"] and now["reopened"] == 0, "a label is nothing to a line"

    # The same once more: the name still waits, nothing else is left to do.
    assert running.reload() == {"applied": [], "restart": ["gateway"]}
    epoch = agent.status()["epoch"]
    # What is wrong changes nothing, whatever else is right.
    agent.configuration.write_text(agent.configuration.read_text().replace('bus = "kept"\naddress = 3', 'bus = "kept"\naddress = 300'))
    wrong = agent.command("reload")
    assert wrong.returncode == 78 and "address" in wrong.stderr, wrong.stderr
    assert agent.status()["epoch"] == epoch

    # A bus that never answers is taken over like any other, and is no harm to the others.
    running.write(Running.LINES, left, '[[bus]]\nname = "none"\nprotocol = "modbus-rtu"\nport = "/dev/kerb-none"\n')
    told = running.reload()["applied"]
    assert "bus none added" in told and "consumer fire removed" in told and "device tank removed" in told
    poll(lambda: agent.bus("none").get("problem"), "its port is not there")
    assert agent.bus("kept")["transactions"] >= now["transactions"]
    assert new.get("/v1/devices").status == 401
    account = running.finish()
    assert account["lost"] == 0 and not running.ledger.gaps


def test_on_a_sick_storage_nothing_is_built_anew_and_the_reload_can_be_repeated(house):
    port = free_port()
    house.site(SITE.replace("{port}", str(port)))
    agent = house.agent(BUS.replace("{port}", str(port)), [Consumer("city")], start=False)
    partition(house, agent.state, "12m")
    agent.start()
    poll(lambda: agent.status()["devices"]["online"] == 2, "both devices answer")
    # Its files are gone, and there is no room for others.
    filler = agent.state / "filler"
    with pytest.raises(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    (agent.state / "telemetry.db").unlink()
    poll(lambda: agent.status()["buffer"]["state"] != "good", "the store has seen it", seconds=30)
    text = agent.configuration.read_text()
    agent.configuration.write_text(text.replace("address = 2", 'address = 2\nlabels = { street = "Mill Lane" }'))

    told = agent.command("reload")
    assert told.returncode == 75 and "nothing was taken over" in told.stderr, told
    assert "kerb doctor" in told.stderr and "repeat the reload" in told.stderr, told.stderr
    assert agent.status()["devices"]["online"] == 2 and agent.status()["epoch"] == 1
    filler.unlink()
    poll(lambda: agent.status()["buffer"]["state"] == "good", "the store is well again", seconds=60)
    poll(lambda: agent.command("reload").returncode == 0, "the reload is repeated", seconds=30, every=0.5)
    [hydrant] = [each for each in agent.ask("devices") if each["name"] == "hydrant-1"]
    assert hydrant["state"] == "online"
    devices = Client(agent.port, agent.consumers["city"].token).get("/v1/devices").json["devices"]
    assert [each["labels"] for each in devices if each["name"] == "hydrant-1"] == [{"street": "Mill Lane"}]


def test_a_state_that_can_not_be_opened_again_is_waited_for_while_the_buses_run_on(house):
    running = Running(house)
    agent = running.agent
    before = running.at_work()
    key = agent.state / "box.key"
    kept = key.rename(agent.state / "elsewhere")
    key.mkdir()
    left = [(line, address) for line in Running.LINES for address in (1, 2, 3)][:-1]
    running.write(Running.LINES, left)
    told = agent.command("reload")
    assert told.returncode == 75 and "waits for its state" in told.stderr and "box.key" in told.stderr, told.stderr
    poll(lambda: agent.bus("kept")["transactions"] > before["transactions"] + 10, "the buses run on")
    assert agent.bus("kept")["reopened"] == 0 and agent.status()["buffer"]["state"] == "failing"
    assert any(each["code"] == "state-unusable" for each in agent.status()["troubles"])
    waiting = running.client.get("/v1/batches")
    assert waiting.status == 503 and b"box.key" in waiting.body, waiting.body

    key.rmdir()
    kept.rename(key)
    poll(lambda: agent.status()["buffer"]["state"] == "good", "it is open again", seconds=60)
    assert {each["name"] for each in agent.ask("devices")} == {f"{line}-{address}" for line, address in left}
    assert agent.bus("kept")["reopened"] == 0
    # What found no room in the meantime is counted and told.
    running.finish()
