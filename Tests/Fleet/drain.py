"""The platform behind the cluster: takes the quorum queue empty, confirms what it has written down, and checks it by the
ids of batches. Sample N of a box has the value N, so that what arrives can be told from what only looks like it."""

import json
import threading
import time

import pika
from pika.exceptions import AMQPError

QUEUE = "kerb"


def connect(port):
    return pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", port, heartbeat=10, blocked_connection_timeout=30, socket_timeout=5, connection_attempts=1))


def declare(port):
    """The queue that MQTT messages go to: a majority of the nodes has what a publisher was told that it is taken."""
    with connect(port) as connection:
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        # MQTT's levels are RabbitMQ's words: kerb/BOX/LANE is kerb.BOX.LANE. The state of the connection is not data.
        for lane in ("alarms", "telemetry"):
            channel.queue_bind(QUEUE, "amq.topic", f"kerb.*.{lane}")


class Journal:
    """What arrived. An id has one content, for ever."""

    def __init__(self):
        self.batches = {}  # id: content
        self.sequences = {}  # (box, lane): {sequence: id}
        self.gaps = []
        self.messages = self.redelivered = self.repeats = self.overlaps = 0
        self.wrong = []
        self.last_at = time.monotonic()
        self.longest = (0.0, 0.0)  # seconds without a new batch, and when they ended

    def take(self, body, redelivered):
        self.messages += 1
        self.redelivered += redelivered
        answer = json.loads(body)
        for gap in answer["gaps"]:
            self.gaps.append((answer["gateway"], gap))
        for batch in answer["batches"]:
            content = json.dumps(batch["records"], sort_keys=True)
            if batch["id"] in self.batches:
                self.repeats += 1
                if self.batches[batch["id"]] != content:
                    self.wrong.append(f"one id, two contents: {batch['id']}")
                continue
            self.batches[batch["id"]] = content
            self._new(answer["gateway"], answer["store"], batch)

    def _new(self, box, store, batch):
        now = time.monotonic()
        self.longest = max(self.longest, (now - self.last_at, now))
        self.last_at = now
        name, _, lane, span = batch["id"].split(".")
        first, _, last = span.partition("-")
        first, last = int(first), int(last or first)
        if name != store or lane != batch["lane"] or len(batch["records"]) != last - first + 1:
            self.wrong.append(f"{batch['id']} is not what it says")
        known = self.sequences.setdefault((box, lane), {})
        for sequence, record in zip(range(first, last + 1), batch["records"]):
            if sequence in known:
                self.overlaps += 1
            known[sequence] = batch["id"]
            if lane == "telemetry" and record.get("v") != sequence:
                self.wrong.append(f"{batch['id']}: {sequence} has the value {record.get('v')}")
            if not record["n"].startswith(f"{box}/tank/"):
                self.wrong.append(f"{batch['id']}: a record of {record['n']}")

    @property
    def records(self):
        return sum(len(known) for known in self.sequences.values())


class Platform(threading.Thread):
    """Consumes from whichever node answers. What it has is confirmed after it is in the journal, and comes again if not."""

    def __init__(self, ports, journal):
        super().__init__(daemon=True)
        self.ports, self.journal = ports, journal
        self.ends = threading.Event()
        self.connections = 0
        self.failure = None

    def run(self):
        turn = 0
        while not self.ends.is_set():
            turn += 1
            try:
                with connect(self.ports[turn % len(self.ports)]) as connection:
                    self.connections += 1
                    self._consume(connection)
            except (AMQPError, OSError):
                self.ends.wait(0.3)
            except Exception as failure:  # the main thread must hear of it
                self.failure = failure
                return

    def _consume(self, connection):
        channel = connection.channel()
        channel.basic_qos(prefetch_count=200)
        unconfirmed = 0
        for method, _, body in channel.consume(QUEUE, inactivity_timeout=0.5):
            if method is not None:
                self.journal.take(body, method.redelivered)
                unconfirmed += 1
                tag = method.delivery_tag
            if unconfirmed and (method is None or unconfirmed >= 50):
                channel.basic_ack(tag, multiple=True)
                unconfirmed = 0
            if self.ends.is_set():
                break
        channel.cancel()
