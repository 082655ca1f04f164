"""kill -9 of the agent under load, again and again: what was served once is there still and as it was, no id comes back with
other content, and every start succeeds without a person."""

import http.client
import json
import os
import random
import threading
import time

from client import BatchID, Client, Ledger
from running import KERB, PATIENCE, Consumer, Process, free_port, poll

ROUNDS = int(os.environ.get("KERB_KILL_ROUNDS", "200"))

POINTS = "".join(
    f'[[point]]\nname = "count{number}"\nread = "holding {2 * number}"\ntype = "u32"\nevery = "0s"\n' for number in range(4))
PROFILE = POINTS + """
[[point]]
name = "wave"
read = "holding 100"
every = "0s"
[[alarm]]
name = "high"
when = "wave > 0"
message = { en = "{device} is at {wave}" }
severity = "major"
"""

SITE = """
[[line]]
name = "line"
protocol = "modbus-tcp"
listen = "127.0.0.1:{port}"
[[device]]
name = "fast"
line = "line"
address = 1
profile = "fast/plain"
""" + "".join(
    f'[[device.signal]]\npoint = "count{number}"\nshape = "counter"\nstart = {number}\nrate = 500\n' for number in range(4)) + """
[[device.signal]]
point = "wave"
shape = "square"
low = 0
high = 1
period = "30ms"
"""

BUS = """
[[bus]]
name = "line"
protocol = "modbus-tcp"
host = "127.0.0.1:{port}"
[[device]]
name = "fast"
bus = "line"
address = 1
profile = "fast/plain"
"""


class Platform:
    """Pulls until the agent dies under it, and goes on where it was."""

    def __init__(self, agent, consumer):
        self.agent, self.token = agent, consumer.token
        self.ledger = Ledger()
        self.cursor = None
        self.ends = {"alarms": 0, "telemetry": 0}
        # Cursors that were good once, each with what had been received before it.
        self.bookmarks = [(None, dict(self.ends))]

    def client(self, cursor):
        client = Client(self.agent.port, self.token)
        client.cursor = cursor
        return client

    def take(self, answer):
        self.ledger.add(answer)
        for lane, last in spans(answer):
            self.ends[lane] = max(self.ends[lane], last)

    def work(self):
        client = self.client(self.cursor)
        try:
            while True:
                answer = client.pull(wait=1, limit=1_000)
                if answer:
                    self.take(answer)
                    self.cursor = client.cursor
        except (OSError, http.client.HTTPException):
            pass  # killed, at whatever point of it

    def read_again(self, bookmark):
        """Everything behind an old cursor comes again, up to where this platform has been."""
        cursor, held = bookmark
        client = self.client(cursor)
        # Without a cursor the agent would begin where it knows this platform to be.
        again = Ledger()
        reached = dict(held)
        while any(reached[lane] < self.ends[lane] for lane in reached):
            answer = client.pull(limit=5_000)
            assert answer, f"what was served up to {self.ends} ends at {reached} now"
            again.add(answer)
            self.ledger.add(answer)
            for lane, last in spans(answer):
                reached[lane] = max(reached[lane], last)
        for lane in reached:
            before = self.ledger.delivered(lane)
            seen = again.delivered(lane)
            wanted = range(held[lane] + 1, self.ends[lane] + 1)
            lost = [sequence for sequence in wanted if sequence in before and sequence not in seen]
            assert not lost, f"{lane}: served once and gone: {lost[:10]}"


def spans(answer):
    for batch in answer["batches"]:
        yield batch["lane"], BatchID(batch["id"]).last
    for gap in answer["gaps"]:
        yield gap["lane"], gap["to"]


def test_nothing_that_was_served_is_lost_or_changed_by_a_kill(house):
    port = free_port()
    house.profile("fast/plain", PROFILE)
    house.site(SITE.replace("{port}", str(port)))
    consumer = Consumer("platform")
    agent = house.agent(BUS.replace("{port}", str(port)), [consumer], start=False, telemetry="64MiB", alarms="16MiB")
    platform = Platform(agent, consumer)
    seed = int(os.environ.get("KERB_KILL_SEED", random.SystemRandom().randrange(2**32)))
    print(f"KERB_KILL_SEED={seed}")
    chance = random.Random(seed)
    epochs = []
    store = None

    def is_enough():
        """As many records as make something of the kills: on a slow machine more rounds bring them."""
        return platform.ends["telemetry"] > 20 * ROUNDS and platform.ends["alarms"] > ROUNDS

    turn = -1
    while turn + 1 < ROUNDS or not is_enough():
        turn += 1
        assert turn < 10 * ROUNDS, platform.ends
        if turn % 10 == 9:
            # Killed in its very start: the next one must find its way all the same.
            early = Process(agent.folder, agent.name, [KERB, "run", *agent.files])
            agent.processes.append(early)
            poll(lambda until=time.monotonic() + chance.uniform(0, 0.06): time.monotonic() > until, "its time", every=0.001)
            early.kill()
        agent.start()
        status = agent.status()
        epochs.append(status["epoch"])
        assert store in (None, status["store"]), "a new store: the old one was taken for broken"
        store = status["store"]
        assert status["buffer"]["state"] == "good", status["buffer"]

        if turn % 5 == 4:
            check_stored_cursor(platform)
        worker = threading.Thread(target=platform.work, daemon=True)
        worker.start()
        ends_at = time.monotonic() + chance.uniform(0.05, 0.45)
        flushes_at = time.monotonic() + chance.uniform(0, 0.5)
        # Telemetry is committed every second: a flush at any time makes some of it durable, under way or not.
        while time.monotonic() < ends_at:
            if time.monotonic() >= flushes_at:
                agent.ask("flush")
                flushes_at = time.monotonic() + chance.uniform(0.05, 0.3)
            poll(lambda: time.monotonic() >= min(ends_at, flushes_at), "its time", every=0.005)
        agent.kill()
        worker.join(PATIENCE)
        assert not worker.is_alive()
        if platform.cursor and turn % 10 == 0:
            platform.bookmarks.append((platform.cursor, dict(platform.ends)))
        if turn % 20 == 19 or turn + 1 == ROUNDS:
            agent.start()
            epochs.append(agent.status()["epoch"])
            platform.read_again(chance.choice(platform.bookmarks[1:] or platform.bookmarks))
            agent.kill()

    assert epochs == sorted(set(epochs)), f"an epoch began twice: {epochs}"
    agent.start()
    first = platform.bookmarks[1] if len(platform.bookmarks) > 1 else platform.bookmarks[0]
    platform.read_again(first)
    client = platform.client(platform.cursor)
    agent.ask("flush")
    while answer := client.pull(limit=5_000):
        platform.take(answer)
        if all(BatchID(batch["id"]).epoch == max(epochs) + 1 for batch in answer["batches"]):
            break
    agent.stop()

    ends = platform.ledger.check_continuity()
    damaged = [gap for gap in platform.ledger.gaps.values() if gap["reason"] != "overflow"]
    assert not damaged, damaged
    assert ends["telemetry"] > 20 * ROUNDS and ends["alarms"] > ROUNDS, ends
    assert platform.ledger.repeats > 0
    check_alarm_history(platform.ledger)
    print(f"{len(epochs)} starts, {ends} served, {platform.ledger.repeats} batches repeated, "
          f"{len(platform.ledger.gaps)} overflows reported")


def check_stored_cursor(platform):
    """What the agent remembers by itself is never newer than what this platform has acknowledged."""
    answer = platform.client(None).pull(limit=1_000)
    if not answer:
        return
    platform.ledger.add(answer)
    for lane in ("alarms", "telemetry"):
        firsts = [BatchID(batch["id"]).first for batch in answer["batches"] if batch["lane"] == lane]
        assert not firsts or min(firsts) <= platform.ends[lane] + 1, f"{lane}: a hole from {platform.ends[lane]} to {firsts}"


def check_alarm_history(ledger):
    """An alarm that was active when the agent died is active still: raised and cleared take turns over all restarts."""
    history = ledger.delivered("alarms")
    last, wrong = {}, []
    for sequence in sorted(history):
        if sequence - 1 not in history:
            # Where the store fell behind is a gap, and what an alarm did there is not known.
            last = {}
        alarm = json.loads(history[sequence][1])
        if last.get(alarm["n"]) == alarm["active"]:
            wrong.append([history.get(each) for each in range(sequence - 3, sequence + 3)])
        last[alarm["n"]] = alarm["active"]
    gaps = [gap for gap in ledger.gaps.values() if gap["lane"] == "alarms"]
    assert not wrong, f"{len(wrong)} of {len(history)} alarms were raised or cleared twice in a row: {wrong[:3]}, gaps {gaps}"
