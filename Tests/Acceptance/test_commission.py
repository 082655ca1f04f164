"""Setting a box up: by a file without a keystroke, and by a person at a console of 80 columns and 24 lines."""

import base64
import hashlib
import json
import os
import pathlib
import ssl
import subprocess

import pexpect
import pytest

from running import KERB, PROFILES, Agent, Ready, free_port, poll, run

SITE = """
[[line]]
name = "line"
protocol = "modbus-rtu"
link = "{link}"
baud = 19200
[[device]]
name = "lamp-3"
line = "line"
address = 3
profile = "streetlight/generic"
[[device]]
name = "lift-7"
line = "line"
address = 7
profile = "elevator/generic"
"""

FILE = """
[commission]
id = "box-17"
board = "none"
certificate = "self-signed"
scan = ["line"]
scan_to = 8

[gateway]
state = "{folder}/state"
runtime = "{folder}/run"

[pull]
listen = ["https://127.0.0.1:{port}"]

[[bus]]
name = "line"
protocol = "modbus-rtu"
port = "{folder}/line"
baud = 19200

[[consumer]]
name = "water-bureau"
token_sha256 = "{token}"
"""


class Box:
    """A box to be set up: an empty configuration folder, a boot partition, a line with two devices."""

    def __init__(self, house):
        self.house = house
        self.folder = house.folder
        self.etc = self.folder / "etc"
        self.boot = self.folder / "boot"
        for folder in (self.etc, self.boot, self.folder / "state"):
            folder.mkdir()
        self.configuration = self.etc / "kerb.toml"
        self.file = self.boot / "kerb-commission.toml"
        self.written = self.etc / "conf.d" / "commission.toml"
        self.result = self.boot / "kerb-commission.toml.result.txt"
        self.port = free_port()
        house.site(SITE.replace("{link}", str(self.folder / "line")))

    @property
    def files(self):
        return ["-c", self.configuration, "--profiles", PROFILES]

    def write(self, text=FILE, token="t"):
        self.file.write_text(
            text.replace("{folder}", str(self.folder)).replace("{port}", str(self.port))
            .replace("{token}", hashlib.sha256(token.encode()).hexdigest()))

    def commission(self, *arguments, status=0):
        answer = run("commission", "--from", self.file, *self.files, *arguments, seconds=60)
        assert answer.returncode == status, (answer.stdout, answer.stderr)
        return answer

    def start(self):
        ready = Ready(self.folder / "notify.sock")
        try:
            process = self.house.process(
                "agent", [KERB, "run", *self.files], environment={"NOTIFY_SOCKET": str(ready.path)})
            ready.wait(process, 20)
        finally:
            ready.close()
        return process

    def status(self):
        return json.loads(run("status", "--json", *self.files).stdout)


@pytest.fixture
def box(house):
    return Box(house)


def square(lines, folder):
    """What a phone reads off the screen: the half blocks as a picture."""
    rows = []
    for line in lines:
        if not line or line[0] not in "█▀":
            continue
        width = len(line) - len(line.lstrip("█▀▄ ")) if line.lstrip("█▀▄ ") else len(line)
        cells = line[:width].rstrip() if width < len(line) else line
        rows.append([character in "█▀" for character in cells])
        rows.append([character in "█▄" for character in cells])
    width = max(len(row) for row in rows)
    scale, border = 4, 2
    picture = []
    for row in [[False] * 0] * border + rows + [[False] * 0] * border:
        bits = [True] * border + list(row) + [True] * (width - len(row) + border) if row else [True] * (width + 2 * border)
        picture += [bytes(255 if bit else 0 for bit in bits for _ in range(scale))] * scale
    path = folder / "square.pgm"
    path.write_bytes(b"P5 %d %d 255\n" % (len(picture[0]), len(picture)) + b"".join(picture))
    answer = subprocess.run(["zbarimg", "--quiet", "--raw", path], capture_output=True, text=True)
    return answer.stdout.strip()


def test_a_file_sets_a_box_up_that_reads_and_is_pulled_from(box):
    box.write()
    screen = box.commission().stdout.splitlines()
    assert "line: 2 devices found, 2 added" in screen[0]
    assert all(len(line) <= 80 for line in screen) and len(screen) <= 24
    assert box.written.stat().st_mode & 0o777 == 0o640
    assert "The box was set up." in box.result.read_text()
    certificate = (box.etc / "tls" / "cert.pem").read_text()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest()
    assert fingerprint.hex()[:32] in "\n".join(screen)
    assert (box.etc / "tls" / "key.pem").stat().st_mode & 0o777 == 0o640

    box.start()
    poll(lambda: box.status()["devices"]["online"] == 2, "both devices are online")
    status = box.status()
    assert status["gateway"] == "box-17" and status["commission"]["good"]
    url = f"https://127.0.0.1:{box.port}/v1/batches"
    answer = subprocess.run(
        ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer t", "--cacert",
         box.etc / "tls" / "cert.pem", url],
        capture_output=True, text=True)
    assert answer.stdout in ("200", "204"), answer

    said = square(screen[1:], box.folder)
    assert said.startswith("kerb:box-17;"), "zbarimg reads it"
    parts = dict(part.split("=", 1) for part in said.split(";")[1:])
    assert parts["k"] in "\n".join(screen)
    assert base64.urlsafe_b64decode(parts["c"] + "=") == fingerprint


def test_the_same_file_again_changes_nothing(box):
    box.write()
    box.commission()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(box.etc.rglob("*")) if path.is_file()}
    assert "nothing to do" in box.commission().stdout
    again = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(box.etc.rglob("*")) if path.is_file()}
    assert before == again
    # Asked for in so many words it is done again, and comes to the same.
    box.commission("--again")
    assert {path: data for path, (data, _) in before.items()} == {
        path: path.read_bytes() for path in sorted(box.etc.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("lost", ["kerb.toml", "conf.d/commission.toml", "tls/cert.pem", "state", "everything"])
def test_after_a_power_cut_in_the_middle_it_is_finished(box, lost):
    """What a cut leaves: each file is whole or absent, in the order in which they are written."""
    box.write()
    box.commission()
    whole = box.written.read_text()
    order = ["tls/key.pem", "tls/cert.pem", "conf.d/commission.toml", "kerb.toml"]
    if lost == "everything":
        gone = order
    elif lost == "state":
        gone = []
    else:
        gone = order[order.index(lost):]
    for name in gone:
        (box.etc / name).unlink()
    (box.folder / "state" / "commission.json").unlink()
    box.commission()
    assert box.written.read_text() == whole
    assert run("check", *box.files).returncode == 0
    assert "nothing to do" in box.commission().stdout


def test_a_wrong_file_is_refused_with_its_places_and_the_box_stays_as_it_was(box):
    box.write()
    box.commission()
    whole = box.written.read_text()
    box.start()
    wrong = FILE.replace("baud = 19200", "baud = 19201").replace('board = "none"', 'board = "qemu-vert"')
    box.write(wrong)
    answer = box.commission(status=78)
    for wanted in (
        f'{box.file}:4:9: gateway.board: there is no board "qemu-vert"; did you mean "qemu-virt"?',
        f"{box.file}:20:8: bus.line.baud: 19201 is not supported", "is as it was; correct the file, then: kerb commission",
    ):
        assert wanted in answer.stderr, answer.stderr
    assert "was not set up" in box.result.read_text() and "19201" in box.result.read_text()
    assert box.written.read_text() == whole
    # The agent runs on, and says it to whoever asks.
    shown = run("status", *box.files, environment={"LANG": "zh_CN.UTF-8"}).stdout
    assert "开通被拒绝" in shown and "19201" in shown
    status = box.status()
    assert not status["commission"]["good"] and len(status["commission"]["problems"]) == 2
    # Put right, it is taken.
    box.write()
    box.commission()
    assert box.status()["commission"]["good"]


def test_a_box_that_could_not_be_set_up_says_so_without_an_agent(box):
    box.write("[commission]\nid = 5\n" + FILE.split("[gateway]")[1].join(["[gateway]", ""]))
    box.commission(status=78)
    assert not box.configuration.exists() and not box.written.exists()
    answer = run("status", "-c", box.configuration)
    assert answer.returncode == 69
    if os.geteuid() == 0:
        # Without a configuration the state is in its usual place.
        record = pathlib.Path("/var/lib/kerb/commission.json")
        assert "expected a string" in answer.stderr
        record.unlink()


def test_of_many_boxes_each_takes_its_own(box):
    macs = [path.read_text().strip() for path in pathlib.Path("/sys/class/net").glob("*/address")
            if (path.parent / "device").exists()]
    if not macs:
        pytest.skip("this machine has no network card that is hardware: nothing to be known by")
    entries = "".join(f'[[box]]\nmac = "02:00:00:00:00:{n:02x}"\nid = "other-{n}"\n' for n in range(100))
    own = f'[[box]]\nmac = "{macs[0].upper()}"\nid = "mine"\n[[box.bus]]\nname = "second"\nprotocol = "modbus-tcp"\n' \
        'host = "127.0.0.1:9"\n'
    box.write(FILE.replace('id = "box-17"\n', "") + entries + own)
    box.commission()
    text = box.written.read_text()
    assert 'id = "mine"' in text and 'name = "second"' in text and "other-" not in text


class Console:
    """A person at a serial console."""

    def __init__(self, box, language):
        self.child = pexpect.spawn(
            str(KERB), ["commission", "--lang", language, *map(str, box.files)], encoding="utf-8", dimensions=(24, 80),
            timeout=30, env={**os.environ, "SWIFT_BACKTRACE": "enable=no", "NO_COLOR": "1", "TERM": "vt100"})
        self.seen = ""

    def say(self, question, answer):
        self.child.expect_exact(question)
        self.seen += self.child.before + self.child.after
        self.child.expect_exact(": ")
        self.seen += self.child.before + self.child.after
        self.child.sendline(answer)

    def end(self):
        self.child.expect(pexpect.EOF)
        self.seen += self.child.before
        self.child.close()
        return self.child.exitstatus


def settle(box):
    """The rest of a box that a person is not asked about."""
    (box.etc / "conf.d").mkdir()
    (box.etc / "conf.d" / "00-places.toml").write_text(
        f'[gateway]\nstate = "{box.folder}/state"\nruntime = "{box.folder}/run"\n')


def test_a_person_is_led_from_nothing_to_a_box_that_runs(box):
    settle(box)
    console = Console(box, "en")
    console.say("Name of this box", "shaft 3")
    console.say("is not a name", "shaft-3")
    index = console.child.expect_exact(["Right?", "Which board is it"])
    if index == 0:
        console.child.expect_exact(": ")
        console.child.sendline("n")
        console.child.expect_exact("Which board is it")
    console.child.expect_exact(": ")
    console.child.sendline("")
    console.say("Another port", str(box.folder / "line"))
    console.say("Its name", "")
    console.say("What is spoken on it", "1")
    console.say("Its speed in baud", "19200")
    console.say("Parity", "")
    console.say("up to which address", "8")
    console.say("Take these into the configuration?", "")
    console.say("Another port", "")
    console.say("How is data handed over", "1")
    console.say("Which certificate", "1")
    console.say("Name of a platform that may pull", "water-bureau")
    console.say("Name of a platform that may pull", "")
    console.say("Name of a platform that the box sends to", "city")
    console.say("Its address", "ftp://city")
    console.say("it begins with https://", f"http://127.0.0.1:{free_port()}/in")
    console.say("Its token", "a-secret-token")
    console.say("Name of a platform that the box sends to", "")
    console.say("Write it?", "")
    console.say("Write the tokens down", "")
    if console.child.expect_exact(["Start the agent with this now?", pexpect.EOF]) == 0:
        console.seen += console.child.before
        console.child.sendline("n")
        assert console.end() == 0
    else:
        console.seen += console.child.before
        console.child.close()
        assert console.child.exitstatus == 0
    text = console.seen.replace("\r", "")
    assert "2 devices added" in text
    token = next(line for line in text.split("\n") if len(line.strip()) == 43 and " " not in line.strip()).strip()
    last = text[text.rindex("Write the tokens down"):]
    assert [line for line in last.split("\n") if len(line) > 80] == [] and last.count("\n") <= 25
    assert token not in last, "the photographed screen holds no secret"
    assert square(last.split("\n")[1:], box.folder).startswith("kerb:shaft-3;k=")

    written = box.written.read_text()
    assert 'id = "shaft-3"' in written and 'profile = "elevator/generic"' in written
    secret = box.etc / "secrets" / "city"
    assert secret.read_text() == "a-secret-token\n" and secret.stat().st_mode & 0o777 == 0o640
    assert f'token_file = "{secret}"' in written and "a-secret-token" not in written + text
    consumer = (box.etc / "conf.d" / "consumer-water-bureau.toml").read_text()
    assert hashlib.sha256(token.encode()).hexdigest() in consumer and token not in written
    # Of the network only its own address here: the test has no business on the others.
    box.written.write_text(written.replace("0.0.0.0:8443", f"127.0.0.1:{box.port}").replace(
        "127.0.0.1:8480", f"127.0.0.1:{free_port()}"))
    box.start()
    poll(lambda: box.status()["devices"]["online"] == 2, "both devices are online")
    assert box.status()["commission"]["good"]


def test_a_person_goes_through_it_again_in_chinese_and_changes_only_the_name(box):
    settle(box)
    box.write(FILE.split("[gateway]")[0].replace('scan = ["line"]', "") + "[[bus]]" + FILE.split("[[bus]]")[1])
    box.commission()
    before = box.written.read_text()
    console = Console(box, "zh")
    console.say("保留现有设置", "")
    console.say("本机名称", "shaft-4")
    index = console.child.expect_exact(["对吗", "是哪种主板"])
    if index == 0:
        console.child.sendline("n")
        console.child.expect_exact("是哪种主板")
    console.child.expect_exact(": ")
    console.child.sendline("")
    console.say("其他端口", "")
    console.say("数据交付方式", "1")
    console.say("保留现有证书", "")
    console.say("可拉取数据的平台名称", "")
    console.say("本机主动推送的平台名称", "")
    console.say("写入？", "")
    if console.child.expect_exact(["现在启动代理？", pexpect.EOF]) == 0:
        console.child.sendline("n")
        assert console.end() == 0
    after = box.written.read_text()
    assert after.split("\n")[1:] == before.replace("box-17", "shaft-4").split("\n")[1:]
    assert (box.etc / "conf.d" / "commission.toml.old").read_text() == before


def test_a_person_who_goes_away_has_changed_nothing(box):
    settle(box)
    console = Console(box, "en")
    console.say("Name of this box", "shaft-3")
    console.child.sendeof()
    assert console.end() == 64
    assert not box.written.exists() and not box.configuration.exists()
    answer = run("commission", *box.files)
    assert answer.returncode == 64 and "--from" in answer.stderr
