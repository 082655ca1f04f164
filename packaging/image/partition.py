"""A box in QEMU whose partition `state` is full, damaged or missing."""

import hashlib
import subprocess

from machine import BOOT_S, Failed, Machine, Platform, partition, poll, say, sparse_copy


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
        say("kerb status says:\n" + told)
        if "full" not in told:
            raise Failed("`kerb status` does not say that the partition is full")
        self.shell("rm -r /state/filler")
        self.restart()
        self.boot()
        if "full" in self.shell("kerb status"):
            raise Failed("`kerb status` says that the partition is full, and it is not any more")
        self.machine.cut()
        self.figure("state: with a full partition the box starts, measures and serves, and says so; no sequence missing")
        self.without("damaged", "can't be mounted")
        self.without("missing", "has no partition")

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
