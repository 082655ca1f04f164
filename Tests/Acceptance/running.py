"""Processes of the release binary: started in folders of their own, watched, and stopped whatever happens."""

import ctypes
import hashlib
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
RELEASE = REPOSITORY / ".build" / "release"
KERB = pathlib.Path(os.environ.get("KERB_BINARY") or RELEASE / "kerb")
PROFILES = REPOSITORY / "profiles"

# What has to happen is waited for so long: a machine that is shared is slow, and now and then stands still for seconds.
# How fast something is, is not shown by a short wait: it is compared with something else, in the same run.
PATIENCE = 90.0

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def poll(condition, what, seconds=PATIENCE, every=0.02):
    """The first true answer of `condition`, asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not so: {what() if callable(what) else what}")
        time.sleep(every)


def attempt(tries, what, spoils=AssertionError):
    """The answer of `what`, which may fail all but once in so many tries: for what a machine that stands still spoils. What
    is wrong is wrong each time."""
    for number in range(1, tries + 1):
        try:
            return what()
        except spoils as failure:
            if number == tries:
                raise
            print(f"attempt {number} of {tries}: {str(failure)[:1000]}")


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """One process with its output in files. It ends with the test, however that ends."""

    def __init__(self, folder, name, arguments, environment=None, takes_input=False):
        self.name = name
        self.output_path = folder / f"{name}.out"
        self.log_path = folder / f"{name}.log"
        with open(self.output_path, "ab") as output, open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.PIPE if takes_input else subprocess.DEVNULL,
                stdout=output, stderr=log, cwd=folder,
                env={**os.environ, "SWIFT_BACKTRACE": "enable=no", **(environment or {})},
                preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def output(self):
        return self.output_path.read_text(errors="replace")

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def is_running(self):
        return self.popen.poll() is None

    def send(self, number):
        self.popen.send_signal(number)

    def wait(self, seconds=PATIENCE):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds} s; its log ends:\n{self.log[-3000:]}") from None

    def stop(self, seconds=PATIENCE):
        """SIGTERM, and its exit status."""
        if self.is_running:
            self.send(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        if self.is_running:
            self.send(signal.SIGKILL)
        return self.popen.wait()

    def write_line(self, text):
        self.popen.stdin.write((text + "\n").encode())
        self.popen.stdin.flush()


class Consumer:
    """A platform as the configuration knows it; only the hash of its token goes there."""

    def __init__(self, name, **keys):
        self.name = name
        self.token = secrets.token_urlsafe(32)
        self.keys = keys

    @property
    def toml(self):
        lines = ["[[consumer]]", f'name = "{self.name}"']
        lines.append(f'token_sha256 = "{hashlib.sha256(self.token.encode()).hexdigest()}"')
        lines += [f"{key} = {json.dumps(value)}" for key, value in self.keys.items()]
        return "\n".join(lines) + "\n"


_given = set()


def free_port():
    """A free port below the range that the kernel gives to outgoing connections: it is still free after a restart. None is
    given twice: who got it may not listen yet."""
    while True:
        port = random.randint(20_000, 30_000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


class Ready:
    """systemd's side of the notify protocol: says when the agent says READY=1."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0.05)

    def wait(self, process, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in self.socket.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                if not process.is_running:
                    raise AssertionError(
                        f"{process.name} ended with {process.popen.returncode} before it was ready:\n"
                        f"{process.log[-3000:]}") from None
        raise AssertionError(f"{process.name} was not ready after {seconds} s; its log ends:\n{process.log[-3000:]}")

    def close(self):
        self.socket.close()
        self.path.unlink(missing_ok=True)


class Agent:
    """`kerb run` with a configuration, a state folder and a port of its own; started and stopped as often as a test likes."""

    def __init__(
        self, folder, body, consumers=(), name="agent", commit_every="1s", telemetry="4MiB", alarms="1MiB", memory="8MiB",
        listen=(), pull=""
    ):
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.state = self.folder / "state"
        self.runtime = self.folder / "run"
        self.port = free_port()
        self.consumers = {consumer.name: consumer for consumer in consumers}
        self.configuration = self.folder / "kerb.toml"
        self.configuration.write_text(
            f'[gateway]\nid = "box"\nstate = "{self.state}"\nruntime = "{self.runtime}"\n'
            f'memory_limit = "{memory}"\nclock = "trusted"\n'
            f'[buffer]\ntelemetry = "{telemetry}"\nalarms = "{alarms}"\ncommit_every = "{commit_every}"\n'
            f'[pull]\nlisten = {json.dumps([f"127.0.0.1:{self.port}", *listen])}\n{pull}\n'
            + "".join(consumer.toml for consumer in consumers) + body)
        self.process = None
        self.processes = []

    @property
    def files(self):
        return ["--config", self.configuration, "--profiles", self.folder.parent / "profiles", "--profiles", PROFILES]

    def start(self, account=None, seconds=PATIENCE):
        ready = Ready(self.folder / "notify.sock")
        try:
            arguments = [KERB, "run", *self.files] + (["--account", account] if account else [])
            self.process = Process(
                self.folder, self.name, arguments, environment={"NOTIFY_SOCKET": str(ready.path)})
            self.processes.append(self.process)
            ready.wait(self.process, seconds)
        finally:
            ready.close()
        return self

    def stop(self):
        status = self.process.stop()
        assert status == 0, f"{self.name} ended with {status}; its log ends:\n{self.process.log[-3000:]}"

    def kill(self):
        self.process.kill()

    @property
    def log(self):
        path = self.folder / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self, *arguments, seconds=PATIENCE):
        """A tool beside the running agent."""
        return run(*arguments, *self.files, seconds=seconds)

    def ask(self, method, **parameters):
        """One question over the control socket."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(str(self.runtime / "control.sock"))
            line.sendall(json.dumps({"method": method, **parameters}).encode() + b"\n")
            answer = json.loads(line.makefile("rb").readline())
        assert "result" in answer, answer
        return answer["result"]

    def status(self):
        return self.ask("status")

    def bus(self, name):
        return next(bus for bus in self.status()["buses"] if bus["name"] == name)


class Site:
    """`kerb simulate`: virtual devices, with faults on command."""

    def __init__(self, folder, text, name="site"):
        self.path = folder / f"{name}.toml"
        self.path.write_text(text)
        self.lines = text.count("[[line]]")
        self.process = Process(
            folder, name, [KERB, "simulate", self.path, "--json", "--events", "--profiles", PROFILES], takes_input=True)
        poll(lambda: self.is_ready(), lambda: f"{name} serves its lines:\n{self.process.log[-3000:]}")

    def is_ready(self):
        assert self.process.is_running, f"the site ended:\n{self.process.log[-3000:]}"
        return sum(happening["event"] == "line" for happening in self.happenings()) == self.lines

    def happenings(self):
        lines = self.process.output.split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def address(self, line):
        return next(each["at"] for each in self.happenings() if each["event"] == "line" and each["line"] == line)

    def happen(self, event):
        """For example `device = "manhole-03", point = "tilt", value = 34`."""
        self.process.write_line(event)


def run(*arguments, seconds=PATIENCE, environment=None):
    """One command of the binary to its end."""
    return subprocess.run(
        [str(KERB), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds,
        env={**os.environ, "SWIFT_BACKTRACE": "enable=no", "NO_COLOR": "1", "LANG": "C.UTF-8", **(environment or {})})


class House:
    """Everything that one test starts, and the folder that it happens in."""

    def __init__(self):
        # Short: a unix socket's path has 107 bytes.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kerb-"))
        self.agents = []
        self.others = []
        self.endings = []

    def agent(self, body, consumers=(), start=True, account=None, **options):
        agent = Agent(self.folder, body, consumers, **options)
        self.agents.append(agent)
        return agent.start(account=account) if start else agent

    def site(self, text, name="site"):
        site = Site(self.folder, text, name)
        self.others.append(site.process)
        return site

    def profile(self, id, text):
        """A profile "KIND/NAME" of the test's own, for its sites and agents."""
        path = self.folder / "profiles" / f"{id}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'kind = "{path.parent.name}"\n{text}')

    def process(self, name, arguments, **options):
        process = Process(self.folder, name, arguments, **options)
        self.others.append(process)
        return process

    def at_the_end(self, ending):
        self.endings.append(ending)

    def logs(self):
        for path in sorted([*self.folder.glob("*.log"), *self.folder.glob("*/*.log")]):
            text = path.read_text(errors="replace")
            if text:
                yield path.name, text[-6000:]

    def close(self):
        for agent in self.agents:
            for process in agent.processes:
                process.kill()
        for process in self.others:
            process.kill()
        for ending in reversed(self.endings):
            ending()
        shutil.rmtree(self.folder, ignore_errors=True)
