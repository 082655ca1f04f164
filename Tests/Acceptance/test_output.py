"""What a command prints arrives, or the command says that it did not: full disks, closed channels, and readers that go away."""

import json
import os
import resource
import stat
import subprocess

import pytest

from client import Client
from running import KERB, PATIENCE, PROFILES, Consumer, free_port, poll, run
from small_site import BUS, SITE

FULL = "/dev/full"


@pytest.fixture
def agent(house):
    port = free_port()
    house.site(SITE.replace("{port}", str(port)))
    agent = house.agent(BUS.replace("{port}", str(port)), [Consumer("city")])
    poll(lambda: agent.status()["points"]["good"] == 13, "every point is read")
    return agent


def printed_to(target, *arguments, **how):
    """One command with its standard output in a file of that name."""
    with open(target, "w") as output:
        return subprocess.run(
            [str(KERB), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True,
            timeout=PATIENCE, env={**os.environ, "LANG": "C.UTF-8"}, **how)


def assert_no_room(answer):
    assert answer.returncode == 74, answer.stderr
    [line] = [line for line in answer.stderr.splitlines() if line.startswith("stdout: ")]
    assert line.startswith("stdout: No space left on device; ") and "make room there" in line


@pytest.mark.parametrize(
    "command",
    ["version", "version --json", "--help", "status --help", "boards", "boards --json", "profiles", "profiles --json"])
def test_a_full_disk_is_told_by_commands_that_need_nothing(command):
    assert_no_room(printed_to(FULL, *command.split()))


def test_a_full_disk_is_told_by_commands_that_ask_the_agent(agent):
    agent.ask("flush")
    for command in (
        "check", "plan", "plan --json", "status", "status --json", "points", "points --json", "devices", "alarms --all",
        "buffer", "buffer --json", "buffer verify", "consumer list", "consumer list --json", "doctor", "doctor --json",
        "export --since 1h --csv", "export --since 1h --senml", "watch cover-1 --count 1", "watch cover-1 --count 1 --json",
        "monitor line --seconds 0", "monitor line --seconds 0 --json", "read cover-1 tilt", "reload", "reload --json",
    ):
        answer = printed_to(FULL, *command.split(), *agent.files)
        assert answer.returncode == 74, (command, answer.stderr)
        assert_no_room(answer)


def test_a_part_of_the_output_is_not_taken_for_all_of_it(tmp_path):
    whole = run("profiles", "--json", "--profiles", PROFILES).stdout
    assert len(whole) > 1_000
    part = tmp_path / "part.json"

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))

    # SIGXFSZ stays ignored, as Python has it: a write then takes what fits, and the next one says why no more.
    answer = printed_to(
        part, "profiles", "--json", "--profiles", PROFILES, preexec_fn=small, restore_signals=False)
    assert answer.returncode == 74 and answer.stderr.startswith("stdout: File too large"), answer.stderr
    assert part.read_bytes() == whole.encode()[:500], "what fits is there"


def test_a_closed_channel_is_told_and_never_becomes_a_file(agent):
    for command in (["version"], ["status", *agent.files], ["consumer", "add", "fire", *agent.files]):
        answer = subprocess.run(
            ["sh", "-c", '"$0" "$@" >&-', KERB, *command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            timeout=PATIENCE)
        assert answer.returncode == 74 and "stdout: Bad file descriptor" in answer.stderr, (command, answer.stderr)
    assert not (agent.folder / "conf.d").exists()


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_token_that_nobody_saw_changes_nothing(agent, form):
    def devices(token):
        return Client(agent.port, token).get("/v1/devices").status

    before = agent.configuration.read_bytes()
    added = printed_to(FULL, "consumer", "add", "fire", *form, *agent.files)
    assert_no_room(added)
    assert "nothing was changed" in added.stderr and "added" not in added.stderr
    assert not (agent.folder / "conf.d").exists(), "nothing is left behind"
    rotated = printed_to(FULL, "consumer", "rotate", "city", *form, *agent.files)
    assert_no_room(rotated)
    assert "nothing was changed" in rotated.stderr and "another token" not in rotated.stderr
    assert agent.configuration.read_bytes() == before
    assert agent.command("reload").returncode == 0
    assert devices(agent.consumers["city"].token) == 200, "the old token stays"
    assert sorted(path.name for path in agent.folder.glob("*.toml*")) == ["kerb.toml"], "no draft is left"

    # Where there is room all is as ever, the token on the disk before the change.
    there = agent.folder / "token"
    assert printed_to(there, "consumer", "rotate", "city", *form, *agent.files).returncode == 0
    text = there.read_text()
    told = json.loads(text) if form else {"token": text.strip(), "in_force": True}
    assert told["in_force"] is True and devices(told["token"]) == 200
    assert devices(agent.consumers["city"].token) == 401


# Readers that go away.


def left_alone(house, *arguments, lines=1, environment=None):
    """A command whose reader takes so many lines and goes; the status that it ends with, and what it said meanwhile."""
    with open(house.folder / "alone.log", "w+") as log:
        process = subprocess.Popen(
            [str(KERB), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, "LANG": "C.UTF-8", **(environment or {})})
        try:
            for _ in range(lines):
                assert process.stdout.readline().endswith(b"\n")
            process.stdout.close()
            status = process.wait(timeout=PATIENCE)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        log.seek(0)
        return status, log.read()


@pytest.mark.parametrize(
    "command",
    ["monitor line", "monitor line --json", "watch cover-1", "watch cover-1 --json", "watch cover-1 --every 3600",
     "watch cover-1 --every 3600 --json"])
def test_what_prints_without_an_end_ends_with_its_reader(house, agent, command):
    status, said = left_alone(house, *command.split(), *agent.files)
    assert status == 141
    # Frames that a slow look has missed are told.
    assert said == "" or command.startswith("monitor") and "stdout" not in said and "ipe" not in said, said


def test_a_reader_that_goes_while_nothing_comes_is_noticed_too(house):
    link = house.folder / "line"
    site = house.folder / "quiet.toml"
    site.write_text(
        f'[[line]]\nname = "line"\nprotocol = "modbus-rtu"\nlink = "{link}"\nbaud = 19200\n'
        '[[device]]\nname = "cover-1"\nline = "line"\naddress = 1\nprofile = "manhole-cover/generic"\n')
    assert left_alone(house, "simulate", site, "--json", "--profiles", PROFILES) == (141, "")
    assert not link.is_symlink(), "its links are gone"

    house.site(site.read_text())
    agent = house.agent(
        f'[[bus]]\nname = "line"\nprotocol = "modbus-rtu"\nport = "{link}"\nbaud = 19200\n', start=False)
    status, said = left_alone(house, "monitor", "line", *agent.files, lines=0)
    assert status == 141 and "line" in said and "ipe" not in said, "it only listens, and nobody speaks"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_demo_that_nobody_looks_at_ends_and_tidies_up(house, form):
    status, said = left_alone(
        house, "demo", "--seconds", "600", "--profiles", PROFILES, *form, environment={"TMPDIR": str(house.folder)})
    assert (status, said) == (141, "")
    assert sorted(path.name for path in house.folder.iterdir()) == ["alone.log"]


def test_a_command_that_has_failed_keeps_its_status_without_a_reader(house):
    wrong = house.folder / "wrong.toml"
    wrong.write_text("[gateway]\nid = 5\nsate = 1\n")
    reading, writing = os.pipe()
    os.close(reading)
    answer = subprocess.run(
        [KERB, "check", "-c", wrong], stdin=subprocess.DEVNULL, stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE)
    os.close(writing)
    assert answer.returncode == 78


# Places that are no files.


def places(folder):
    """A pipe, links to a file and to nothing, a folder, and where that is allowed a device, each with its look."""
    folder.mkdir()
    (folder / "file").write_text("somebody's\n")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(folder / "file")
    (folder / "dangling").symlink_to(folder / "nothing")
    (folder / "folder").mkdir()
    names = ["pipe", "link", "dangling", "folder"]
    try:
        os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        names.append("null")
    except PermissionError:
        pass  # only root makes devices; the pipe stands for them
    return names


def look(folder):
    return {
        path.name: (path.lstat().st_mode, path.lstat().st_ino, path.lstat().st_rdev) for path in sorted(folder.iterdir())}


def test_a_bundle_takes_the_place_of_a_file_only(house):
    agent = house.agent('[[bus]]\nname = "line"\nprotocol = "modbus-rtu"\nport = "/dev/kerb-none"\n', start=False)
    folder = house.folder / "places"
    names = places(folder)
    before = look(folder)
    for name in names:
        answer = agent.command("doctor", "--bundle", folder / name)
        assert answer.returncode == 74 and str(folder / name) in answer.stderr, (name, answer)
        assert "is left as it is" in answer.stderr or name == "folder" and "is a folder" in answer.stderr
    assert look(folder) == before and (folder / "file").read_text() == "somebody's\n"
    assert agent.command("doctor", "--bundle", folder / "file").returncode == 1
    assert (folder / "file").read_bytes()[:2] == b"\x1f\x8b"
    assert agent.command("doctor", "--bundle", folder / "new").returncode == 1
    assert (folder / "new").stat().st_mode & 0o777 == 0o600


def test_what_else_is_no_file_stays(house):
    agent = house.agent("", [Consumer("city")], start=False)
    # A key that is a pipe is not waited for, and not replaced.
    agent.state.mkdir()
    os.mkfifo(agent.state / "box.key", 0o600)
    assert agent.command("key", "rotate", "--yes").returncode != 0
    assert (agent.state / "box.key").is_fifo()
    # A copy goes where nothing is.
    folder = house.folder / "places"
    for name in places(folder):
        assert agent.command("buffer", "backup", folder / name).returncode != 0
    assert (folder / "pipe").is_fifo() and (folder / "link").is_symlink() and not list((folder / "folder").iterdir())
    # A link in the configuration's folder stays one; what it points at is changed.
    real = house.folder / "elsewhere.toml"
    text = agent.configuration.read_text()
    agent.configuration.rename(real)
    agent.configuration.symlink_to(real)
    token = agent.command("consumer", "rotate", "city")
    assert token.returncode == 0, token.stderr
    assert agent.configuration.is_symlink() and real.read_text() != text and token.stdout.strip() not in real.read_text()
    # Rules of a folder that somebody has masked.
    rules = house.folder / "rules"
    rules.mkdir()
    general = next(path.name for path in written_rules(house).iterdir() if path.is_file())
    (rules / general).symlink_to("/dev/null")
    answer = run("board", "udev", "--write", rules)
    assert answer.returncode == 74 and "is left as it is" in answer.stderr
    assert os.readlink(rules / general) == "/dev/null"


def written_rules(house):
    folder = house.folder / "all-rules"
    assert run("board", "udev", "--write", folder).returncode == 0
    return folder


def test_the_step_fits_the_cause(house):
    agent = house.agent(BUS.replace("{port}", str(free_port())))
    there = house.folder / "file"
    there.write_text("")
    for target, named, step in (
        (FULL, FULL, "free some space"),
        (house.folder / "none" / "x.pcapng", house.folder / "none", "is not there"),
        (there / "x.pcapng", there, "is no folder"),
        (house.folder, house.folder, "name a file"),
    ):
        answer = agent.command("monitor", "line", "--seconds", "0", "--write", target)
        assert answer.returncode == 74, answer
        assert str(named) in answer.stderr and step in answer.stderr, answer.stderr
        assert "run this as" not in answer.stderr
