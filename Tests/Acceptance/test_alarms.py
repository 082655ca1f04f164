"""Alarms end to end: raised by a device, acknowledged by a platform or a person, and still so after a kill."""

import json

import pytest

from client import Client
from running import Consumer, free_port, poll
from small_site import BUS, SITE

HASTY = """
[alarms]
device-offline = { for = "1s" }
"""


class Loop:
    def __init__(self, house):
        port = free_port()
        self.site = house.site(SITE.replace("{port}", str(port)))
        self.agent = house.agent(
            HASTY + BUS.replace("{port}", str(port)), [Consumer("city"), Consumer("water", kinds=["hydrant"])])
        self.client = Client(self.agent.port, self.agent.consumers["city"].token)
        poll(lambda: self.state() == "unacknowledged", "the cover's alarm is raised")

    def alarms(self, state="all"):
        return {each["n"].removeprefix("box/"): each for each in self.client.get("/v1/alarms", state=state).json["alarms"]}

    def cover(self):
        return self.alarms().get("cover-1/cover-open", {})

    def state(self):
        return self.cover().get("state")

    def history(self):
        return [each for each in self.agent.ask("alarm_log", limit="200") if each["n"] == "box/cover-1/cover-open"]


@pytest.fixture
def loop(house):
    return Loop(house)


def test_a_platform_acknowledges_and_a_kill_changes_nothing(loop):
    id = loop.cover()["id"]
    answer = loop.client.post(f"/v1/alarms/{id}/ack", {"by": "王师傅", "note": "在路上"})
    assert answer.status == 200, answer.body
    assert answer.json["state"] == "acknowledged" and answer.json["by"] == "王师傅"
    assert loop.client.post(f"/v1/alarms/{id}/ack").status == 200, "said twice"
    events = [each["event"] for each in loop.history()]
    assert events == ["raised", "acknowledged"]

    stranger = Client(loop.agent.port, loop.agent.consumers["water"].token)
    assert stranger.post(f"/v1/alarms/{id}/ack").status == 403
    assert loop.client.post("/v1/alarms/99999/ack").status == 404

    loop.agent.kill()
    loop.agent.start()
    poll(lambda: loop.agent.status()["points"]["good"] == 13, "everything is read again")
    assert loop.state() == "acknowledged"
    assert [each["event"] for each in loop.history()] == events, "not raised anew"
    loop.site.happen('device = "cover-1", point = "tilt", value = 1')
    poll(lambda: loop.state() == "normal", "it ends by itself")


def test_the_values_that_caused_it_stay_with_an_alarm_until_it_is_over(loop):
    def tilt():
        points = loop.client.get("/v1/points", device="cover-1").json["points"]
        return next(each["v"] for each in points if each["point"] == "tilt")

    raised = loop.cover()
    text = raised["message"]["en"]
    assert abs(raised["values"]["tilt"] - 34) < 1 and str(raised["values"]["tilt"]) in text
    loop.site.happen('device = "cover-1", point = "tilt", value = 28')
    poll(lambda: abs(tilt() - 28) < 1, "another tilt is read")
    assert loop.client.post(f"/v1/alarms/{raised['id']}/ack").status == 200
    known = loop.cover()
    assert known["state"] == "acknowledged" and (known["values"], known["message"]["en"]) == (raised["values"], text)

    # A configuration with a device more, in front: the point has another number now.
    loop.agent.stop()
    before = BUS.split("[[device]]")[2].replace("hydrant-1", "a-hydrant").replace("address = 2", "address = 7")
    configuration = loop.agent.configuration.read_text()
    loop.agent.configuration.write_text(configuration.replace("[[device]]", "[[device]]" + before + "[[device]]", 1))
    loop.agent.start()
    loop.site.happen('device = "cover-1", point = "tilt", value = 1')
    poll(lambda: loop.state() == "normal", "it ends by itself")
    assert [each["event"] for each in loop.history()] == ["raised", "acknowledged", "returned"]
    assert [(each["values"], each["message"]["en"]) for each in loop.history()] == [(raised["values"], text)] * 3


def test_a_person_acknowledges_shelves_and_takes_out_of_service(loop):
    agent = loop.agent
    said = agent.command("ack", "cover-1/cover-open", "--by", "Li", "--note", "seen", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["state"] == "acknowledged"
    assert "already" in agent.command("ack", "cover-1/cover-open").stdout
    # One that never stood: there is nothing to do, and that is no mistake.
    idle = agent.command("ack", "buffer-full")
    assert idle.returncode == 0 and "buffer-full does not stand now" in idle.stdout, idle.stderr
    assert json.loads(agent.command("ack", "buffer-full", "--json").stdout) == {
        "alarm": "buffer-full", "state": "normal", "changed": False}
    wrong = agent.command("ack", "cover-1/cover-opem")
    assert wrong.returncode == 64 and "cover-1/cover-open?" in wrong.stderr
    assert agent.command("shelve", "cover-1/cover-open", "--for", "9d").returncode == 64

    assert agent.command("shelve", "cover-1/cover-open", "--for", "2h", "--note", "hinge").returncode == 0
    [shelved] = json.loads(agent.command("alarms", "--shelved", "--json").stdout)
    assert shelved["note"] == "hinge" and 7_100 < shelved["until"] - shelved["t"] <= 7_200
    assert "until" in agent.command("alarms", "--shelved").stdout
    refused = agent.command("ack", "cover-1/cover-open")
    assert refused.returncode == 65 and "is shelved: end that first" in refused.stderr
    assert agent.command("ack", json.loads(said.stdout)["id"]).returncode == 65, "that state is over"
    loop.agent.kill()
    loop.agent.start()
    [after] = json.loads(agent.command("alarms", "--shelved", "--json").stdout)
    assert after["until"] == shelved["until"], "the shelf outlives the agent"
    assert agent.command("unshelve", "cover-1/cover-open").returncode == 0
    assert agent.command("alarms", "out-of-service", "cover-1/cover-open").returncode == 0
    assert agent.status()["alarms"]["out_of_service"] == 1
    assert agent.command("alarms", "in-service", "cover-1/cover-open").returncode == 0
    assert loop.state() == "acknowledged"
    told = [each["event"] for each in json.loads(agent.command("alarms", "--history", "--json").stdout)]
    assert told == ["raised", "acknowledged", "shelved", "unshelved", "out-of-service", "in-service"]


def test_a_key_that_is_gone_is_an_alarm_of_the_box(loop):
    (loop.agent.state / "box.key").unlink()
    poll(lambda: "personal-key-missing" in loop.alarms(), "the box misses its key")
    missing = loop.alarms()["personal-key-missing"]
    assert missing["severity"] == "critical" and missing["n"] == "box/personal-key-missing"
    answer = loop.client.post(f"/v1/alarms/{missing['id']}/ack", {"by": "Li"})
    assert answer.status == 200 and answer.json["state"] == "acknowledged", answer.body


def test_a_line_that_is_gone_is_one_alarm(loop):
    loop.site.process.stop()
    poll(lambda: "line/bus-lost" in loop.alarms(), "the bus is lost")
    assert loop.alarms()["line/bus-lost"]["state"] == "unacknowledged"
    assert not any("device-offline" in name for name in loop.alarms("active"))
