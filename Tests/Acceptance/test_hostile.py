"""Slow heads, malformed requests and guessed tokens from many addresses, while another platform pulls on as if nothing were."""

import contextlib
import http.client
import os
import pathlib
import random
import re
import socket
import threading
import time

from running import PATIENCE, Consumer, poll
from test_negotiation import BUSES, SITE

SLOW = int(os.environ.get("KERB_SLOW", "500"))
MALFORMED = int(os.environ.get("KERB_MALFORMED", "5000"))
GUESSES = int(os.environ.get("KERB_GUESSES", "500"))
# Twice as long as without a siege, and this: what is near nothing doubles by itself.
SLACK_S = 0.025


def connect(port, number):
    """From one of many addresses of loopback, as if from many hosts."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE, source_address=(f"127.0.1.{2 + number % 200}", 0))


class Platform:
    """One that has a token and keeps its connection."""

    def __init__(self, agent, consumer):
        self.connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=PATIENCE)
        self.headers = {"Authorization": f"Bearer {consumer.token}"}
        self.threads = list(pathlib.Path(f"/proc/{agent.process.pid}/task").iterdir())

    def queued(self):
        """How long each thread that has a part in an answer has waited for a processor so far: the agent's, and this."""
        return [int((thread / "schedstat").read_text().split()[1]) / 1e9
                for thread in (*self.threads, pathlib.Path("/proc/thread-self"))]

    def ask(self):
        """How long an answer took, without what other programs kept the processors busy: that is not the agent's."""
        before, begin = self.queued(), time.monotonic()
        self.connection.request("GET", "/v1/points", headers=self.headers)
        response = self.connection.getresponse()
        assert response.read() and response.status == 200
        took = time.monotonic() - begin
        *agent, own = (now - then for now, then in zip(self.queued(), before))
        return max(0.0, took - max(agent) - own)


def p99(platforms, seconds, goes_on=lambda: False):
    """Of each, asked in turn: what stops the machine stops both."""
    times = [[] for _ in platforms]
    end = time.monotonic() + seconds
    while time.monotonic() < end or goes_on():
        for platform, taken in zip(platforms, times):
            taken.append(platform.ask())
        time.sleep(0.002)
    return [sorted(taken)[int(len(taken) * 0.99)] for taken in times]


def malformed(dice):
    """A request with something wrong in it, or a lot."""
    base = bytearray(
        b"GET /v1/batches?after=AAAA&limit=10&wait=0 HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer x\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    for _ in range(dice.randint(1, 12)):
        place = dice.randrange(len(base))
        action = dice.randrange(4)
        if action == 0:
            base[place] = dice.randrange(256)
        elif action == 1:
            del base[place:place + dice.randint(1, 9)]
        elif action == 2:
            base[place:place] = dice.randbytes(dice.randint(1, 9))
        else:
            base[place:place] = base[place:place + 20] * dice.randint(1, 30)
        if not base:
            base = bytearray(b"\r\n")
    return bytes(base)


def throw(port, seed, count, statuses):
    dice = random.Random(seed)
    for number in range(count):
        with contextlib.suppress(OSError):
            with connect(port, dice.randrange(200)) as line:
                line.settimeout(0.5)
                line.sendall(malformed(dice))
                line.shutdown(socket.SHUT_WR)
                answer = line.recv(200)
                if answer:
                    statuses.append(int(answer.split(b" ", 2)[1]))


def guess(port, number, count, statuses):
    connection = None
    for attempt in range(count):
        try:
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", port, timeout=PATIENCE, source_address=(f"127.0.2.{2 + number % 4}", 0))
            connection.request("GET", "/v1/batches", headers={"Authorization": f"Bearer guess-{number}-{attempt}"})
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        except (OSError, http.client.HTTPException):
            # Pushed out, for it has shown no token.
            connection = None


def test_the_others_do_not_notice(house):
    house.site(SITE.replace("{folder}", str(house.folder)))
    agent = house.agent(BUSES.replace("{folder}", str(house.folder)), [Consumer("city")])
    poll(lambda: agent.status()["devices"]["online"] == 2, "both devices answer")
    platform = Platform(agent, agent.consumers["city"])
    # The same program on the same machine, under no siege.
    elsewhere = house.agent("", [Consumer("city")], name="elsewhere")
    both = platform, Platform(elsewhere, elsewhere.consumers["city"])
    quiet = max(p99(both, 3))
    before = agent.status()
    descriptors = len(os.listdir(f"/proc/{agent.process.pid}/fd"))

    besieged = time.monotonic()
    slow = []
    for number in range(SLOW):
        line = connect(agent.port, number)
        line.sendall(b"GET /v1/batches HTTP/1.1\r\nX-Slow: ")
        slow.append(line)
    newcomer = Platform(agent, agent.consumers["city"])
    newcomer.ask()
    with_slow, beside_slow = p99(both, 3)

    seed = int(os.environ.get("KERB_SEED", "6"))
    print("seed", seed)
    answers, refusals = [], []
    threads = [
        threading.Thread(target=throw, args=(agent.port, seed + number, MALFORMED // 4, answers)) for number in range(4)]
    threads += [
        threading.Thread(target=guess, args=(agent.port, number, GUESSES // 16, refusals)) for number in range(16)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    # As long as it lasts: in full that is minutes.
    under_fire, beside_fire = p99(both, 4, lambda: any(thread.is_alive() for thread in threads))
    for thread in threads:
        thread.join()
    took = time.monotonic() - begin
    for line in slow:
        line.close()

    print(f"p99: quiet {quiet * 1e3:.1f} ms, {SLOW} slow heads {with_slow * 1e3:.1f} ms, elsewhere {beside_slow * 1e3:.1f} ms, "
          f"under fire {under_fire * 1e3:.1f} ms, elsewhere {beside_fire * 1e3:.1f} ms")
    print(f"{len(answers)} answers to malformed requests, {len(refusals)} guesses refused, in {took:.1f} s")
    assert answers and all(status < 500 or status in (503, 505) for status in answers), sorted(set(answers))
    assert refusals and set(refusals) <= {401, 429, 503}, sorted(set(refusals))
    assert with_slow < 2 * max(quiet, beside_slow) + SLACK_S
    assert under_fire < 2 * max(quiet, beside_fire) + SLACK_S

    platform.ask()
    newcomer.connection.close()
    poll(lambda: agent.status()["pull"]["connections"] <= 1, "the hostile connections are gone")
    after = agent.status()
    assert after["memory"]["private_bytes"] < before["memory"]["private_bytes"] + (2 << 20), (before["memory"], after["memory"])
    assert len(os.listdir(f"/proc/{agent.process.pid}/fd")) <= descriptors + 2
    bus, earlier = after["buses"][0], before["buses"][0]
    assert bus["lost"] == 0
    # A machine that is busy has a timeout now and then by itself.
    assert bus["timeouts"] - earlier["timeouts"] <= 1 + (bus["good"] - earlier["good"]) // 10, (earlier, bus)
    # It is known, and the journal is not full of it.
    assert "reason=unknown_token" in agent.log and "reason=crowded_out" in agent.log
    # Of each kind one line in ten seconds.
    kinds = set(re.findall(r"refused.* reason=(\w+)", agent.log))
    assert agent.log.count("refused") <= len(kinds) * (2 + (time.monotonic() - besieged) / 10), agent.log[-3000:]
