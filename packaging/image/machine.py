"""A box in QEMU (no KVM: an emulated Cortex-A53), its serial lines on a virtual site outside, and the platform that pulls it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Waited for at most: what must end in seconds on a box may take minutes on a busy machine.
BOOT_S, PULL_S = 300, 120
FIRMWARE = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd"


class Failed(Exception):
    pass


def say(text):
    print(f"image-test: {time.strftime('%H:%M:%S')} {text}", flush=True)


def poll(what, found, seconds, dies=None):
    """Waits until `found` answers something true; prints what it waits for, and for how long at most."""
    say(f"waiting for {what} (at most {seconds} s)")
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        answer = found()
        if answer:
            return answer
        if dies:
            dies()
        time.sleep(0.2)
    raise Failed(f"waited {seconds} s for {what}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Site:
    """`kerb simulate`: two lines as pseudo-terminals, paced like real ones; the same address and profile on both."""

    SPANS = {"manhole-1": (10, 15), "manhole-2": (40, 45)}

    def __init__(self, kerb, profiles, folder):
        text = "seed = 11\n"
        for number, (device, (low, high)) in enumerate(self.SPANS.items(), 1):
            text += (f'[[line]]\nname = "rs485-{number}"\nprotocol = "modbus-rtu"\nlink = "{folder}/line{number}"\nbaud = 9600\n'
                     f'strict = false\n[[device]]\nname = "{device}"\nline = "rs485-{number}"\naddress = 1\n'
                     f'profile = "manhole-cover/generic"\n[[device.signal]]\npoint = "tilt"\nshape = "sine"\nlow = {low}\n'
                     f'high = {high}\nperiod = "20s"\n')
        file = folder / "site.toml"
        file.write_text(text)
        self.log = open(folder / "site.log", "w")
        self.process = subprocess.Popen([kerb, "simulate", "--profiles", profiles, file], stdout=self.log, stderr=self.log)
        self.lines = [folder / f"line{number}" for number in (1, 2)]
        poll("the virtual site", lambda: all(line.is_symlink() for line in self.lines), 20)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


class Machine:
    """One run of QEMU over a disk that outlives it."""

    def __init__(self, disk, site, folder, log=None):
        self.port, self.ssh_port, self.folder = free_port(), free_port(), folder
        self.qmp_path = folder / "qmp.sock"
        self.qmp_path.unlink(missing_ok=True)
        drive = {"driver": "raw", "node-name": "disk", "file": {"driver": "file", "filename": str(disk)}}
        if log:
            log.touch()
            drive = {"driver": "blklogwrites", "node-name": "disk", "file": {"driver": "file", "filename": str(disk)},
                     "log": {"driver": "file", "filename": str(log)}}
        command = [
            "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a53", "-smp", "2", "-m", "512", "-accel", "tcg,thread=multi",
            "-bios", FIRMWARE, "-display", "none", "-serial", "stdio", "-no-reboot",
            "-smbios", "type=1,serial=IMAGE-TEST",
            "-blockdev", json.dumps(drive), "-device", "virtio-blk-pci,drive=disk,romfile=",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self.port}-:8443,"
                       f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22",
            "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
            "-device", "qemu-xhci,id=usb", "-device", "i6300esb", "-qmp", f"unix:{self.qmp_path},server=on,wait=off",
        ]
        for number, line in enumerate(site.lines, 1):
            command += ["-chardev", f"serial,id=line{number},path={line}",
                        "-device", f"usb-serial,id=adapter{number},chardev=line{number},bus=usb.0,port={number},"
                                   f"serial=A{number},always-plugged=on"]
        self.begun = time.time()
        self.console, self.kernel_at = [], None
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.queued, self.ended = [], threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        self.qmp = None

    def watch(self):
        """How long each of QEMU's threads could have run and got no processor, since its begin, four times a second."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        while not self.ended.wait(0.25):
            waits = {}
            for task in tasks.glob("[0-9]*"):
                try:
                    waits[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
                except OSError:
                    continue
            self.queued.append((time.time(), waits))

    def crowded(self, begin, end):
        """Seconds between two moments that the thread that was kept waiting most stood in this machine's queue for a processor."""
        within = [waits for at, waits in list(self.queued) if begin <= at <= end]
        if not within:
            return 0.0
        return max((last - within[0].get(task, 0) for task, last in within[-1].items()), default=0.0)

    def read(self):
        with open(self.folder / "console.log", "ab") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", line).decode(errors="replace").strip()
                self.console.append((time.time(), text))
                if self.kernel_at is None and ("Booting Linux Kernel" in text or "Exiting boot services" in text):
                    self.kernel_at = time.time()

    def said(self, pattern):
        return next((text for _, text in self.console if re.search(pattern, text)), None)

    def must_live(self):
        if self.process.poll() is not None:
            raise Failed(f"QEMU ended with {self.process.returncode}: {[text for _, text in self.console[-5:]]}")

    def command(self, name, **arguments):
        if self.qmp is None:
            self.qmp = socket.socket(socket.AF_UNIX)
            self.qmp.settimeout(20)
            self.qmp.connect(str(self.qmp_path))
            self.answers = self.qmp.makefile("rb")
            self.answers.readline()
            self.command("qmp_capabilities")
        self.qmp.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.answers.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Failed(f"QMP {name}: {answer['error']['desc']}")

    def shell(self, command, key, seconds=600):
        """In the box, as root, over SSH; None: nobody answers there yet."""
        options = ["-i", str(key), "-p", str(self.ssh_port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20"]
        done = subprocess.run(["ssh", *options, "root@127.0.0.1", command], capture_output=True, text=True, check=False,
                              timeout=seconds, stdin=subprocess.DEVNULL)
        if done.returncode == 255:
            return None
        if done.returncode != 0:
            raise Failed(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def send(self, file, to, key):
        """A file into the box."""
        with open(file, "rb") as source:
            subprocess.run(
                ["ssh", "-i", str(key), "-p", str(self.ssh_port), "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
                 "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "root@127.0.0.1", f"cat > {to}"],
                stdin=source, check=True, timeout=900)

    def cut(self):
        """The power is gone: nothing is told to anybody."""
        self.process.kill()
        self.process.wait()
        self.ended.set()
        self.reader.join(5)
        if self.qmp:
            self.qmp.close()

    def end(self):
        """The guest is stopped where it is, and what QEMU has written is on the disk."""
        self.command("stop")
        self.command("quit")
        self.process.wait(30)
        self.ended.set()
        self.reader.join(5)


class Platform:
    """Pulls over TLS, acknowledges what it holds, and keeps every record by its batch."""

    def __init__(self, token):
        self.token, self.cursor, self.batches, self.sequences, self.stores = token, None, {}, {}, set()
        self.certificate = None
        # The box's certificate signs itself: it is known by its fingerprint, which is compared below.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def pull(self, port, scheme="https"):
        """Records that are new, or None: the box does not answer."""
        query = "wait=1&limit=2000" + (f"&after={self.cursor}" if self.cursor else "")
        request = urllib.request.Request(
            f"{scheme}://127.0.0.1:{port}/v1/batches?{query}", headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=20, context=self.context if scheme == "https" else None) as answer:
                if answer.status == 204:
                    return []
                page = json.load(answer)
        except urllib.error.HTTPError as error:
            # It waits for its state: what it says of that is looked at where it is wanted.
            if error.code == 503:
                return None
            raise Failed(f"the box answers {error.code}: {error.read()[:300]}") from None
        except (OSError, ssl.SSLError):
            return None
        if page["gaps"]:
            raise Failed(f"the box lost something: {page['gaps']}")
        fresh = []
        self.stores.add(page["store"])
        for batch in page["batches"]:
            name = batch["id"]
            known = self.batches.get(name)
            if known is not None and known != batch["records"]:
                raise Failed(f"batch {name} came twice with different content")
            if known is None:
                self.batches[name] = batch["records"]
                fresh += batch["records"]
            _, _, lane, span = name.rsplit(".", 3)
            first, _, last = span.partition("-")
            self.sequences.setdefault(lane, set()).update(range(int(first), int(last or first) + 1))
        self.cursor = page["next"]
        return fresh

    def holes(self):
        return {lane: len(set(range(min(held), max(held) + 1)) - held) for lane, held in self.sequences.items()}

    def check(self):
        if any(self.holes().values()):
            raise Failed(f"sequences are missing: {self.holes()}")
        if len(self.stores) > 1:
            raise Failed(f"the box made a new store: {self.stores}")

    def copy(self):
        other = Platform(self.token)
        other.cursor, other.stores = self.cursor, set(self.stores)
        other.batches, other.sequences = dict(self.batches), {lane: set(held) for lane, held in self.sequences.items()}
        return other


def sparse_copy(source, target):
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True)


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)


def partition(disk, label):
    """(offset, size) in bytes."""
    table = json.loads(subprocess.run(["sfdisk", "--json", str(disk)], check=True, capture_output=True, text=True).stdout)
    for one in table["partitiontable"]["partitions"]:
        if one.get("name") == label:
            return one["start"] * 512, one["size"] * 512
    raise Failed(f"{disk} has no partition {label}")


def put_on_esp(disk, name, text, folder):
    offset, _ = partition(disk, "esp")
    file = Path(folder) / name
    file.write_text(text)
    subprocess.run(["mcopy", "-o", "-i", f"{disk}@@{offset}", str(file), f"::{name}"], check=True, env={**os.environ, "MTOOLS_SKIP_CHECK": "1"})


def from_esp(disk, name):
    offset, _ = partition(disk, "esp")
    done = subprocess.run(["mtype", "-i", f"{disk}@@{offset}", f"::{name}"], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def change_files(disk, label, commands):
    """In a file system of the disk that nobody has mounted."""
    offset, _ = partition(disk, label)
    done = subprocess.run(["debugfs", "-w", "-f", "-", f"{disk}?offset={offset}"], input="\n".join(commands) + "\n", capture_output=True,
                          text=True, check=True)
    said = [line for line in done.stderr.split("\n")[1:] if line.strip()]
    if said:
        raise Failed(f"debugfs: {said}")


@contextlib.contextmanager
def mounted(disk, label, folder):
    """A file system of a disk whose box is off."""
    offset, size = partition(disk, label)
    mount = Path(folder) / "mount"
    mount.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", f"loop,offset={offset},sizelimit={size}", str(disk), str(mount)], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def checksummed(version):
    """As the buffer notes its format: the number, and CRC-32C over it."""
    rest = 0xFFFFFFFF
    for byte in str(version).encode():
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return f"{version} {rest ^ 0xFFFFFFFF}"
