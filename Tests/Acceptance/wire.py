"""Lines without hardware, and what travels on them."""

import os
import select
import struct
import threading
import tty

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def raw_pty():
    master, slave = os.openpty()
    tty.setraw(slave)
    return master, slave


class Line:
    """Two pty ends joined by a thread, as a cable joins two ports: each side opens its own `path`."""

    def __init__(self):
        self.masters, self.slaves = zip(raw_pty(), raw_pty())
        self.path, self.far_path = map(os.ttyname, self.slaves)
        self.stop_reader, self.stop_writer = os.pipe()
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    def _carry(self):
        here, there = self.masters
        while True:
            readable, _, _ = select.select([here, there, self.stop_reader], [], [])
            if self.stop_reader in readable:
                return
            for end in readable:
                os.write(there if end == here else here, os.read(end, 4096))

    def close(self):
        os.write(self.stop_writer, b".")
        self.thread.join(5)
        for descriptor in (*self.masters, *self.slaves, self.stop_reader, self.stop_writer):
            os.close(descriptor)


def crc16(data):
    """Modbus over Serial Line V1.02, 6.2.2; low byte first on the wire."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return struct.pack("<H", crc)


def registers(data, order="ABCD"):
    """The registers that hold `data`, whose first byte is the most significant, in one of the four orders."""
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word >> 8 | (word & 0xFF) << 8 for word in words]
    return words
