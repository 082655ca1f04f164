"""A disk's writes as QEMU's blklogwrites records them (the kernel's dm-log-writes format), and the disk after a cut at any flush:
everything before it is there, and of what came after, up to the next one, a random half."""

import json
import os
import struct
import subprocess
import time
from pathlib import Path

from machine import Failed, free_port, poll

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


class BlockLog:
    """entries: (sector, data's place in the log, bytes, flags); flushes: indices of entries that are flushes."""

    def __init__(self, path):
        self.path = path
        self.entries, self.flushes, self.bytes, self.writes = [], [], 0, 0
        with open(path, "rb") as file:
            magic, version, count, unit = struct.unpack("<QQQI", file.read(28))
            if magic != MAGIC or version != 1:
                raise Failed(f"{path} is no block log")
            self.unit, place = unit, unit
            for _ in range(count):
                file.seek(place)
                sector, sectors, flags, _ = struct.unpack("<QQQQ", file.read(32))
                place += unit
                size = 0 if flags & DISCARD else sectors * unit
                self.entries.append((sector * unit, place, size, flags))
                place += size
                self.bytes += size
                self.writes += size > 0
                if flags & FLUSH:
                    self.flushes.append(len(self.entries) - 1)

    def replay(self, disk, point, random):
        """Onto the disk as it was at the log's begin; returns how many of the writes behind the flush survived."""
        flush = self.flushes[point]
        after = self.flushes[point + 1] if point + 1 < len(self.flushes) else len(self.entries)
        survived = 0
        with open(self.path, "rb") as log, open(disk, "r+b") as out:
            for index, (at, place, size, flags) in enumerate(self.entries[:after]):
                behind = index > flush
                if size == 0 or behind and not flags & FUA and random.random() < 0.5:
                    continue
                survived += behind
                log.seek(place)
                out.seek(at)
                out.write(log.read(size))
        return survived


def look_at_cut(disk, offset, size, folder, kerb, platform, profiles):
    """The box's own state out of a cut disk: its file system is repaired as at a boot, its store opened by an agent, and what a
    platform finds there is held against everything that it ever got."""
    mount = Path(folder) / "mount"
    mount.mkdir(exist_ok=True)
    state = Path(folder) / "state.img"
    with open(disk, "rb") as source, open(state, "wb") as target:
        source.seek(offset)
        left = size
        while left:
            piece = source.read(min(left, 4 << 20))
            if piece.strip(b"\0"):
                target.seek(size - left)
                target.write(piece)
            left -= len(piece)
        target.truncate(size)
    repaired = subprocess.run(["e2fsck", "-p", str(state)], capture_output=True, text=True, check=False)
    if repaired.returncode > 1:
        raise Failed(f"the file system can't be repaired without a person: {repaired.stdout}{repaired.stderr}")
    subprocess.run(["mount", "-o", "loop", str(state), str(mount)], check=True)
    agent = None
    try:
        port = free_port()
        home = Path(folder) / "agent"
        (home / "conf.d").mkdir(parents=True, exist_ok=True)
        (home / "run").mkdir(exist_ok=True)
        hash_line = next(
            (line for line in (mount / "etc/conf.d/commission.toml").read_text().split("\n") if "token_sha256" in line), "")
        (home / "kerb.toml").write_text(
            f'[gateway]\nid = "flash-test"\nstate = "{mount}/kerb"\nruntime = "{home}/run"\nclock = "trusted"\n'
            f'[buffer]\ntelemetry = "16MiB"\n[pull]\nlisten = ["127.0.0.1:{port}"]\n'
            '[[bus]]\nname = "rs485-1"\nprotocol = "modbus-tcp"\nhost = "127.0.0.1:9"\n'
            '[[device]]\nname = "manhole-1"\nbus = "rs485-1"\naddress = 1\nprofile = "manhole-cover/generic"\n'
            f'[[consumer]]\nname = "platform"\n{hash_line.strip()}\n')
        with open(home / "log", "w") as log:
            agent = subprocess.Popen([kerb, "run", "-c", home / "kerb.toml", "--profiles", profiles], stdout=log, stderr=log)
        found = platform.copy()
        found.cursor = None
        found.sequences = {}

        def answered():
            if agent.poll() is not None:
                raise Failed(f"the agent does not start on it: {(home / 'log').read_text()}")
            return found.pull(port, "http") is not None

        poll("the agent on the cut store", answered, 30)
        end = time.monotonic() + 20
        while time.monotonic() < end and found.pull(port, "http"):
            pass
        stored = sum(len(held) for held in found.sequences.values())
        union = platform.copy()
        for lane, held in found.sequences.items():
            union.sequences.setdefault(lane, set()).update(held)
        union.check()
        lag = json.loads(subprocess.run(
            [kerb, "buffer", "--json", "-c", home / "kerb.toml", "--profiles", profiles], check=True, capture_output=True,
            text=True).stdout)
        return f"repaired, {stored} sequences served again, none missing; store {lag.get('state', '?')}"
    finally:
        if agent and agent.poll() is None:
            agent.terminate()
            agent.wait(30)
        subprocess.run(["umount", str(mount)], check=True)
        os.unlink(state)
