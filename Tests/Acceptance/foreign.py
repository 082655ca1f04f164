"""Modbus slaves of other makers than pymodbus, each on a thread of its own, all with the same few values; and mbpoll, a master
that nobody here wrote either."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from socketserver import TCPServer

import serial
from modbus_tk import defines, modbus_rtu, modbus_tcp
from pyModbusTCP.server import ModbusServer
from umodbus import conf
from umodbus.server.serial import get_server as serial_server
from umodbus.server.serial.rtu import RTUServer
from umodbus.server.tcp import RequestHandler, get_server

from running import PATIENCE

conf.SIGNED_VALUES = False
TCPServer.allow_reuse_address = True


def values(turn):
    """What a slave holds, from address 0: registers that differ in every bit, and bits."""
    return {
        "holding": [0x1234 ^ 0xFFFF * turn, 0xFEDC - turn, 40_000 + turn, 7],
        "input": [turn, 65_535 - turn, 0x8000, 300 + turn],
        "coil": [(place + turn) % 3 == 0 for place in range(10)],
        "discrete": [(place + turn) % 2 == 0 for place in range(10)],
    }


FUNCTIONS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


class UModbus:
    """uModbus asks a function for each value. On a serial line it waits out half a second before it answers."""

    def __init__(self, unit, path=None, port=None, baud=None):
        self.values = values(0)
        if port:
            self.server = get_server(TCPServer, ("127.0.0.1", port), RequestHandler)
        else:
            self.serial = serial.Serial(path, baud)
            self.server = serial_server(RTUServer, self.serial)

        @self.server.route(slave_ids=[unit], function_codes=list(FUNCTIONS), addresses=list(range(10)))
        def value(slave_id, function_code, address):
            return int(self.values[FUNCTIONS[function_code]][address])

        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def set(self, turn):
        self.values = values(turn)

    def close(self):
        self.server.shutdown()
        self.thread.join(5)
        if hasattr(self, "serial"):
            self.serial.close()
        else:
            self.server.server_close()


class ModbusTk:
    KINDS = {
        "coil": defines.COILS, "discrete": defines.DISCRETE_INPUTS, "holding": defines.HOLDING_REGISTERS,
        "input": defines.ANALOG_INPUTS}

    def __init__(self, unit, path=None, port=None, baud=None):
        if port:
            self.server = modbus_tcp.TcpServer(port=port, address="127.0.0.1", timeout_in_sec=1)
        else:
            self.server = modbus_rtu.RtuServer(serial.Serial(path, baud))
        self.server.start()
        self.slave = self.server.add_slave(unit)
        for table, held in values(0).items():
            self.slave.add_block(table, self.KINDS[table], 0, len(held))
        self.set(0)

    def set(self, turn):
        for table, held in values(turn).items():
            self.slave.set_values(table, 0, [int(value) for value in held])

    def close(self):
        self.server.stop()


class PyModbusTCP:
    """Answers as whatever unit it is asked."""

    def __init__(self, unit, path=None, port=None, baud=None):
        self.server = ModbusServer(host="127.0.0.1", port=port, no_block=True)
        self.server.start()
        self.set(0)

    def set(self, turn):
        held = values(turn)
        bank = self.server.data_bank
        bank.set_coils(0, held["coil"])
        bank.set_discrete_inputs(0, held["discrete"])
        bank.set_holding_registers(0, held["holding"])
        bank.set_input_registers(0, held["input"])

    def close(self):
        self.server.stop()


class Mbpoll:
    """Debian's mbpoll, which polls until it is stopped."""

    def __init__(self, *target, unit, reference, count, kind="4", every_ms=100):
        path = shutil.which("mbpoll")
        assert path, "mbpoll is missing: scripts/setup test installs it"
        # A line at a time: how much it has read is known while it reads.
        self.output = tempfile.TemporaryFile("w+")
        self.popen = subprocess.Popen(
            ["stdbuf", "-oL", path, "-q", "-0", "-a", str(unit), "-t", kind, "-r", str(reference), "-c", str(count),
             "-l", str(every_ms), "-o", "10", *map(str, target)],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)

    def stop(self):
        self.popen.send_signal(signal.SIGINT)
        self.popen.wait(PATIENCE)
        return self.read()

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def read(self):
        """What it has read: a list of [address: value], one a poll; and its complaints."""
        polls, complaints = [], []
        size = os.fstat(self.output.fileno()).st_size
        text = os.pread(self.output.fileno(), size, 0).decode()
        for line in text.splitlines():
            if match := re.match(r"\[(\d+)\]:\s+(\d+)", line):
                place, value = int(match[1]), int(match[2])
                if not polls or place in polls[-1]:
                    polls.append({})
                polls[-1][place] = value
            elif "failed" in line.lower() or "error" in line.lower():
                # Its own count at the end names both words, too.
                if "errors" not in line:
                    complaints.append(line)
        return polls, complaints
