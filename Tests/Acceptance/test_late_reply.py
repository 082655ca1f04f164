"""A reply that comes after its timeout never becomes a Good value of another register."""

import heapq
import os
import queue
import select
import struct
import threading
import time

from client import Client, records
from running import Consumer, poll
from wire import crc16, raw_pty

TIMEOUT = 0.2
# Who has not run for so long does not know how old what lies there is.
STALL = 0.2
# Most of the time a request is open: a late reply is likely to find one.
THINKING = 0.015
SPAN = 1_000_000
REGISTERS = range(10, 90, 10)

# One point a request: all requests look alike, and only the line's order says which reply belongs to which.
PROFILE = "max_registers = 2\n" + "".join(
    f'[[point]]\nname = "r{register}"\nread = "holding {register}"\ntype = "u32"\nevery = "0s"\n' for register in REGISTERS)


class LateSlave:
    """Unit 1 on a pty. A register's value is SPAN times its address plus a number that grows with every request of all.
    A reply takes THINKING, but every `nth` one and a half timeouts, or as many as its turn says: it holds what was right
    when it was asked for, and falls into whatever the line carries by then. After a stall of its machine it says nothing of what
    it was asked before: as late as that no device is."""

    def __init__(self, nth=9, turns=(1.5, 1.1, 2.5)):
        self.nth, self.turns = nth, turns
        self.master, self.slave = raw_pty()
        self.path = os.ttyname(self.slave)
        self.asked = 0
        self.late = []  # how late each was, in timeouts
        self.stop_reader, self.stop_writer = os.pipe()
        self.failures = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        try:
            self._loop()
        except Exception as failure:  # told by the test, not lost with the thread
            self.failures.put(failure)

    def _loop(self):
        pending = b""
        replies = []  # a heap: (due, number of the request, when it came, reply)
        ran = time.monotonic()
        while True:
            wait = min(0.02, max(0, replies[0][0] - time.monotonic()) if replies else 0.02)
            readable, _, _ = select.select([self.master, self.stop_reader], [], [], wait)
            if self.stop_reader in readable:
                return
            before, ran = ran, time.monotonic()
            if ran - before > STALL:
                pending, replies = b"", []
                if self.master in readable:
                    os.read(self.master, 4096)
                continue
            while replies and time.monotonic() >= replies[0][0]:
                _, number, came, reply = heapq.heappop(replies)
                os.write(self.master, reply)
                if number % self.nth == 0:
                    self.late.append((time.monotonic() - came) / TIMEOUT)
            if self.master not in readable:
                continue
            pending += os.read(self.master, 256)
            while len(pending) >= 8:
                request, pending = pending[:8], pending[8:]
                now = time.monotonic()
                unit, function, address, count = struct.unpack(">BBHH", request[:6])
                assert request[6:] == crc16(request[:6]) and (unit, function) == (1, 3), request.hex()
                self.asked += 1
                assert self.asked < SPAN
                if address in REGISTERS and 1 <= count <= 2:
                    value = struct.pack(">I", address * SPAN + self.asked)
                    reply = struct.pack(">BBB", unit, function, 2 * count) + value[:2 * count]
                else:
                    reply = struct.pack(">BBB", unit, function | 0x80, 2)
                takes = TIMEOUT * self.turns[self.asked // self.nth % len(self.turns)] if self.asked % self.nth == 0 else THINKING
                heapq.heappush(replies, (now + takes, self.asked, now, reply + crc16(reply)))

    def close(self):
        os.write(self.stop_writer, b".")
        self.thread.join(5)
        for descriptor in (self.master, self.slave, self.stop_reader, self.stop_writer):
            os.close(descriptor)


def test_a_late_reply_never_becomes_a_good_value_of_another_register(house):
    house.profile("meter/plain", PROFILE)
    slave = LateSlave()
    house.at_the_end(slave.close)
    platform = Consumer("platform")
    agent = house.agent(
        f'[[bus]]\nname = "line"\nprotocol = "modbus-rtu"\nport = "{slave.path}"\nbaud = 115200\n'
        f'response_timeout = "{int(TIMEOUT * 1000)}ms"\nretries = 1\n'
        '[[device]]\nname = "meter"\nbus = "line"\naddress = 1\nprofile = "meter/plain"\n',
        [platform])
    client = Client(agent.port, platform.token)

    good = {f"box/meter/r{register}": [] for register in REGISTERS}

    def collect():
        for record in records([client.pull(wait=1) or {"batches": []}]):
            if record["q"] == "good":
                good[record["n"]].append(record["v"])

    def enough():
        collect()
        assert slave.failures.empty(), slave.failures.get()
        bus = agent.bus("line")
        is_read = all(good.values()) and sum(map(len, good.values())) >= 80
        return is_read and len(slave.late) >= 12 and bus["timeouts"] >= 12 and bus["late_replies"]

    # The agent knew what it threw away.
    poll(enough, lambda: f"12 late replies ({len(slave.late)}), 80 samples ({sum(map(len, good.values()))}): {agent.bus('line')}")
    agent.ask("flush")
    collect()

    assert min(slave.late) > 1, "every one of them came after its timeout"
    for name, values in good.items():
        register = int(name.removeprefix("box/meter/r"))
        foreign = [value for value in values if value // SPAN != register]
        assert not foreign, f"{name} has values of other registers: {foreign[:10]}"
        assert values == sorted(set(values)), f"{name} went back to a reply of an earlier request: {values}"
