"""What a box refuses, and what of it runs all the same: each trouble is said on the console and in `kerb status`, with what
to do, and keeps only its own part from work."""

import json
import os
import re
import subprocess

import pytest

from client import Client
from lamp_line import BUS, LINE
from running import Consumer, poll, run


class Box:
    """An agent with one line that is well, `good`, and whatever a test adds."""

    def __init__(self, house, more=""):
        self.house = house
        link = house.folder / "good"
        self.site = house.site(LINE.format(name="good", link=link), name="good-site")
        self.platform = Consumer("platform")
        self.agent = house.agent(BUS.format(name="good", link=link) + more, [self.platform], start=False)
        self.client = Client(self.agent.port, self.platform.token)

    def configure(self, text, name="more"):
        folder = self.agent.folder / "conf.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_text(text)

    def start(self):
        self.agent.start()
        return self

    def runs(self):
        """The rest: the good line is polled, the platform is served."""
        poll(lambda: self.agent.bus("good")["good"] > 3, "the good line is polled")
        poll(lambda: self.client.pull() is not None, "the platform gets what was read")

    def trouble(self, code):
        """Of `kerb status --json`, once it is there; the same words are on the screen, in Chinese, too, and in the log."""
        def told():
            return [each for each in self.agent.status()["troubles"] if each["code"] == code]

        poll(told, lambda: f"{code} in {self.agent.status()['troubles']}")
        poll(lambda: told()[0]["en"].split("(")[0] in self.agent.log, lambda: f"{told()} in {self.agent.log}")

        def is_shown():
            """A figure in it may change between a look and the next."""
            en, zh, found = self.screen("C.UTF-8"), self.screen("zh_CN.UTF-8"), told()
            return found if found and f"! {found[0]['en']}" in en and f"! {found[0]['zh']}" in zh else None

        return (told() if code == "port-lost" else poll(is_shown, lambda: (told(), self.screen("C.UTF-8"))))[0]

    def screen(self, language):
        return run("status", *self.agent.files, environment={"LANG": language}).stdout

    def gone(self, code):
        poll(lambda: not [each for each in self.agent.status()["troubles"] if each["code"] == code], f"{code} is over")
        poll(lambda: f": {code}" in self.agent.log, "the console says that it is over")

    def doctor(self):
        answer = self.agent.command("doctor", "--json")
        return {each["code"]: each for each in json.loads(answer.stdout)["findings"] if each["level"] == "wrong"}


def partition(house, folder, size, options=""):
    """A file system of its own, as the state partition is."""
    folder.mkdir(exist_ok=True)
    answer = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "none", folder], capture_output=True, text=True)
    if answer.returncode != 0:
        pytest.skip(f"NOT TESTED: a state partition needs root and mount(2): {answer.stderr.strip()}")
    house.at_the_end(lambda: subprocess.run(["umount", "-l", folder], check=True))


# Boards and ports


def test_an_unknown_board_is_said_and_everything_else_runs(house):
    box = Box(house)
    box.configure('[gateway]\nboard = "qemu-vert"\n')
    checked = box.agent.command("check")
    assert checked.returncode == 0 and 'did you mean "qemu-virt"?' in checked.stdout
    [warning] = json.loads(box.agent.command("check", "--json").stdout)["warnings"]
    assert warning["key"] == "gateway.board" and warning["line"] == 2
    box.start().runs()
    said = box.trouble("board-unknown")["en"]
    assert 'there is no board "qemu-vert"; did you mean "qemu-virt"?' in said and "more.toml:2:9" in said
    assert "board-unknown" in box.doctor()
    looked = box.agent.command("board", "check")
    assert 'there is no board "qemu-vert"' in looked.stderr


def test_two_buses_whose_names_lead_to_one_port_are_named_and_one_of_them_and_the_rest_run(house):
    """What the rules of two boards come to: two names, one device."""
    first, second = (house.folder / name for name in ("name-a", "name-b"))
    house.site(LINE.format(name="shared", link=house.folder / "shared"), name="shared-site")
    for name in (first, second):
        name.symlink_to(house.folder / "shared")
    box = Box(house, BUS.format(name="a", link=first) + BUS.format(name="b", link=second))
    assert box.agent.command("check").returncode == 0
    box.start().runs()
    said = box.trouble("port-shared")
    assert said["subject"] == "b" and str(first) in said["en"] and str(second) in said["en"]
    poll(lambda: sorted(box.agent.bus(name)["state"] for name in "ab") == ["lost", "running"], "one of them has it")
    loser = next(name for name in "ab" if box.agent.bus(name)["state"] == "lost")
    verdict = box.agent.bus(loser)["verdict"]["en"]
    assert "it is in use" in verdict and "kerb doctor" in verdict, verdict


@pytest.mark.parametrize("kind", ["file", "folder", "null"])
def test_what_is_at_a_port_and_is_no_port_is_named_as_such(house, kind):
    path = house.folder / "thing"
    if kind == "file":
        path.write_text("no port")
    elif kind == "folder":
        path.mkdir()
    else:
        path = "/dev/null"
    box = Box(house, BUS.format(name="odd", link=path)).start()
    box.runs()
    said = box.trouble("port-lost")
    assert said["subject"] == "odd" and f"{path}" in said["en"] and "no serial port: `kerb ports`" in said["en"]
    assert "这不是串口" in box.screen("zh_CN.UTF-8")
    assert "is no serial port" in box.doctor()["port-foreign"]["text"]


# The state


def test_a_full_state_partition_is_named_with_its_figures_alarms_are_stored_and_samples_are_accounted_for(house):
    box = Box(house)
    partition(house, box.agent.state, "8m")
    box.start()
    poll(lambda: box.agent.status()["buffer"]["prepared"], "the files have their size")
    box.agent.stop()
    # Nothing is left for the journal of a commit.
    junk = box.agent.state / "junk"
    subprocess.run(["dd", "if=/dev/zero", f"of={junk}", "bs=4k"], capture_output=True)
    for name in ("telemetry.db-wal", "alarm.db-wal"):
        (box.agent.state / name).unlink(missing_ok=True)
    subprocess.run(["dd", "if=/dev/zero", f"of={junk}2", "bs=512"], capture_output=True)
    box.agent.start()
    poll(lambda: box.agent.bus("good")["good"] > 3, "the good line is polled")
    said = box.trouble("state-full")["en"]
    assert str(box.agent.state) in said and "of 8.0 MiB free" in said and "du -shx" in said
    assert box.agent.status()["buffer"]["state"] == "full"
    assert "the state partition is full" in box.doctor()["buffer-full"]["text"]
    poll(lambda: box.client.get("/v1/status").status == 200, "the platform is answered")
    before = box.agent.status()["buffer"]
    assert before["produced"] == before["accepted"] + before["lost"] or before["lost"] == 0
    for each in (junk, junk.with_name("junk2")):
        each.unlink(missing_ok=True)
    box.gone("state-full")
    box.runs()


@pytest.mark.parametrize("kind", ["no folder", "a file", "full", "read-only", "open key"])
def test_an_agent_without_its_state_waits_says_so_to_everybody_and_begins_by_itself(house, kind):
    box = Box(house)
    state = box.agent.state
    words = {
        "no folder": "is its partition mounted (findmnt)?", "a file": "is no folder; move it away",
        "full": "its partition is full (", "read-only": "its file system is read-only", "open key": "chmod 600",
    }[kind]
    if kind == "no folder":
        box.configure(f'[gateway]\nstate = "{box.agent.folder}/mount/state"\n')
        box.agent.configuration.write_text(box.agent.configuration.read_text().replace(f'state = "{state}"\n', ""))
        state = box.agent.folder / "mount" / "state"
    elif kind == "a file":
        state.write_text("")
    elif kind in ("full", "read-only"):
        partition(house, state, "64k" if kind == "full" else "16m", ",ro" if kind == "read-only" else "")
    else:
        state.mkdir()
        (state / "box.key").write_bytes(os.urandom(32))
        (state / "box.key").chmod(0o644)
    # systemd is told that it is up: it is, and waits.
    box.start()
    said = box.trouble("state-unusable")
    assert words in said["en"] and "tried again every" in said["en"], said
    assert box.agent.log.count(words) == 1, "the console is not flooded"
    status = box.agent.status()
    assert status["buffer"]["state"] == "failing" and words in status["buffer"]["last_failure"]
    assert "state-unusable" in box.doctor(), "and the doctor says so, too"
    for path in ("/v1/batches", "/healthz"):
        answer = box.client.get(path)
        assert answer.status == 503 and answer.headers["retry-after"], (path, answer.body)
    assert words in box.client.get("/v1/batches").json["detail"]
    assert box.client.get("/v1/status").json["buffer"]["state"] == "failing"
    assert Client(box.agent.port, "wrong").get("/v1/batches").status == 401, "strangers learn nothing"
    # Put right, it begins by itself.
    if kind == "no folder":
        state.parent.mkdir()
    elif kind == "a file":
        state.unlink()
    elif kind == "full":
        subprocess.run(["mount", "-o", "remount,size=16m", state], check=True)
    elif kind == "read-only":
        subprocess.run(["mount", "-o", "remount,rw", state], check=True)
    else:
        (state / "box.key").chmod(0o600)
    poll(lambda: "the state is there now" in box.agent.log, "it has tried again")
    # In between its doors are exchanged for those of an agent that works.
    poll(lambda: "running buses=1" in box.agent.log, "it has begun")
    box.runs()
    assert [each for each in box.agent.status()["troubles"] if each["code"] == "state-unusable"] == []
    box.agent.stop()


def test_an_agent_that_waits_for_its_state_ends_when_it_is_asked_to(house):
    box = Box(house)
    box.agent.state.write_text("")
    box.start().trouble("state-unusable")
    refused = box.agent.command("reload")
    assert refused.returncode == 75 and "waits for its state" in refused.stderr
    box.agent.stop()


def test_a_folder_in_the_place_of_a_file_of_the_state_is_named_as_what_it_is(house):
    box = Box(house)
    strange = box.agent.state / "alarm.db"
    strange.mkdir(parents=True)
    said = box.start().trouble("state-unusable")
    words = f"{strange} is a folder, and a file belongs there; move it away"
    assert words in said["en"] and ".;" not in said["en"] and "是目录" in said["zh"]
    [found] = [each for each in re.split(r"\n(?=\S)", box.agent.command("doctor").stdout) if "is a folder" in each]
    assert found.startswith("WRONG") and found.count(str(box.agent.state)) == 1, "the path is said once"
    strange.rmdir()
    poll(lambda: "running buses=1" in box.agent.log, "it has begun")


def test_tools_on_a_full_or_read_only_disk_say_what_it_is_and_not_whose_the_folder_is(house):
    box = Box(house)
    partition(house, box.agent.state, "8m")
    box.start().runs()
    copy = house.folder / "copy"
    assert box.agent.command("buffer", "backup", copy).returncode == 0
    junk = box.agent.state / "junk"
    subprocess.run(["dd", "if=/dev/zero", f"of={junk}", "bs=4k"], capture_output=True)
    told = box.agent.command("buffer", "backup", box.agent.state / "monday")
    assert told.returncode == 74 and "partition is full (" in told.stderr and "du -shx" in told.stderr, told.stderr
    box.agent.stop()

    def refused(*arguments):
        told = box.agent.command(*arguments)
        assert told.returncode == 74, (told.returncode, told.stderr)
        assert "belong" not in told.stderr and "memory" not in told.stderr, told.stderr
        return told.stderr

    for arguments in (("buffer", "backup", box.agent.state / "monday"), ("key", "rotate", "--yes"),
                      ("buffer", "restore", copy)):
        said = refused(*arguments)
        assert "partition is full (" in said and "du -shx" in said, said
    junk.unlink()
    subprocess.run(["mount", "-o", "remount,ro", box.agent.state], check=True)
    said = refused("buffer", "restore", copy)
    assert f"{copy} was not put back: " in said and "read-only" in said and "remount,rw" in said
    assert "read-only" in refused("key", "rotate", "--yes")


def test_the_last_line_agrees_with_what_could_not_be_saved(house):
    box = Box(house)
    partition(house, box.agent.state, "16m")
    box.start().runs()
    box.agent.stop()
    subprocess.run(["mount", "-o", "remount,ro", box.agent.state], check=True)
    box.agent.start()
    poll(lambda: box.agent.status()["buffer"]["pending"] > 5, "samples wait")
    box.agent.stop()
    [unsaved] = re.findall(r"could not be saved before the stop and are lost .*samples=(\d+)", box.agent.log)
    told = re.findall(r" stopped .*", box.agent.log)[-1]
    assert f"unsaved={unsaved}" in told and "lost_on_bus=0" in told and " lost=" not in told, told


def test_a_second_agent_on_one_state_ends_and_names_the_first(house):
    box = Box(house).start()
    text = box.agent.configuration.read_text()
    other = house.folder / "other.toml"
    other.write_text(text.replace(str(box.agent.runtime), f"{house.folder}/run2"))
    answer = run("run", "-c", other, *box.agent.files[2:])
    assert answer.returncode == 69 and f"process {box.agent.process.pid}" in answer.stderr
    box.runs()


# Nobody answers: the box is asked why


def test_status_of_a_box_whose_agent_does_not_run_says_why(house):
    box = Box(house)
    box.configure('[pull]\nlisten = ["nonsense"]\n')
    answer = box.agent.command("status")
    assert answer.returncode == 69
    assert '"nonsense" is not an address' in answer.stderr or "listen" in answer.stderr
    assert "kerb check" in answer.stderr and "no agent answers at" in answer.stderr
    chinese = run("status", *box.agent.files, environment={"LANG": "zh_CN.UTF-8"})
    assert "处错误" in chinese.stderr


def test_what_the_system_around_the_agent_has_to_say_is_said_with_the_rest(house):
    """An image's scripts leave it where they have done without a person."""
    box = Box(house)
    box.agent.state.mkdir(exist_ok=True)
    notice = box.agent.state / "notice"
    notice.write_text("The buffer of a newer version was put aside.\n新版本的缓冲已移开。\n")
    box.start().runs()
    assert box.trouble("notice") == {
        "code": "notice", "subject": str(notice), "en": "The buffer of a newer version was put aside.", "zh": "新版本的缓冲已移开。"}
