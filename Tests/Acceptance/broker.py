"""mosquitto as a broker that can be killed, and mosquitto_sub as a platform behind it."""

import json
import shutil

from client import Ledger
from running import free_port, poll


class Broker:
    def __init__(self, house, lines="", scheme="mqtt"):
        self.house = house
        self.port = free_port()
        self.lives = 0
        self.process = None
        self.path = house.folder / "mosquitto.conf"
        # Whoever subscribes gets a message before its sender has the acknowledgement.
        self.path.write_text(
            f"listener {self.port} 127.0.0.1\npersistence false\nmax_inflight_messages 0\nmax_queued_messages 0\n"
            f"log_dest stderr\nlog_type all\nconnection_messages true\n" + (lines or "allow_anonymous true\n"))
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def start(self):
        self.lives += 1
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.process = self.house.process(f"broker-{self.lives}", [program, "-c", self.path])
        poll(lambda: "running" in self.log, lambda: f"the broker runs:\n{self.log}")
        return self

    def kill(self):
        self.process.kill()

    @property
    def log(self):
        return self.process.log

    def has_subscriber(self, name):
        return f"Sending SUBACK to {name}" in self.log

    def has_client(self, name):
        return f"Sending CONNACK to {name}" in self.log


class Subscriber:
    """Everything under a topic, by mosquitto_sub, which comes back by itself."""

    def __init__(self, house, broker, topic="kerb/#", name="platform", arguments=()):
        self.name = name
        self.broker = broker
        self.process = house.process(
            name, [shutil.which("mosquitto_sub"), "-h", "127.0.0.1", "-p", broker.port, "-i", name, "-q", "1", "-t", topic,
                   "-F", "%t %r %p", *arguments])

    def wait(self):
        poll(lambda: self.broker.has_subscriber(self.name), "mosquitto_sub is there")

    @property
    def size(self):
        return self.process.output_path.stat().st_size

    def messages(self):
        """Topic, retained, and payload, of every whole line."""
        for line in self.process.output.split("\n")[:-1]:
            topic, retained, payload = line.split(" ", 2)
            yield topic, retained == "1", payload

    def ledger(self):
        ledger = Ledger()
        for topic, _, payload in self.messages():
            if payload.startswith("{"):
                ledger.add(json.loads(payload))
        return ledger

    def last(self, topic):
        return next((payload for found, _, payload in reversed(list(self.messages())) if found == topic), None)

