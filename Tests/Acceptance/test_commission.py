"""Setting a box up: by a file without a keystroke, and by a person at a console of 80 columns and 24 lines."""

import base64
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import ssl
import subprocess
import termios

import pexpect
import pytest

from running import KERB, PATIENCE, PROFILES, Agent, Ready, attempt, free_port, poll, run

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
        answer = run("commission", "--from", self.file, *self.files, *arguments)
        assert answer.returncode == status, (answer.stdout, answer.stderr)
        return answer

    def scanned(self):
        """Set up with both devices: one that its machine keeps from answering in time is not found, and is looked for again."""
        def found():
            answer = self.commission(*(["--again"] if self.written.exists() else []))
            assert "line: 2 devices found, 2 added" in answer.stdout, answer.stdout
            return answer

        return attempt(5, found)

    def start(self):
        ready = Ready(self.folder / "notify.sock")
        try:
            process = self.house.process(
                "agent", [KERB, "run", *self.files], environment={"NOTIFY_SOCKET": str(ready.path)})
            ready.wait(process, PATIENCE)
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
    screen = box.scanned().stdout.splitlines()
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
    box.scanned()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(box.etc.rglob("*")) if path.is_file()}
    assert "nothing to do" in box.commission().stdout
    again = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(box.etc.rglob("*")) if path.is_file()}
    assert before == again
    # Asked for in so many words it is done again, and comes to the same.
    box.scanned()
    assert {path: data for path, (data, _) in before.items()} == {
        path: path.read_bytes() for path in sorted(box.etc.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("lost", ["kerb.toml", "conf.d/commission.toml", "tls/cert.pem", "state", "everything"])
def test_after_a_power_cut_in_the_middle_it_is_finished(box, lost):
    """What a cut leaves: each file is whole or absent, in the order in which they are written."""
    box.write()
    box.scanned()
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
    if box.written.read_text() != whole:
        box.scanned()
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
        f'{box.file}:4:9: commission.board: there is no board "qemu-vert"; did you mean "qemu-virt"?',
        f"{box.file}:20:8: bus.line.baud: 19201 is not supported", "is as it was; put that right, then: kerb commission",
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
            timeout=PATIENCE, env={**os.environ, "SWIFT_BACKTRACE": "enable=no", "NO_COLOR": "1", "TERM": "vt100"})
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
        return self.close()

    def close(self):
        """Its exit status. It is waited for in front: pexpect's close() kills what has not quite ended yet."""
        status = self.child.wait()
        self.child.close()
        return status


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
        assert console.close() == 0
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


# What a stranger stumbles over


def kinds_of_wrong_files():
    token = hashlib.sha256(b"t").hexdigest()
    head = '[commission]\nid = "b"\nboard = "none"\n'
    return {
        "empty": ("", "commission: is missing"),
        "zeros": ("\0" * 512, "not valid TOML"),
        "cut": (head + '[[bus]]\nname = "rs', "not valid TOML"),
        "future": (head.replace("[commission]\n", '[commission]\nkerb = "9.1"\nwish = 3\n') + "[future]\nx = 1\n",
                   "commission.kerb: is 9.1, and this box has kerb"),
        "another box": ('[commission]\nboard = "none"\n[[box]]\nmac = "02:00:00:00:00:01"\nid = "o"\n',
                        "none of them is this box ("),
        "a platform that is here": (head + f'[[consumer]]\nname = "water-bureau"\ntoken_sha256 = "{token}"\n',
                                    "kerb consumer remove water-bureau"),
        "a board that is not": (head.replace('"none"', '"qemu-vert"'), 'did you mean "qemu-virt"?'),
        "one port twice": (head + "".join(
            f'[[bus]]\nname = "{name}"\nprotocol = "modbus-rtu"\nport = "/dev/kerb/x"\n' for name in "ab"),
            "is the port of another bus already"),
        "a board under commission": (head.replace('"none"', '"pi"'), "commission.board: "),
        "another encoding": (b'[commission]\nid = "b\xfc"\n', "is not UTF-8 text at line 2, column 8 (byte 0xFC)"),
        "nesting": ("[" + "a." * 100000 + "a]\n", "look for brackets"),
        "a folder": (None, "is not a file"),
    }


def test_each_kind_of_wrong_file_is_refused_everywhere_and_the_agent_runs_on(box):
    box.write(FILE.replace("[[consumer]]", "#").replace("name = \"water", "#").replace("token_sha", "#"))
    box.scanned()
    assert run("consumer", "add", "water-bureau", *box.files).returncode == 0
    box.start()
    poll(lambda: box.status()["devices"]["online"] == 2, "both devices are online")
    whole = box.written.read_text()
    for kind, (text, said) in kinds_of_wrong_files().items():
        box.file.unlink()
        if text is None:
            box.file.mkdir()
        else:
            box.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        answer = run("commission", "--from", box.file, *box.files)
        assert answer.returncode == (74 if text is None else 78), (kind, answer)
        assert said in answer.stderr and "put that right, then: kerb commission --from" in answer.stderr, (kind, answer.stderr)
        assert said in box.result.read_text(), kind
        status = box.status()
        assert not status["commission"]["good"] and any(said in each for each in status["commission"]["problems"]), kind
        shown = run("status", *box.files).stdout
        assert said in shown and "kerb commission --from" in shown, kind
        assert box.written.read_text() == whole and status["devices"]["online"] == 2
    assert run("check", *box.files).returncode == 0


def test_platforms_of_a_file_are_listed_rotated_and_removed_like_others(box):
    box.write()
    box.commission()
    [listed] = json.loads(run("consumer", "list", "--json", *box.files).stdout)
    assert listed["name"] == "water-bureau" and listed["file"] == str(box.written)
    rotated = run("consumer", "rotate", "water-bureau", *box.files)
    assert rotated.returncode == 0, rotated.stderr
    token = hashlib.sha256(rotated.stdout.strip().encode()).hexdigest()
    assert token in box.written.read_text() and token in rotated.stderr, "the hash to be put into the file is said"
    # The same file again leaves the new token; a changed one brings back what it says, and tells so.
    assert "nothing to do" in box.commission().stdout
    assert token in box.written.read_text()
    box.write(FILE + "\n# another season\n")
    screen = box.commission().stdout
    assert "! water-bureau: another token" in screen and all(len(line) <= 80 for line in screen.splitlines())
    assert "the file's" in screen, "a note is folded, not cut"
    assert "water-bureau: another token than before, the file's" in box.result.read_text()
    assert token not in box.written.read_text()

    before = box.written.read_text()
    removed = run("consumer", "remove", "water-bureau", *box.files)
    assert removed.returncode == 0 and "It comes back when" in removed.stderr
    assert json.loads(run("consumer", "list", "--json", *box.files).stdout) == []
    left = box.written.read_text()
    gone = [line for line in before.split("\n") if line not in left.split("\n")]
    assert len(gone) == 3 and gone[0] == "[[consumer]]" and "water-bureau" not in left.replace(before.split("\n")[0], "")
    assert run("check", *box.files).returncode == 0


def test_a_platform_in_the_middle_of_a_file_of_ones_own_is_removed_by_its_lines_alone(box):
    box.write()
    box.commission()
    own = box.etc / "conf.d" / "platforms.toml"
    tables = [f'[[consumer]] # {name}\nname = "{name}"\ntoken_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n'
              for name in ("one", "two", "three")]
    own.write_text("# ours\n" + "\n".join(tables))
    assert run("consumer", "remove", "two", *box.files).returncode == 0
    assert own.read_text() == "# ours\n" + "\n".join([tables[0], tables[2]])
    for name in ("one", "three"):
        assert run("consumer", "remove", name, *box.files).returncode == 0
    assert not own.exists(), "nothing is left but words"


def test_one_file_sets_a_hundred_boxes_up_within_a_minute(box):
    """Each box in a folder of its own, with the serial number of its device tree."""
    entries = "".join(
        f'[[box]]\nserial = "10000000{n:08x}"\nid = "shaft-{n:03}"\n[[box.device]]\nname = "lamp-{n}"\nbus = "line"\n'
        f'address = {n % 200 + 1}\nprofile = "streetlight/generic"\n' for n in range(100))
    # Of processor time: how long the clock on the wall takes is up to who else runs on this machine.
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    seen = set()
    for n in range(100):
        root = box.folder / f"box-{n}"
        tree = root / "sys/firmware/devicetree/base"
        tree.mkdir(parents=True)
        (tree / "compatible").write_text("linux,dummy-virt\0")
        (tree / "serial-number").write_text(f"10000000{n:08x}\0")
        (root / "boot").mkdir()
        file = root / "boot" / "kerb-commission.toml"
        file.write_text(
            FILE.replace('id = "box-17"\n', "").replace('scan = ["line"]\nscan_to = 8\n', "")
            .replace("{folder}", str(root)).replace("{port}", str(box.port)).replace("{token}", "a" * 64) + entries)
        answer = run(
            "commission", "--from", file, "--root", root, "-c", root / "etc/kerb.toml", "--profiles", PROFILES)
        assert answer.returncode == 0, answer.stderr
        text = (root / "etc/conf.d/commission.toml").read_text()
        assert f'id = "shaft-{n:03}"' in text and text.count("lamp-") == 1
        seen.add((root / "etc/tls/cert.pem").read_text())
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = ended.ru_utime + ended.ru_stime - started.ru_utime - started.ru_stime
    print(f"a hundred boxes in {took:.1f} s")
    assert len(seen) == 100, "each has a certificate of its own"
    assert took < 60


# Power cuts: the process dies before its Nth change of the disk

CUT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static long left = -1;
__attribute__((constructor)) static void begin(void) {
  const char *at = getenv("KERB_CUT_AT");
  if (at && strcmp(program_invocation_short_name, "kerb") == 0) left = atol(at);
}
static void step(void) { if (left > 0 && --left == 0) kill(getpid(), SIGKILL); }
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
int open(const char *path, int flags, ...) {
  va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest);
  if (flags & O_CREAT) step();
  return REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  va_list rest; va_start(rest, flags); mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0; va_end(rest);
  if (flags & O_CREAT) step();
  return REAL(open64)(path, flags, mode);
}
ssize_t write(int fd, const void *bytes, size_t count) {
  struct stat facts;
  if (fd > 2 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode)) {
    step();
    // Half of it: what a cut in the middle leaves.
    if (left == 1) count = count > 1 ? count / 2 : count;
  }
  return REAL(write)(fd, bytes, count);
}
int fsync(int fd) { step(); return REAL(fsync)(fd); }
int rename(const char *from, const char *to) { step(); return REAL(rename)(from, to); }
int link(const char *from, const char *to) { step(); return REAL(link)(from, to); }
int unlink(const char *path) { step(); return REAL(unlink)(path); }
int mkdir(const char *path, mode_t mode) { step(); return REAL(mkdir)(path, mode); }
int chmod(const char *path, mode_t mode) { step(); return REAL(chmod)(path, mode); }
int chown(const char *path, uid_t user, gid_t group) { step(); return REAL(chown)(path, user, group); }
"""


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """The library that cuts, for LD_PRELOAD."""
    folder = tmp_path_factory.mktemp("cut")
    compiler = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
    assert compiler, "a C compiler: g++ of scripts/setup brings one"
    (folder / "cut.c").write_text(CUT)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "cut.so", folder / "cut.c", "-ldl"], check=True)
    return folder / "cut.so"


def cuts(cut, box, *arguments):
    """Runs the command again and again, each time cut one step later, until it comes through."""
    for at in range(1, 400):
        answer = run(*arguments, *box.files, environment={"LD_PRELOAD": str(cut), "KERB_CUT_AT": str(at)})
        if answer.returncode != -9:
            assert answer.returncode == 0, (at, answer.stdout, answer.stderr)
            assert at > 3, "nothing was cut: the library does not see the program's calls"
            return
        yield at


def test_a_power_cut_at_any_write_leaves_a_box_that_starts_and_is_finished_by_the_next_start(box, cut):
    quick = FILE.replace('scan = ["line"]\nscan_to = 8\n', "")
    box.write(quick)
    box.commission()
    whole = box.written.read_text()
    # A bare box: either there is no configuration, and the service waits for one, or it is right.
    for at in range(1, 400):
        for folder in (box.etc, box.folder / "state"):
            shutil.rmtree(folder)
            folder.mkdir()
        answer = run(
            "commission", "--from", box.file, *box.files, environment={"LD_PRELOAD": str(cut), "KERB_CUT_AT": str(at)})
        if answer.returncode == 0:
            break
        assert answer.returncode == -9, answer
        if box.configuration.exists():
            checked = run("check", *box.files)
            assert checked.returncode == 0, (at, checked.stdout, checked.stderr)
        assert not box.written.exists() or box.written.read_text() == whole, at
        box.commission()
        assert box.written.read_text() == whole and run("check", *box.files).returncode == 0, at
    assert 10 < at < 399, at

    # A box that runs: it is the old one or the new one, whole.
    box.write(quick + "\n# 0\n")
    for at in cuts(cut, box, "commission", "--from", box.file):
        assert run("check", *box.files).returncode == 0, at
        box.write(quick.replace("baud = 19200", f"baud = {9600 if at % 2 else 38400}") + f"\n# {at}\n")


@pytest.mark.parametrize("change", ["add", "rotate", "remove"])
def test_a_power_cut_while_a_platform_is_changed_leaves_a_right_configuration(box, cut, change):
    box.write(FILE.replace('scan = ["line"]\nscan_to = 8\n', ""))
    box.commission()
    name = "gate-office" if change == "add" else "water-bureau"
    for at in cuts(cut, box, "consumer", change, name):
        checked = run("check", *box.files)
        assert checked.returncode == 0, (at, checked.stdout)
        if change == "add" and (box.etc / "conf.d" / "consumer-gate-office.toml").exists():
            # It came through but for its last words; the name is taken.
            assert run("consumer", "remove", name, *box.files).returncode == 0
        if change == "remove" and "water-bureau" not in box.written.read_text():
            return


# At the console


QUESTIONS = [
    ("Name of this box", "shaft-3"), ("Which board is it", ""), ("Another port", None), ("Its name", ""),
    ("What is spoken on it", "1"), ("Its speed in baud", "19200"), ("Parity", ""), ("up to which address", "0"),
    ("Another port", ""), ("How is data handed over", "1"), ("Which certificate", "1"),
    ("Name of a platform that may pull", ""), ("Name of a platform that the box sends to", "city"),
    ("Its address", "http://127.0.0.1:9/in"), ("Its token", "a-secret"),
    ("Name of a platform that the box sends to", ""), ("Write it?", None),
]


def talk_until(box, last):
    """A person who answers until the question with number `last` stands there."""
    console = Console(box, "en")
    for number, (question, answer) in enumerate(QUESTIONS):
        if question == "Which board is it":
            if console.child.expect_exact(["Right?", question]) == 0:
                console.child.expect_exact(": ")
                console.child.sendline("n")
                console.child.expect_exact(question)
        else:
            console.child.expect_exact(question)
        console.child.expect_exact(": ")
        if number == last:
            return console
        if question == "Another port" and answer is None:
            answer = str(box.folder / "line")
        console.child.sendline(answer)
    raise AssertionError("there is no such question")


@pytest.mark.parametrize("how", ["Ctrl-C", "terminal lost", "end of input"])
def test_who_goes_away_at_any_question_leaves_the_box_as_it_was(box, how):
    settle(box)
    before = {path for path in box.etc.rglob("*") if path.is_file()}
    for last in range(len(QUESTIONS)):
        console = talk_until(box, last)
        if how == "Ctrl-C":
            console.child.sendintr()
        elif how == "terminal lost":
            console.child.kill(signal.SIGHUP)
        else:
            console.child.sendeof()
        console.child.expect(pexpect.EOF)
        shown = console.child.before
        if how != "terminal lost":
            echo = termios.tcgetattr(console.child.child_fd)[3] & termios.ECHO
            assert echo, f"the terminal shows again what is typed: {QUESTIONS[last]}"
            assert "nothing was written" in shown, (QUESTIONS[last], shown)
        assert console.close() == 64, QUESTIONS[last]
        left = {path for path in box.etc.rglob("*") if path.is_file()} - before
        # A certificate is the box's own, and is used when it comes back.
        assert {path.name for path in left} <= {"cert.pem", "key.pem"}, (QUESTIONS[last], left)
        assert not (box.folder / "state" / "commission.json").exists()


def test_a_secret_that_is_typed_anew_leaves_the_old_one_until_the_end(box):
    settle(box)
    (box.etc / "secrets").mkdir()
    old = box.etc / "secrets" / "city"
    old.write_text("the old one\n")
    console = talk_until(box, len(QUESTIONS) - 1)
    assert old.read_text() == "the old one\n" and (box.etc / "secrets" / "city-2").read_text() == "a-secret\n"
    console.child.sendintr()
    assert console.end() == 64
    assert sorted(path.name for path in (box.etc / "secrets").iterdir()) == ["city"]


def test_wrong_answers_are_asked_again_with_what_is_allowed(box):
    settle(box)
    console = Console(box, "zh")
    for wrong in ("", "shaft 3", "a" * 80, "井-3", "-x"):
        console.child.expect_exact("本机名称")
        console.child.expect_exact(": ")
        if not wrong:
            console.child.sendcontrol("u")
            wrong = " / "
        console.child.sendline(wrong)
        console.child.expect_exact("  ")
    console.say("本机名称", "shaft-3")
    if console.child.expect_exact(["对吗", "是哪种主板"]) == 0:
        console.child.expect_exact(": ")
        console.child.sendline("也许")
        console.say("请输入 y 或 n", "n")
        console.child.expect_exact("是哪种主板")
    console.child.expect_exact(": ")
    console.child.sendline("99")
    console.say("请输入 1 到", "")
    console.say("其他端口", "dev/ttyUSB0")
    console.say("路径以 / 开头", str(box.folder / "no-adapter"))
    console.say("名称", "井")
    console.say("名称", "line-1")
    console.say("使用的协议", "0")
    console.say("请输入 1 到 3", "1")
    console.say("波特率", "12345")
    console.say("可选", "9600")
    console.say("校验", "mark")
    console.say("校验", "none")
    # A line without an adapter is kept, and said.
    console.say("到哪个地址", "300")
    console.say("请输入 0 到 247", "3")
    console.child.expect_exact("no-adapter")
    console.say("其他端口", "")
    # At the next question: between two of them Ctrl-C ends the program itself.
    console.child.expect_exact(": ")
    console.child.sendintr()
    assert console.end() == 64
