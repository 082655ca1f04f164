"""The pages of docs/platforms: their code as files, and a box to run it against."""

import contextlib
import glob
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import time

from client import Client, Ledger
from running import PATIENCE, REPOSITORY, Consumer, free_port, poll

PLATFORMS = REPOSITORY / "docs" / "platforms"
_BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages():
    return sorted(path.stem for path in PLATFORMS.glob("*.md") if "." not in path.stem and path.stem != "README")


def blocks(path):
    """(language, file name, code) of each block of a page."""
    return [match.groups() for match in _BLOCK.finditer(path.read_text())]


def unpack(page, folder, replace=None):
    """Writes the page's files into the folder, as a reader would who copies them and fills in what is theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    for _, name, code in blocks(PLATFORMS / f"{page}.md"):
        for old, new in (replace or {}).items():
            code = code.replace(old, new)
        (folder / name).write_text(code)
    return folder


def needs(*commands):
    """The paths of what Debian installs outside of everybody's PATH, too. Nothing is skipped: what is missing is said."""
    found = []
    for command in commands:
        path = shutil.which(command, path=":".join([*glob.glob("/usr/lib/postgresql/*/bin"), "/usr/sbin", "/usr/bin", "/bin"]))
        assert path, f"{command} is not installed: run `scripts/setup test`"
        found.append(path)
    return found


class Box:
    """An agent on a site whose values move, 32 a second, and whose cover opens again and again."""

    DEVICES = [("manhole-03", "manhole-cover"), ("hydrant-02", "hydrant"), ("smoke-1", "smoke-detector"),
               ("light-1", "streetlight"), ("lift-1", "elevator")]

    def __init__(self, house, more=""):
        port = free_port()
        address = f'protocol = "modbus-tcp"\n%s = "127.0.0.1:{port}"\n'
        site = 'seed = 7\n[[line]]\nname = "net"\n' + address % "listen"
        body = '[[bus]]\nname = "net"\n' + address % "host"
        for number, (name, kind) in enumerate(self.DEVICES, 1):
            device = f'[[device]]\nname = "{name}"\naddress = {number}\nprofile = "{kind}/generic"\n'
            site += device + 'line = "net"\n'
            body += device + 'bus = "net"\n'
        profile = device = ""
        for number in range(16):
            profile += f'[[point]]\nname = "level-{number}"\nread = "holding {number}"\ntype = "u16"\nevery = "500ms"\n'
            device += f'[[device.signal]]\npoint = "level-{number}"\nshape = "sine"\nlow = 0\nhigh = 60000\nperiod = "{7 + number}s"\n'
        house.profile("tank/busy", profile)
        tank = '[[device]]\nname = "tank-1"\naddress = 20\nprofile = "tank/busy"\n'
        site += tank + 'line = "net"\n' + device
        body += tank + 'bus = "net"\n'
        site += '[[event]]\nat = "1s"\nevery = "8s"\nfor = "4s"\ndevice = "manhole-03"\npoint = "tilt"\nvalue = 34\n'
        self.devices = len(self.DEVICES) + 1
        self.consumer, self.control = Consumer("platform"), Consumer("control")
        house.site(site)
        self.agent = house.agent(body + more, [self.consumer, self.control])
        self.url = f"http://127.0.0.1:{self.agent.port}"
        self._reference = Client(self.agent.port, self.control.token)
        self._known = Ledger()

    def token_file(self, path, form="{}\n"):
        path.touch(mode=0o600)
        path.write_text(form.format(self.consumer.token))
        return path

    def stored(self):
        """How many records are stored by now."""
        self._pull()
        return sum(len(self._known.delivered(lane)) for lane in ("alarms", "telemetry"))

    def _pull(self):
        for answer in self._reference.pull_all(limit=10_000):
            self._known.add(answer)

    def check(self, batches, gaps=(), atleast=100):
        """`batches` is what a platform has stored, each once: no hole, nothing that the box has not served to others, too."""
        ids = [batch["id"] for batch in batches]
        assert len(ids) == len(set(ids)), "a batch is stored twice"
        ledger = Ledger()
        ledger.add({"batches": batches, "gaps": list(gaps)})
        ends = ledger.check_continuity()
        self._pull()
        for lane in ends:
            ours = self._known.delivered(lane)
            for sequence, record in ledger.delivered(lane).items():
                assert ours[sequence] == record, f"{lane} {sequence}: {record}, but the box served {ours[sequence]}"
        assert ends["alarms"] >= 1 and ends["telemetry"] >= atleast, ends
        return ends


def rows(path, statement):
    """Of a database that a program makes and writes, and may be killed over; none while it has not made the table yet. Not
    read-only: who comes after a kill puts back what was half written, as the program itself would."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=PATIENCE)) as database:
            return database.execute(statement).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error) and "unable to open" not in str(error):
            raise
        return []


def batches(path):
    return [{"id": id, "lane": id.split(".")[2], "records": json.loads(records)}
            for id, records in rows(path, "SELECT id, records FROM batch")]


def is_enough(batches, telemetry):
    """So many batches with measured values, more than 250 records in them, and an alarm."""
    lanes = [batch["lane"] for batch in batches]
    found = sum(len(batch["records"]) for batch in batches if batch["lane"] == "telemetry")
    return lanes.count("telemetry") > telemetry and "alarms" in lanes and found > 250


def pass_time(seconds):
    """Lets the world go on: what is waited for is time itself, the moment of a kill."""
    until = time.monotonic() + seconds
    poll(lambda: time.monotonic() > until, "time passes", seconds + 10)


def output(arguments, **options):
    done = subprocess.run(arguments, stdin=options.pop("stdin", subprocess.DEVNULL), capture_output=True, text=True,
                          timeout=options.pop("timeout", PATIENCE), **options)
    assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout
