"""`kerb demo`: a whole community without hardware, and an account that balances."""

import json
import pathlib
import signal

import pytest

from running import KERB, poll


def parts(folder):
    """Processes that work in the demo's folder, by their command lines."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                pass  # ended meanwhile
    return found


def start(house, *arguments):
    scratch = house.folder / "scratch"
    scratch.mkdir()
    return scratch, house.process("demo", [KERB, "demo", *arguments], environment={"TMPDIR": str(scratch)})


def lines(process):
    """Whole ones only: the last one may be on its way."""
    return [json.loads(line) for line in process.output.split("\n")[:-1]]


def check_gone(scratch):
    poll(lambda: not parts(scratch), lambda: f"no process is left over: {parts(scratch)}")
    assert list(scratch.iterdir()) == [], "the temporary folder is gone"


def test_the_demo_balances_and_its_alarm_arrives(house):
    scratch, demo = start(house, "--seconds", "32", "--json")
    assert demo.wait() == 0, demo.log
    told = lines(demo)
    account = told[-1]
    assert account["balanced"] is True
    assert account["produced"] == account["delivered"] + account["reported"] + account["stored"] > 0
    assert account["batches"] > 0

    [alarm] = [each for each in account["alarms"] if each["name"] == "manhole-03/cover-open"]
    # Its condition holds for 2 s before it is raised. How far under 50 ms the rest stays is the benchmark's to say, on a
    # machine that does nothing else; the way from the touch has the poll in front of it, a register is read once a second.
    assert alarm["for_ms"] == 2_000 <= alarm["wire_to_client_ms"], alarm
    assert alarm["wire_to_client_ms"] <= alarm["touched_to_client_ms"] < alarm["wire_to_client_ms"] + 20_000, alarm
    assert alarm["after_for_ms"] == pytest.approx(alarm["wire_to_client_ms"] - 2_000, abs=0.2)
    cover = [each["record"] for each in told if each["event"] == "alarm" and "cover-open" in each["record"]["n"]]
    assert [each["state"] for each in cover][:3] == ["unacknowledged", "acknowledged", "normal"], "the loop is closed"
    assert cover[1]["by"] == "demo platform" and cover[1]["note"]

    rs485 = [bus for bus in account["buses"] if bus["name"].startswith("rs485")]
    assert len(rs485) == 2
    for bus in rs485:
        assert 0 < bus["utilisation"] <= 1 and 0 < bus["efficiency"] <= 1, bus
    # Not a measurement (that is the benchmark's), but a sign of something gone wild.
    assert 0 < account["private_bytes"] < 20 << 20 and account["rss_bytes"] >= account["private_bytes"]

    devices = {each["line"]: each["devices"] for each in told if each["event"] == "line"}
    assert sum(count for line, count in devices.items() if line.startswith("rs485")) >= 24
    happened = {each["event"] for each in told}
    assert {"line", "value", "answer", "account"} <= happened and happened & {"fault", "unplugged"}, happened
    check_gone(scratch)


def test_a_passer_by_understands_the_demo(house):
    # Its story is told within the first half.
    scratch, demo = start(house, "--seconds", "20")
    assert demo.wait() == 0, demo.log
    assert "\x1b" not in demo.output, "colour belongs on a terminal"
    for words in ("manhole-03", "Cover manhole-03 is lifted", "hydrant-02", "produced = delivered + reported + stored", "curl"):
        assert words in demo.output, f"{words} is missing in:\n{demo.output}"
    check_gone(scratch)


def test_ctrl_c_ends_the_demo_cleanly(house):
    scratch, demo = start(house, "--seconds", "60", "--json")
    poll(lambda: any(each["event"] == "answer" for each in lines(demo)), "the platform pulls")
    assert len(parts(scratch)) >= 3, "simulator, agent and platform are processes of their own"
    demo.send(signal.SIGINT)
    assert demo.wait() == 130, "ended by the interruption, and not by an error"
    account = lines(demo)[-1]
    assert account["event"] == "account" and account["balanced"] is True, account
    check_gone(scratch)


def test_nothing_of_the_demo_outlives_a_kill_of_it(house):
    scratch, demo = start(house, "--seconds", "60")
    poll(lambda: len(parts(scratch)) >= 3, "simulator, agent and platform run")
    demo.kill()
    poll(lambda: not parts(scratch), lambda: f"no process is left over: {parts(scratch)}")

