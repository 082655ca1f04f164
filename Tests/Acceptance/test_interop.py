"""A slave that nobody here wrote serves RTU on a pty and TCP on loopback; what curl pulls equals what was set, unit by
unit, value by value: every table, type and order."""

import json
import random
import string
import struct
import subprocess
import time
from decimal import Decimal

import pytest

from running import PATIENCE, Consumer, free_port, poll
from slave import Slave
from wire import ORDERS, Line, registers

BAUD = 115_200


def member(value, quality="good"):
    """What a record has to say of a value."""
    if quality == "bad":
        return {"q": "bad"}
    key = "vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v"
    return {key: value, "q": quality}


class Point:
    """One point: how the configuration names it, what the slave holds in turn, and what the platform must then see."""

    def __init__(self, name, table, address, type=None, order=None, **keys):
        self.name, self.table, self.address = name, table, address
        self.keys = {"type": type, "order": order, **keys}
        self.order = order or "ABCD"
        self.held = []
        self.seen = []

    def turn(self, held, value, quality="good"):
        """`held`: bytes, most significant first; or a bit."""
        self.held.append(registers(held, self.order) if isinstance(held, bytes) else [held])
        self.seen.append(member(value, quality))
        return self

    @property
    def size(self):
        return len(self.held[0])

    @property
    def toml(self):
        lines = ["[[device.point]]", f'name = "{self.name}"', f'read = "{self.table} {self.address}"', 'every = "250ms"']
        return "\n".join(lines + [f"{key} = {json.dumps(value)}" for key, value in self.keys.items() if value is not None]) + "\n"


def bcd(number, digits):
    return bytes.fromhex(str(number).zfill(digits))


class Unit:
    """One device: points side by side, so that every request reads several and no hole is in between."""

    def __init__(self, address, seed):
        self.address = address
        self.random = random.Random(seed)
        self.points = []
        self.ends = {"holding": 0, "input": 0, "coil": 0, "discrete": 0}

    def add(self, name, table, type=None, order=None, **keys):
        point = Point(name, table, self.ends[table], type, order, **keys)
        self.points.append(point)
        return point

    def close(self, point):
        self.ends[point.table] += point.size

    def whole_types(self, table):
        chance = self.random
        integers = {
            "u16": (">H", 0, 2**16 - 1), "i16": (">h", -(2**15), 2**15 - 1), "u32": (">I", 0, 2**32 - 1),
            "i32": (">i", -(2**31), 2**31 - 1), "u64": (">Q", 0, 2**64 - 1), "i64": (">q", -(2**63), 2**63 - 1),
        }
        for order in ORDERS:
            for type, (code, low, high) in integers.items():
                # The last one before the sign, or an overflow, turns up as well.
                for name, values in (("", [chance.randint(low, high), chance.randint(low, high)]), ("-edge", [high, low])):
                    if name and order in ("CDAB", "BADC"):
                        continue
                    point = self.add(f"{table}-{type}-{order}{name}", table, type, order)
                    for value in values:
                        point.turn(struct.pack(code, value), value)
                    self.close(point)
            for type, code in (("f32", ">f"), ("f64", ">d")):
                point = self.add(f"{table}-{type}-{order}", table, type, order)
                for _ in range(2):
                    data = struct.pack(code, chance.uniform(-1e6, 1e6))
                    point.turn(data, struct.unpack(code, data)[0])
                self.close(point)
            for type, digits in (("bcd16", 4), ("bcd32", 8)):
                point = self.add(f"{table}-{type}-{order}", table, type, order)
                for _ in range(2):
                    number = chance.randrange(10**digits)
                    point.turn(bcd(number, digits), number)
                self.close(point)
        for order in ("ABCD", "BADC"):
            point = self.add(f"{table}-text-{order}", table, "text:9", order)
            for length in (9, 4):
                text = "".join(chance.choices(string.ascii_letters + string.digits, k=length))
                # Its words keep their places whatever the order: only the bytes within them change.
                point.turn(text.encode().ljust(10, b"\0"), text)
            self.close(point)

    def parts_and_qualities(self, table):
        chance = self.random
        word = [chance.randrange(2**16), chance.randrange(2**16)]
        word[1] ^= (word[0] ^ word[1]) & 0x0008 ^ 0x0008  # bit 3 changes
        base = self.ends[table]
        for bits, value in (
            ("3", lambda word: bool(word >> 3 & 1)), ("4..7", lambda word: word >> 4 & 15), ("0..15", lambda word: word),
        ):
            point = self.add(f"{table}-bits-{bits.replace('.', '-')}", table, "u16", bits=bits)
            point.address = base  # three points of one register
            for held in word:
                point.turn(struct.pack(">H", held), value(held))
        self.close(point)

        point = self.add(f"{table}-bits-of-two", table, "u32", "CDAB", bits="12..19")
        for held in (chance.randrange(2**32), chance.randrange(2**32)):
            point.turn(struct.pack(">I", held), held >> 12 & 0xFF)
        self.close(point)

        def scaled(name, type, code, low, high, scale, offset):
            point = self.add(name, table, type, scale=float(scale), offset=float(offset), unit="Cel")
            for _ in range(2):
                raw = chance.randint(low, high)
                point.turn(struct.pack(code, raw), float(raw * Decimal(scale) + Decimal(offset)))
            self.close(point)

        scaled(f"{table}-tenths", "i16", ">h", -(2**15), 2**15 - 1, "0.1", "0")
        scaled(f"{table}-hundredths-from-minus-40", "u16", ">H", 0, 2**16 - 1, "0.01", "-40")
        scaled(f"{table}-thousandths", "i32", ">i", -(2**31), 2**31 - 1, "0.001", "12.5")
        scaled(f"{table}-sevens", "u32", ">I", 0, 2**32 - 1, "7", "-3")

        def one(name, type, code, turns, **keys):
            point = self.add(f"{table}-{name}", table, type, **keys)
            for held, value, quality in turns:
                point.turn(code(held), value, quality)
            self.close(point)

        def packed(code):
            return lambda held: struct.pack(code, held)

        none, known = (0x7FFF, None, "bad"), (215, 21.5, "good")
        one("sentinel-first", "i16", packed(">h"), [none, known], invalid=[0x7FFF], scale=0.1)
        one("sentinel-later", "i16", packed(">h"), [known, none], invalid=[0x7FFE, 0x7FFF], scale=0.1)
        one("sentinel-of-two", "u32", packed(">I"), [(0xFFFFFFFF, None, "bad"), (5, 5, "good")], invalid=[0xFFFFFFFF])
        one("range-above", "u16", packed(">H"), [(1001, 100.1, "uncertain"), (1000, 100.0, "good")], scale=0.1, range=[0, 100])
        one("range-below", "i16", packed(">h"), [(-400, -40.0, "good"), (-401, -40.1, "uncertain")], scale=0.1, range=[-40, 85])
        one("digit-above-nine", "bcd16", bytes.fromhex, [("12A4", None, "bad"), ("1294", 1294, "good")])
        one("not-a-number", "f32", packed(">f"), [(float("nan"), None, "bad"), (1.5, 1.5, "good")])
        one("infinite", "f64", packed(">d"), [(2.25, 2.25, "good"), (float("inf"), None, "bad")])

    def bits(self, table):
        for number in range(40):
            point = self.add(f"{table}-{number}", table, "bool" if number % 2 else None)
            first = self.random.random() < 0.5
            point.turn(first, first).turn(not first, not first)
            self.close(point)

    def unmapped(self, table):
        """Far from all others, so that no request of theirs covers it; the slave refuses it with exception 2."""
        point = Point(f"{table}-unmapped", table, 5000)
        point.seen = [{"q": "bad"}] * 2
        point.held = [[], []]
        self.points.append(point)

    def tables(self, turn):
        tables = {}
        for point in self.points:
            if point.held[turn]:
                table = tables.setdefault(point.table, [0] * self.ends[point.table])
                table[point.address:point.address + point.size] = point.held[turn]
        for table in ("coil", "discrete"):
            # pymodbus keeps bits in sixteens.
            if table in tables:
                tables[table] += [False] * (-len(tables[table]) % 16)
        return tables


def equal(record, wanted, point):
    said = {key: record[key] for key in ("v", "vb", "vs", "q") if key in record}
    if point.keys["type"] == "f32" and "v" in said and "v" in wanted:
        said["v"] = struct.unpack(">f", struct.pack(">f", said["v"]))[0]
    return said == wanted and all(type(said[key]) is type(wanted[key]) or key == "v" for key in said)


class Curl:
    """Pulls as a shell script would; the token stands in a file, not in the list of processes."""

    def __init__(self, folder, agent, consumer):
        self.settings = folder / "curl.conf"
        self.settings.touch(mode=0o600)
        self.settings.write_text(
            f'header = "Authorization: Bearer {consumer.token}"\nsilent\nshow-error\nmax-time = 30\n')
        self.url = f"http://127.0.0.1:{agent.port}"
        self.cursor = None

    def get(self, path):
        answer = subprocess.run(
            ["curl", "--config", self.settings, "--write-out", "\n%{http_code}", self.url + path],
            capture_output=True, text=True, timeout=PATIENCE)
        assert answer.returncode == 0, answer.stderr
        body, _, status = answer.stdout.rpartition("\n")
        assert status in ("200", "204"), answer.stdout
        return json.loads(body) if body else None

    def pull(self):
        query = "?wait=1" + (f"&after={self.cursor}" if self.cursor else "")
        answer = self.get("/v1/batches" + query)
        if answer is None:
            return []
        self.cursor = answer["next"]
        assert answer["gaps"] == []
        return [record for batch in answer["batches"] for record in batch["records"]]


def rtu_units():
    first, second = Unit(1, seed=101), Unit(247, seed=102)
    first.whole_types("holding")
    first.parts_and_qualities("input")
    first.bits("coil")
    first.unmapped("holding")
    second.whole_types("input")
    second.parts_and_qualities("holding")
    second.bits("discrete")
    second.unmapped("coil")
    # Where the others have their first registers, this one has others.
    third = Unit(17, seed=103)
    third.whole_types("holding")
    return [first, second, third]


def tcp_units():
    first, second = Unit(1, seed=201), Unit(255, seed=202)
    for unit, table, bits in ((first, "input", "discrete"), (second, "holding", "coil")):
        unit.whole_types(table)
        unit.parts_and_qualities("holding" if table == "input" else "input")
        unit.bits(bits)
        unit.unmapped("input")
    return [first, second]


def configuration(bus, units):
    text = bus
    for unit in units:
        text += f'[[device]]\nname = "unit-{unit.address}"\nbus = "line"\naddress = {unit.address}\n'
        text += "".join(point.toml for point in unit.points)
    return text


@pytest.mark.parametrize("kind", ["rtu", "tcp"])
def test_every_value_that_a_foreign_slave_holds_arrives_as_it_was_set(house, kind):
    if kind == "rtu":
        units = rtu_units()
        line = Line()
        house.at_the_end(line.close)
        slave = Slave({unit.address: unit.tables(0) for unit in units}, port_path=line.far_path, baud=BAUD)
        bus = f'[[bus]]\nname = "line"\nprotocol = "modbus-rtu"\nport = "{line.path}"\nbaud = {BAUD}\n'
    else:
        units = tcp_units()
        port = free_port()
        slave = Slave({unit.address: unit.tables(0) for unit in units}, tcp_port=port)
        bus = f'[[bus]]\nname = "line"\nprotocol = "modbus-tcp"\nhost = "127.0.0.1:{port}"\n'
    house.at_the_end(slave.close)

    points = {f"box/unit-{unit.address}/{point.name}": point for unit in units for point in unit.points}
    kinds = {point.keys["type"] for point in points.values()}
    assert kinds >= {"bool", "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd16", "bcd32", "text:9"}

    platform = Consumer("platform")
    began = time.time()
    agent = house.agent(configuration(bus, units), [platform])
    curl = Curl(house.folder, agent, platform)
    turns = {}  # by name: the turn that its last record told of

    for turn in (0, 1):
        if turn == 1:
            for unit in units:
                for table, values in unit.tables(1).items():
                    slave.set(unit.address, table, values)
        deadline = time.monotonic() + PATIENCE
        while missing := [name for name in points if turns.get(name, -1) < turn and differs(points[name], turn)]:
            assert time.monotonic() < deadline, f"turn {turn}: not seen: {missing[:20]}"
            for record in curl.pull():
                take(record, points[record["n"]], turn, turns)
                assert began - 1 < record["t"] < time.time() + 1, record
        wrong = None

        def all_shown():
            # A device that a stalled machine kept from answering is bad for a moment; a wrong value stays.
            nonlocal wrong
            wrong = [(shown, points[shown["n"]].seen[turn]) for shown in curl.get("/v1/points")["points"]
                     if not equal(shown, points[shown["n"]].seen[turn], points[shown["n"]])]
            assert not any(shown["q"] == "good" for shown, _ in wrong), wrong
            return not wrong

        poll(all_shown, lambda: wrong[:5], every=0.5)

    # Nothing but the unmapped points was refused, and nothing else went wrong.
    unmapped = {f"unit-{unit.address}" for unit in units for point in unit.points if "unmapped" in point.name}
    for device in curl.get("/v1/devices")["devices"]:
        # A slave that its machine stops for longer than it usually thinks has a timeout; one that is not understood has many.
        assert device["timeouts"] * 10 <= device["good"] + 10 and device["crc_errors"] <= device["timeouts"], device
        assert (device["exceptions"] > 0) == (device["name"] in unmapped), device


def differs(point, turn):
    """Whether a record is due in this turn: only what changes is reported."""
    return turn == 0 or point.seen[0] != point.seen[1]


def take(record, point, turn, turns):
    """Every single record is of this turn, or of the one before as long as this one was not seen. What could not be read for a
    moment, because its slave was not let run, is no value: it comes later, or is missed."""
    if record["q"] == "bad" and point.seen[turn]["q"] != "bad":
        return
    if equal(record, point.seen[turn], point):
        turns[record["n"]] = turn
        return
    before = turns.get(record["n"], -1)
    assert turn == 1 and before < 1 and equal(record, point.seen[0], point), (
        f"turn {turn}: {record}; set was {point.seen[turn]} (held: {point.held[turn]}, order {point.order})")
