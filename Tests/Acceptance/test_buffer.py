"""`kerb buffer` and `kerb export`: of a running agent, and of what it left behind."""

import csv
import io
import json
import time

from client import Client
from running import Consumer, free_port, poll, run
from small_site import BUS, SITE


def test_buffer_is_shown_checked_exported_copied_and_put_back(house, tmp_path):
    port = free_port()
    house.site(SITE.replace("{port}", str(port)))
    agent = house.agent(BUS.replace("{port}", str(port)), [Consumer("city")])
    poll(lambda: agent.ask("flush")["telemetry"] >= 13, "every point is stored once")

    def tool(*arguments, status=0):
        result = run(*arguments, *agent.files)
        assert result.returncode == status, result.stderr
        return result.stdout

    buffer = json.loads(tool("buffer", "--json"))
    assert buffer["running"] and buffer["state"] == "good" and buffer["held"]["samples"] > 0
    assert buffer["consumers"][0]["name"] == "city" and buffer["flash"]["written_bytes"] >= 0
    assert set(buffer["gone"]) == {"evicted", "thinned", "overflow", "unsaved", "damaged", "retention"}
    assert buffer["consumers"][0]["oldest_unread"] <= time.time()
    assert all(len(line) <= 80 for line in tool("buffer").splitlines())

    verified = json.loads(tool("buffer", "verify", "--json"))
    assert verified["samples"] >= buffer["held"]["samples"] and verified["damaged_blocks"] == []

    rows = list(csv.DictReader(io.StringIO(tool("export", "--since", "1h", "--csv"))))
    assert len(rows) >= buffer["held"]["samples"]
    tilt = [row for row in rows if row["name"].endswith("/cover-1/tilt") and not row["statistic"]]
    assert tilt and all(abs(float(row["value"]) - 34) < 1 and row["unit"] == "deg" for row in tilt)
    assert all(abs(float(row["time"]) - time.time()) < 600 for row in rows)
    pack = json.loads(tool("export", "--senml"))
    assert len(pack) >= len(rows) and all("n" in record for record in pack)
    assert tool("export", "--until", "1h", "--csv").count("\n") == 1
    tool("export", status=64)

    copy = tmp_path / "copy"
    assert json.loads(tool("buffer", "backup", copy, "--json"))["bytes"] > 0
    assert sorted(path.name for path in copy.iterdir()) == ["alarm.db", "telemetry.db"]
    assert json.loads(tool("buffer", "restore", copy, "--json", status=75) or "null") is None

    agent.stop()
    at_rest = json.loads(tool("buffer", "--json"))
    assert not at_rest["running"] and at_rest["held"]["samples"] >= buffer["held"]["samples"]
    assert len(list(csv.DictReader(io.StringIO(tool("export", "--csv"))))) >= len(rows)
    restored = json.loads(tool("buffer", "restore", copy, "--json"))
    assert restored["store"] != at_rest["store"] and restored["samples"] >= buffer["held"]["samples"]
    assert json.loads(tool("buffer", "verify", "--json"))["damaged_blocks"] == []


def test_nothing_waits_for_a_platform_on_a_lane_that_it_may_not_see(house):
    """Nowhere: status, buffer, /metrics, /v1/status; at a reload that widens its lanes all that is stored does."""
    port = free_port()
    house.site(SITE.replace("{port}", str(port)))
    brigade, meters = Consumer("brigade", lanes=["alarms"]), Consumer("meters", lanes=["telemetry"])
    agent = house.agent(BUS.replace("{port}", str(port)), [brigade, meters])
    poll(lambda: agent.ask("flush")["telemetry"] >= 13, "every point is stored once")
    poll(lambda: agent.ask("flush")["alarms"] >= 1, "the cover's alarm is stored")

    def consumer(name, *command):
        answer = json.loads(agent.command(*command, "--json").stdout)
        return next(each for each in answer["consumers"] if each["name"] == name)

    client = Client(agent.port, brigade.token)
    assert consumer("brigade", "buffer")["oldest_unread"] is None
    assert 1 <= consumer("brigade", "status")["lag_records"] < 13 <= consumer("meters", "status")["lag_records"]
    client.pull_all()
    assert consumer("brigade", "buffer")["lag_records"] == 0 == consumer("brigade", "status")["lag_records"]
    assert client.get("/v1/status").json["you"]["lag_records"] == 0
    assert 'kerb_consumer_lag_records{consumer="brigade"} 0' in client.get("/metrics").body.decode()
    held = consumer("brigade", "buffer")["held_telemetry"]

    text = agent.configuration.read_text()
    agent.configuration.write_text(text.replace('lanes = ["alarms"]', 'lanes = ["alarms", "telemetry"]'))
    applied = json.loads(agent.command("reload", "--json").stdout)["applied"]
    assert applied == ["consumer brigade: another scope: lanes alarms telemetry"]
    wide = consumer("brigade", "buffer")
    assert wide["lag_records"] >= 13 and wide["oldest_unread"] is not None and wide["held_telemetry"] == held
    first = next(batch for batch in client.pull()["batches"] if batch["lane"] == "telemetry")
    assert f".telemetry.{held + 1}-" in first["id"], "from where it stood"

    agent.stop()
    at_rest = json.loads(run("buffer", "--json", *agent.files).stdout)
    waiting = {each["name"]: each["oldest_unread"] is not None for each in at_rest["consumers"]}
    assert waiting == {"brigade": True, "meters": True}
    agent.configuration.write_text(text)
    assert consumer("brigade", "buffer")["lag_records"] <= 1, "at rest, too: one alarm may have come since"


def test_an_export_has_pseudonyms_only_for_who_asks_and_may(house):
    """They agree among exports of one box; the clear number is in none."""
    site = house.site(f"""
[[line]]
name = "cards"
protocol = "serial"
link = "{house.folder}/cards"
[[device]]
name = "reader"
line = "cards"
profile = "access-gate/card-reader"
""")
    agent = house.agent(f"""
[[bus]]
name = "cards"
protocol = "serial"
port = "{house.folder}/cards"
[[device]]
name = "reader"
bus = "cards"
profile = "access-gate/card-reader"
""")
    card = "8675309124"
    # A reader speaks once; what it said before the line was opened is nobody's.
    poll(lambda: agent.bus("cards")["state"] == "running", lambda: agent.bus("cards"))
    site.happen(f'device = "reader", point = "card", value = "{card}"')
    poll(lambda: agent.ask("flush")["telemetry"] >= 1, "the card is stored")

    def export(*more):
        result = run("export", "--csv", *more, *agent.files)
        assert result.returncode == 0, result.stderr
        assert card not in result.stdout
        return [row["value"] for row in csv.DictReader(io.StringIO(result.stdout)) if row["name"].endswith("/card")]

    assert export() == []
    running = export("--personal")
    assert running and all(len(value) == 32 for value in running)
    agent.stop()
    assert export() == [] and export("--personal")[:len(running)] == running
