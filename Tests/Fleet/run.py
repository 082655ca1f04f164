"""Fault 37. Many boxes push by MQTT into a RabbitMQ cluster of three nodes; the node that leads the queue is killed in the middle
and comes back; a platform takes the queue empty. Nothing may be lost, and each batch counts once by its id.

    run.py FLEET BOXES SECONDS [SAMPLES-A-SECOND]

FLEET is the load generator's executable. Everything happens on loopback and in a temporary folder, and is stopped.
"""

import json
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from cluster import Cluster, end, wait_for
from drain import QUEUE, Journal, Platform, declare


class Fleet:
    """The load generator, listened to."""

    def __init__(self, program, boxes, seconds, rate, url, folder):
        state = folder / "boxes"
        state.mkdir()
        with open(folder / "fleet.log", "ab") as log:
            self.process = subprocess.Popen(
                [str(program), str(boxes), str(seconds), str(rate), url, str(state)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        self.ready, self.seconds, self.accounts, self.settled = {}, [], {}, None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            told = json.loads(line)
            if "box" in told:
                self.ready[told["box"]] = told["store"]
            elif "second" in told:
                self.seconds.append((time.monotonic(), told))
            elif "end" in told:
                self.accounts[told["end"]] = told
            else:
                self.settled = told["settled"]


def leader(node):
    """The queue's name at the first node that is up, for example kerb2@localhost."""
    for row in json.loads(node.tell("list_queues", "name", "leader", "--formatter", "json", "--silent")):
        if row["name"] == QUEUE:
            return row["leader"]
    raise SystemExit("fleet: the queue has no leader")


def depth(node):
    rows = json.loads(node.tell("list_queues", "name", "messages", "--formatter", "json", "--silent"))
    return next((row["messages"] for row in rows if row["name"] == QUEUE), 0)


def judge(fleet, journal, boxes):
    """Every sentence that is not true."""
    wrong = list(journal.wrong[:10])
    if len(fleet.ready) != boxes or len(set(fleet.ready.values())) != boxes:
        wrong.append(f"{len(fleet.ready)} boxes were ready, with {len(set(fleet.ready.values()))} stores")
    if fleet.settled is not True:
        wrong.append("not every box has delivered everything")
    if journal.gaps:
        wrong.append(f"gaps were reported: {journal.gaps[:3]}")
    for box, account in sorted(fleet.accounts.items()):
        for lane in ("alarms", "telemetry"):
            known = journal.sequences.get((box, lane), {})
            missing = set(range(1, account[lane] + 1)) - known.keys()
            if missing:
                wrong.append(f"{box}: of {account[lane]} {lane} {len(missing)} never came: {sorted(missing)[:5]}")
            if max(known, default=0) > account[lane]:
                wrong.append(f"{box}: {lane} {max(known)} came, {account[lane]} were made")
    return wrong


def most_in_a_second(fleet, key, begin, end):
    """The steepest rise of a count between two moments: it is told once a second."""
    told = [(at, each[key]) for at, each in fleet.seconds if begin <= at <= end]
    return max((after[1] - before[1] for before, after in zip(told, told[1:])), default=0)


def main():
    program, boxes, seconds = pathlib.Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
    rate = int(sys.argv[4]) if len(sys.argv) > 4 else 10
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kerb-fleet-"))
    cluster, fleet = Cluster(folder), None
    try:
        begin = time.monotonic()
        cluster.start()
        cluster.balance()
        declare(cluster.nodes[0].amqp)
        print(f"three nodes are one cluster after {time.monotonic() - begin:.0f} s", flush=True)
        journal = Journal()
        platform = Platform([node.amqp for node in cluster.nodes], journal)
        platform.start()
        fleet = Fleet(program, boxes, seconds, rate, f"mqtt://127.0.0.1:{cluster.port}", folder)
        wait_for(lambda: len(fleet.ready) == boxes and fleet.seconds or fleet.process.poll() is not None, "the boxes are ready", 180)
        if fleet.process.poll() is not None:
            raise SystemExit(f"fleet: the boxes ended:\n{(folder / 'fleet.log').read_text()[-3000:]}")
        start = time.monotonic()
        print(f"{boxes} boxes, {rate} samples a second each, for {seconds} s", flush=True)

        def alive():
            if fleet.process.poll() is not None:
                raise SystemExit(f"fleet: the boxes ended:\n{(folder / 'fleet.log').read_text()[-3000:]}")
            if platform.failure:
                raise platform.failure
            return time.monotonic()

        wait_for(lambda: alive() > start + seconds / 3, "a third of the time", seconds)
        name = leader(cluster.nodes[0])
        victim = next(node for node in cluster.nodes if node.name == name)
        killed = time.monotonic()
        journal.longest = (0.0, 0.0)
        before = fleet.seconds[-1][1]
        victim.kill()
        print(f"{name}, which leads the queue, is killed after {killed - start:.0f} s", flush=True)
        wait_for(lambda: alive() > start + seconds * 2 / 3, "two thirds of the time", seconds)
        after = fleet.seconds[-1][1]
        silence = journal.longest[0]
        victim.start()
        victim.wait()
        print(f"{name} is back after {time.monotonic() - killed:.0f} s", flush=True)
        wait_for(lambda: fleet.process.poll() is not None, "the boxes have delivered everything", seconds + 180)
        fleet.reader.join(10)
        finished = time.monotonic()
        wait_for(lambda: depth(victim) == 0, lambda: f"the queue is empty: {depth(victim)} are left", 60, every=1)
        platform.ends.set()
        platform.join(20)

        wrong = judge(fleet, journal, boxes)
        made = sum(account["alarms"] + account["telemetry"] for account in fleet.accounts.values())
        took = finished - start
        figures = {
            "boxes": boxes, "seconds": round(took, 1), "records_made": made, "records_arrived": journal.records,
            "messages": journal.messages, "messages_per_second": round(journal.messages / took, 1),
            "records_per_second": round(journal.records / took), "batches": len(journal.batches),
            "batches_repeated": journal.repeats, "messages_redelivered": journal.redelivered, "overlapping_records": journal.overlaps,
            "connections": fleet.seconds[-1][1]["opened"], "lost_at_kill": after["lost"] - before["lost"],
            "reconnects": after["opened"] - before["opened"], "refused": after["refused"] - before["refused"],
            "reconnects_per_second_max": most_in_a_second(fleet, "opened", killed - 1, finished),
            "seconds_without_delivery": round(silence, 1),
        }
        print(json.dumps(figures, indent=1))
        for sentence in wrong:
            print(f"WRONG: {sentence}")
        if not wrong:
            print(f"nothing is lost: {made} records of {boxes} boxes, each once by its batch's id")
        return 1 if wrong else 0
    finally:
        if fleet is not None:
            end(fleet.process)
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
