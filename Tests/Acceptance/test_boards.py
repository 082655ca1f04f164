"""What a box says of its board: commands, and an adapter that is missing at the start."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from lamp_line import BUS, LINE
from running import REPOSITORY, poll, run


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
    assert "! bus socket: there is no adapter at USB port 1 of qemu-xhci (/dev/kerb/rs485-1); plug one in" in shown
    house.site(LINE.format(name="two", link=links["two"]), name="second")
    poll(lambda: agent.status()["devices"]["online"] == 2, "the line that was plugged in runs")
    assert [each["bus"] for each in agent.status()["missing_ports"]] == ["socket"]


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


def verifier():
    """udevadm with `verify` (systemd 254 and newer), or None."""
    path = shutil.which("udevadm")
    if path is None:
        return None
    version = re.match(r"\d+", subprocess.run([path, "--version"], capture_output=True, text=True).stdout)
    return path if version and int(version.group()) >= 254 else None


@pytest.mark.skipif(
    verifier() is None,
    reason="NOT TESTED HERE: the rules of udev/ are not verified, udevadm verify comes with systemd 254; Debian 13 has it")
@pytest.mark.parametrize("board", sorted(path.stem for path in (REPOSITORY / "udev" / "boards").glob("*.rules")))
def test_the_rules_of_a_board_are_rules_to_udev(house, board):
    general = pathlib.Path(shutil.copy(REPOSITORY / "udev" / "61-kerb.rules", house.folder))
    own = pathlib.Path(shutil.copy(REPOSITORY / "udev" / "boards" / f"{board}.rules", house.folder / "62-kerb-board.rules"))
    # The group is made by the package.
    answer = subprocess.run(
        [verifier(), "verify", "--resolve-names=never", general, own], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_two_boards_rules_on_one_box_are_told_with_the_file_to_remove(house):
    root = house.folder / "root"
    for board in ("raspberry-pi-4", "qemu-virt"):
        run("board", "udev", board, "--install", "--root", root)
        folder = root / "etc/udev/rules.d"
        if board == "raspberry-pi-4":
            (folder / "62-kerb-board.rules").rename(folder / "62-by-hand.rules")
    for language, words in (("C.UTF-8", "two boards would claim one name; remove the file"), ("zh_CN.UTF-8", "争用同一名称")):
        check = run("board", "check", "--board", "qemu-virt", "--root", root, environment={"LANG": language})
        assert check.returncode == 69 and words in check.stdout and "/etc/udev/rules.d/62-by-hand.rules" in check.stdout
