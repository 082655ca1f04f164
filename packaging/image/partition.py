"""A box in QEMU whose partition `state` is full, damaged or missing."""

import contextlib
import hashlib
import os
import subprocess

from machine import BOOT_S, Failed, Machine, Platform, mounted, partition, poll, say, sparse_copy


class Partition:
    """Phase `state` of a run."""

    def state(self):
        say("state: the partition is full")
        self.boot()
        # What root may take beyond everybody is taken, too.
        self.shell("mkdir /state/filler && fallocate -l $(($(stat -f -c '%f * %S' /state) - 8388608)) /state/filler/most; "
                   "dd if=/dev/zero of=/state/filler/rest bs=64k 2>/dev/null; sync -f /state")
        self.restart()
        self.boot()
        told = self.shell("kerb status")
        if "as good as full" not in told:
            raise Failed(f"`kerb status` does not say that the partition is full: {told}")
        say("the console says: " + self.machine.said("as good as full"))
        self.figure("state: with a full partition a box that has its room prepared starts and serves as before; no sequence missing")
        self.shell("rm -r /state/filler")
        poll("the end of that trouble", lambda: "full" not in self.shell("kerb status"), BOOT_S, self.machine.must_live)
        self.restart()
        self.full()
        self.without("damaged", "can't be mounted")
        self.without("missing", "has no partition")

    def full(self):
        """No room for a buffer that has to be made: nothing is read, and whoever asks is told, until there is room."""
        say("state: the partition is full before there is a buffer")
        disk = self.folder / "full.img"
        sparse_copy(self.disk, disk)
        with mounted(disk, "state", self.folder) as state:
            for file in (state / "kerb").glob("*.db*"):
                file.unlink()
            with open(state / "filler", "wb") as filler:
                room = os.statvfs(state)
                with contextlib.suppress(OSError):
                    os.posix_fallocate(filler.fileno(), 0, room.f_bfree * room.f_frsize - (8 << 20))
                with contextlib.suppress(OSError):
                    while filler.seek(0, 2) >= 0:
                        filler.write(bytes(4096))
                        filler.flush()
        machine = self.machine = Machine(disk, self.site, self.folder)
        poll("what the box says of it", lambda: machine.said("full"), BOOT_S, machine.must_live)
        told = self.shell("kerb status")
        say("the console says: " + machine.said("full"))
        if "full" not in told:
            raise Failed(f"`kerb status` does not say it: {told}")
        self.shell("rm /state/filler")
        new = Platform(self.platform.token)
        poll("records once there is room", lambda: new.pull(machine.port), BOOT_S, machine.must_live)
        if "full" in self.shell("kerb status"):
            raise Failed("`kerb status` says that the partition is full, and it is not any more")
        machine.cut()
        disk.unlink()
        self.figure("state: with no room for a buffer the box says so, waits, and measures as soon as there is room")

    def without(self, how, words):
        """From memory, by the file on the boot partition, until a person has mended it; what is on the card is not touched."""
        say(f"state: the partition is {how}")
        disk = self.folder / "without.img"
        sparse_copy(self.disk, disk)
        offset, size = partition(disk, "state")
        if how == "damaged":
            with open(disk, "r+b") as file:
                file.seek(offset)
                file.write(bytes(size // 2))
        else:
            subprocess.run(["sfdisk", "--quiet", "--no-reread", "--delete", str(disk), "4"], check=True)
        before = content(disk, offset, size)
        machine = self.machine = Machine(disk, self.site, self.folder)
        poll("what the box says of it", lambda: machine.said(words), BOOT_S, machine.must_live)
        new = Platform(self.platform.token)
        poll("records from memory", lambda: new.pull(machine.port), BOOT_S, machine.must_live)
        told = self.shell("kerb status")
        if words not in told:
            raise Failed(f"`kerb status` does not say it: {told}")
        say("the console says: " + machine.said(words))
        self.machine.cut()
        if content(disk, offset, size) != before:
            raise Failed("what was left of the partition was written to")
        self.figure(f"state: with the partition {how} the box starts, says so, and serves from memory; the partition is not touched")
        disk.unlink()


def content(disk, offset, size):
    digest = hashlib.sha256()
    with open(disk, "rb") as file:
        file.seek(offset)
        while size > 0:
            piece = file.read(min(size, 8 << 20))
            digest.update(piece)
            size -= len(piece)
    return digest.digest()
