"""Signed updates of a box in QEMU: refused, installed and kept, given up; and the buffer that a newer version has left."""

import os
import sqlite3
import subprocess

from machine import (
    BOOT_S, PULL_S, ROOT, Failed, Machine, Platform, change_files, checksummed, mounted, poll, say, sparse_copy)


class Updates:
    """Phase `update` of a run."""

    def signer(self, name):
        """A certificate as docs/updates.md has it made."""
        certificate, key = self.folder / f"{name}-cert.pem", self.folder / f"{name}-key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7300",
                        "-subj", f"/CN={name}", "-addext", "extendedKeyUsage=codeSigning", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)
        return certificate, key

    def bundle(self, name, signer, changes=()):
        """A signed update: the image's system, with `changes` to its files (debugfs commands)."""
        system, bundle = self.folder / "system.img", self.folder / f"{name}.raucb"
        sparse_copy(self.image, system)
        if changes:
            change_files(system, "root-a", changes)
        subprocess.run([ROOT / "packaging/image/bundle", self.board, *signer], check=True,
                       env={**os.environ, "KERB_IMAGE": system, "KERB_BUNDLE": bundle, "KERB_BUNDLE_VERSION": name})
        system.unlink()
        return bundle

    def update(self):
        say("update: signed bundles for the other system")
        self.boot()
        stranger = self.bundle("stranger", self.signer("stranger"))
        told = self.install(stranger, "&& echo installed || true")
        if "installed" in told or "signature" not in told:
            raise Failed(f"a bundle that somebody else has signed is not refused for it: {told}")
        self.figure("update: a bundle signed by somebody else is refused")
        slot = self.shell("/usr/lib/kerb/boot-slots get-current").strip()
        if slot != "a":
            raise Failed(f"the box runs from system {slot}, not from a")
        self.install(self.bundle("good", self.signed))
        self.restart()
        self.healthy("b")
        self.figure("update: from system a to b, signed, started, healthy and kept; no sequence missing")
        say("update: an agent that does not start")
        self.broken()
        self.healthy("b")
        self.figure("update: a system whose agent does not start is left after three starts by itself; the box is where it was, "
                    "no sequence missing")
        self.newer()

    def install(self, bundle, otherwise=""):
        machine = self.machine
        self.shell("true")
        machine.send(bundle, "/state/update.raucb", self.key)
        bundle.unlink()
        say("waiting for rauc install (at most 600 s)")
        out = machine.shell(f"rauc install /state/update.raucb 2>&1 {otherwise}; ok=$?; rm /state/update.raucb; exit $ok", self.key)
        say(out.strip().split("\n")[-1])
        return out

    def restart(self):
        """As `systemctl reboot` ends: QEMU is told not to start again by itself."""
        machine = self.machine
        machine.shell("systemctl --no-block reboot", self.key)
        poll("the restart", lambda: machine.process.poll() is not None, PULL_S)
        machine.ended.set()

    def healthy(self, slot):
        self.boot()
        machine = self.machine
        poll(f"system {slot} to be found healthy", lambda: machine.said(f"system {slot} is healthy"), BOOT_S, machine.must_live)
        entries = self.shell("ls /boot/efi/loader/entries")
        if f"kerb-{slot}.conf" not in entries:
            raise Failed(f"system {slot} is healthy, and its entry still counts: {entries}")

    def broken(self):
        """An agent that ends at once. Each start waits for a good sample, here half a minute, and starts again."""
        agent, patience = self.folder / "broken-agent", self.folder / "broken-patience"
        agent.write_text("#!/bin/sh\necho broken on purpose >&2\nexit 1\n")
        patience.write_text("[Service]\nEnvironment=KERB_HEALTHY_SECONDS=30\n")
        self.install(self.bundle("broken", self.signed, [
            "rm /usr/bin/kerb", f"write {agent} /usr/bin/kerb", "set_inode_field /usr/bin/kerb mode 0100755",
            "mkdir /etc/systemd/system/kerb-healthy.service.d",
            f"write {patience} /etc/systemd/system/kerb-healthy.service.d/test.conf"]))
        self.restart()
        for number in (1, 2, 3):
            machine = self.machine = Machine(self.disk, self.site, self.folder)
            poll(f"start {number} of the broken system to end", lambda m=machine: m.process.poll() is not None, BOOT_S)
            machine.ended.set()
            if not machine.said("system a has no good sample in time"):
                raise Failed(f"start {number} of the broken system ended without saying why")

    def newer(self):
        """A system that was given up may have brought the buffer to its own format."""
        say("update: a buffer that a newer version has left")
        self.restart()
        with mounted(self.disk, "state", self.folder) as state:
            with sqlite3.connect(state / "kerb/alarm.db") as database:
                [version] = database.execute("PRAGMA user_version").fetchone()
                database.execute(f"PRAGMA user_version = {version + 1}")
                database.execute("UPDATE meta SET value = ? WHERE name = 'format'", (checksummed(version + 1),))
            database.close()
        machine = self.machine = Machine(self.disk, self.site, self.folder)
        poll("the newer buffer to be put away", lambda: machine.said("newer version, which was given up"), BOOT_S, machine.must_live)
        new = Platform(self.platform.token)
        poll("records of a new buffer", lambda: new.pull(machine.port), BOOT_S, machine.must_live)
        if new.stores & self.platform.stores:
            raise Failed("the new buffer has the old one's name")
        self.shell("test -s /var/lib/kerb/newer-1/alarm.db && test -s /var/lib/kerb/newer-1/telemetry.db")
        self.figure("update: a buffer left by a newer version is kept aside and said; the box goes on with a new one")
        self.restart()
        # As a person would who has installed the newer system again.
        with mounted(self.disk, "state", self.folder) as state:
            with sqlite3.connect(state / "kerb/newer-1/alarm.db") as database:
                database.execute(f"PRAGMA user_version = {version}")
                database.execute("UPDATE meta SET value = ? WHERE name = 'format'", (checksummed(version),))
            database.close()
            for file in (state / "kerb").glob("*.db*"):
                file.unlink()
            for file in (state / "kerb/newer-1").iterdir():
                file.rename(state / "kerb" / file.name)
            (state / "kerb/newer-1").rmdir()
            (state / "kerb/notice").unlink()
        self.boot()
        self.machine.cut()
        self.figure("update: with the files moved back by hand everything is there again, no sequence missing")
