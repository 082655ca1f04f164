"""What a box says of its board: commands, and an adapter that is missing at the start."""

import json

from running import poll, run

LINE = """
[[line]]
name = "{name}"
protocol = "modbus-rtu"
link = "{link}"
baud = 115200
[[device]]
name = "lamp-{name}"
line = "{name}"
address = 3
profile = "streetlight/generic"
"""

BUS = """
[[bus]]
name = "{name}"
protocol = "modbus-rtu"
port = "{link}"
baud = 115200
[[device]]
name = "lamp-{name}"
bus = "{name}"
address = 3
profile = "streetlight/generic"
"""


def test_an_adapter_that_is_missing_at_the_start_is_named_and_comes_in_when_it_is_plugged_in(house):
    links = {name: str(house.folder / f"port-{name}") for name in ("one", "two")}
    house.site(LINE.format(name="one", link=links["one"]), name="first")
    socket = '[[bus]]\nname = "socket"\nprotocol = "modbus-rtu"\nport = "/dev/kerb/rs485-1"\n'
    agent = house.agent(
        "".join(BUS.format(name=name, link=link) for name, link in links.items()) + socket, start=False)
    (agent.folder / "conf.d").mkdir()
    (agent.folder / "conf.d" / "board.toml").write_text('[gateway]\nboard = "qemu-virt"\n')
    agent.start()
    poll(lambda: agent.status()["devices"]["online"] == 1, "the line that is there runs")
    status = agent.status()
    assert status["board"] == "qemu-virt"
    missing = {each["bus"]: each for each in status["missing_ports"]}
    assert set(missing) == {"two", "socket"}
    assert missing["socket"]["label"]["en"] == "USB port 1 of qemu-xhci" and missing["two"]["label"] == {}
    assert f"bus two: there is no adapter at {links['two']}; plug one in" in agent.log
    assert "bus socket: there is no adapter at USB port 1 of qemu-xhci (/dev/kerb/rs485-1)" in agent.log
    shown = agent.command("status").stdout
    assert "Missing  socket: no adapter at USB port 1 of qemu-xhci (/dev/kerb/rs485-1)" in shown
    house.site(LINE.format(name="two", link=links["two"]), name="second")
    poll(lambda: agent.status()["devices"]["online"] == 2, "the line that was plugged in runs", seconds=30)
    assert [each["bus"] for each in agent.status()["missing_ports"]] == ["socket"]


def test_an_unknown_board_is_refused_by_check(house):
    agent = house.agent("", start=False)
    (agent.folder / "conf.d").mkdir()
    (agent.folder / "conf.d" / "board.toml").write_text('[gateway]\nboard = "qemu-vert"\n')
    answer = agent.command("check")
    assert answer.returncode == 78 and 'did you mean "qemu-virt"?' in answer.stdout


def test_boards_are_listed_shown_and_installed(house):
    boards = json.loads(run("boards", "--json").stdout)
    assert {"qemu-virt", "raspberry-pi-4-rs485-hat", "x86-industrial-pc"} <= {board["name"] for board in boards}
    shown = json.loads(run("boards", "qemu-virt", "--json").stdout)
    assert shown == next(board for board in boards if board["name"] == "qemu-virt")
    assert all(len(line) <= 80 for line in run("boards").stdout.splitlines())
    root = house.folder / "root"
    for board in ("raspberry-pi-4", "qemu-virt"):
        answer = run("board", "udev", board, "--install", "--root", root)
        assert answer.returncode == 0, answer.stderr
    rules = sorted(path.name for path in (root / "etc/udev/rules.d").iterdir())
    assert rules == ["61-kerb.rules", "62-kerb-board.rules"], "the second board has replaced the first"
    assert "# Board: qemu-virt" in (root / "etc/udev/rules.d/62-kerb-board.rules").read_text()
    check = run("board", "check", "--board", "qemu-virt", "--root", root, "--json")
    findings = json.loads(check.stdout)["findings"]
    assert not any(each["subject"] == "rules" and each["weight"] == "wrong" for each in findings)
    assert check.returncode == 69, "its watchdog and clock are not there"
