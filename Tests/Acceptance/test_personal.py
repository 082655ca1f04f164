"""A card number becomes a pseudonym when it is read: in the clear it is nowhere, and no two platforms can join on it."""

import contextlib
import gzip
import itertools
import json
import re
import signal

from client import Client, records
from running import Consumer, free_port, poll

# The decimal digits of a card are the card, whether a reader sends them as text or a controller as an integer.
ALICE, BOB = "8675309124", "4815162342"

SITE = """
[[line]]
name = "gates"
protocol = "modbus-rtu"
link = "{folder}/gates"
baud = 115200
[[line]]
name = "cards"
protocol = "serial"
link = "{folder}/cards"
[[device]]
name = "gate"
line = "gates"
address = 1
profile = "access-gate/generic"
[[device]]
name = "reader"
line = "cards"
profile = "access-gate/card-reader"
"""

BUSES = """
[[bus]]
name = "gates"
protocol = "modbus-rtu"
port = "{folder}/gates"
baud = 115200
[[bus]]
name = "cards"
protocol = "serial"
port = "{folder}/cards"
[[device]]
name = "gate"
bus = "gates"
address = 1
profile = "access-gate/generic"
[[device]]
name = "reader"
bus = "cards"
profile = "access-gate/card-reader"
"""


def forms(card):
    """How a card could hide in bytes: as digits, and as an integer in each order of bytes and words, whole or without its
    leading zeros."""
    number = int(card)
    whole = number.to_bytes(8, "big")
    words = [whole[index:index + 2] for index in range(0, 8, 2)]
    packed = {card.encode(), whole, whole[::-1], b"".join(reversed(words)), b"".join(word[::-1] for word in words)}
    shortest = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return packed | {shortest, shortest[::-1], bytes.fromhex(card)}


class Watcher:
    """One platform, and every card that it was told of, by device."""

    def __init__(self, agent, consumer):
        self.client = Client(agent.port, consumer.token)
        self.seen = {"gate": [], "reader": [], "turnstile": []}
        self.others = 0
        self.bodies = []

    def look(self):
        answer = self.client.get("/v1/batches", after=self.client.cursor)
        self.bodies.append(answer.body)
        if answer.status == 204:
            return self
        self.client.cursor = answer.json["next"]
        for record in records([answer.json]):
            _, device, point = record["n"].split("/")
            if point == "card":
                if record["q"] == "good":
                    self.seen[device].append(record["vs"])
            else:
                self.others += 1
        return self


def test_a_card_number_is_nowhere_in_the_clear(house):
    site = house.site(SITE.replace("{folder}", str(house.folder)))
    consumers = [
        Consumer("office", personal="pseudonym"), Consumer("police", personal="pseudonym"),
        Consumer("water", personal="omit"), Consumer("usual"),
    ]
    agent = house.agent(BUSES.replace("{folder}", str(house.folder)), consumers)
    office, police, water, usual = watchers = [Watcher(agent, consumer) for consumer in consumers]
    poll(lambda: agent.status()["devices"]["online"] >= 1, "the gate answers")
    poll(lambda: agent.bus("cards")["state"] == "running", lambda: agent.bus("cards"))

    def show(device, card):
        """Another card than the last one there: a gate that was not reached for a moment tells that one again."""
        known = office.seen[device][-1:]
        site.happen(f'device = "{device}", point = "card", value = ' + (f'"{card}"' if device == "reader" else card))

        def arrived():
            agent.ask("flush")
            return office.look().seen[device][-1:] != known

        poll(arrived, f"{card} at {device} arrives")

    for device in ("reader", "gate"):
        for card in (ALICE, BOB, ALICE):
            show(device, card)
    said = agent.command("points")
    tools = [said.stdout, agent.command("points", "--json").stdout, agent.command("alarms", "--all", "--json").stdout]
    assert "***" in said.stdout and "gate/card" in said.stdout
    # What was heard of the cards is seen, as zeros; the bundle for whoever helps from afar has none of it.
    capture, bundle = house.folder / "cards.pcapng", house.folder / "box.tar.gz"
    for bus in ("cards", "gates"):
        frames = [json.loads(each) for each in agent.command("monitor", bus, "--seconds", 0, "--json").stdout.splitlines()]
        heard = [each for each in frames if each["kind"] == "reply"]
        assert heard and all(each["masked"] for each in heard), frames
        tools.append(json.dumps(frames))
        tools.append(agent.command("monitor", bus, "--seconds", 0, "--bytes", "--write", capture).stdout)
        tools.append(capture.read_bytes().decode("latin-1"))
    assert agent.command("doctor", "--bundle", bundle).returncode in (0, 1)
    tools.append(gzip.decompress(bundle.read_bytes()).decode("latin-1"))

    agent.stop()
    agent.start()
    site.happen('device = "gate", point = "card", value = 0')
    poll(lambda: agent.status()["devices"]["online"] >= 1, "the gate answers again")
    poll(lambda: agent.bus("cards")["state"] == "running", lambda: agent.bus("cards"))
    for device in ("reader", "gate"):
        show(device, BOB)

    for watcher in watchers:
        watcher.look()
        while watcher.look().bodies[-1]:
            pass
        for path in ("/v1/points", "/v1/devices", "/v1/alarms", "/v1/schema"):
            watcher.bodies.append(watcher.client.get(path).body)

    # Each platform knows every card by one name that stays, also over a restart, and by whichever reader it was shown to.
    names = []
    for watcher in (office, police):
        alice, bob, again, after = watcher.seen["reader"]
        assert alice == again and bob == after and alice != bob
        # At the gate a card stays in its register until the next one, and may be read twice.
        assert [name for name, _ in itertools.groupby(watcher.seen["gate"])] == [alice, bob, alice, bob]
        assert all(re.fullmatch("[0-9a-f]{32}", name) for name in (alice, bob))
        names.append({alice, bob})
    assert not names[0] & names[1], "two platforms could join their records on a card"

    # Who did not ask for pseudonyms gets everything but the cards, and not even their names.
    for watcher in (water, usual):
        assert not any(watcher.seen.values()) and watcher.others > 0
        assert not any(b"/card" in body or b'"card"' in body for body in watcher.bodies)
    told = names[0] | names[1]
    assert not any(name.encode() in body for watcher in (water, usual) for body in watcher.bodies for name in told)

    def everything():
        for watcher in watchers:
            yield from (("an answer", body) for body in watcher.bodies)
        yield from (("a tool", text.encode("latin-1", "replace")) for text in tools)
        yield "the log", agent.log.encode()
        files = [path for folder in (agent.state, agent.runtime) for path in folder.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= {"telemetry.db", "alarm.db", "box.key"}
        yield from ((path, path.read_bytes()) for path in files)

    def search():
        for place, data in everything():
            for card in (ALICE, BOB):
                for form in forms(card):
                    assert form not in data, f"card {card} stands as {form} in {place}"
                    assert place != "a tool" or form.hex().encode() not in data.lower(), f"{form} in hexadecimal in {place}"

    search()
    agent.stop()
    search()
    # The search can find: the site, which is the street outside, did say the numbers.
    assert ALICE in site.process.output


def test_keys_are_rotated(house):
    """Another key for one platform, then for the box: other names for the same card, and the cursors go on."""
    site = house.site(SITE.replace("{folder}", str(house.folder)))
    consumers = [Consumer("office", personal="pseudonym"), Consumer("police", personal="pseudonym")]
    agent = house.agent(BUSES.replace("{folder}", str(house.folder)), consumers)
    watchers = [Watcher(agent, consumer) for consumer in consumers]
    office, police = watchers

    def show():
        known = len(office.seen["reader"])
        # A reader speaks once; what it said before the line was opened is nobody's.
        poll(lambda: agent.bus("cards")["state"] == "running", lambda: agent.bus("cards"))
        site.happen(f'device = "reader", point = "card", value = "{ALICE}"')

        def arrived():
            agent.ask("flush")
            return len(office.look().seen["reader"]) > known

        poll(arrived, "the card arrives")
        police.look()
        return [watcher.seen["reader"][-1] for watcher in watchers]

    first = show()
    assert agent.command("consumer", "rotate", "office", "--pseudonyms").returncode == 0
    other = show()
    assert other[0] != first[0] and other[1] == first[1]
    assert agent.command("consumer", "rotate", "office", "--pseudonyms").returncode == 0
    assert "pseudonym_key = 3" in agent.configuration.read_text()
    third = show()
    assert len({first[0], other[0], third[0]}) == 3 and third[1] == first[1]
    asked = agent.command("key", "rotate")
    assert asked.returncode == 64 and "--yes" in asked.stderr
    assert agent.command("key", "rotate", "--yes").returncode == 0
    assert show() == third, "until the next start"
    agent.stop()
    agent.start()
    last = show()
    assert last[0] not in (first[0], other[0], third[0]) and last[1] != first[1]
    # Nobody was sent back to the beginning.
    assert [len(watcher.seen["reader"]) for watcher in watchers] == [5, 5]


def remains(pid, needles):
    """Where in the memory of a process something stands that must not: the mapping, and what is around it."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *rest = line.split()
            if "r" not in rights or "w" not in rights:
                continue
            begin, end = (int(part, 16) for part in span.split("-"))
            memory.seek(begin)
            with contextlib.suppress(OSError):
                data = memory.read(end - begin)
                for needle in needles:
                    at = data.find(needle)
                    if at >= 0:
                        found.append((needle, rest[-1] if len(rest) > 3 else "anonymous", hex(begin + at), data[max(0, at - 32):at + 32]))
    return found


def test_a_card_number_is_not_left_in_memory(house):
    """As if somebody took a core of the agent: what the line brought is wiped once it is a pseudonym."""
    port = free_port()
    device = '[[device]]\nname = "turnstile"\naddress = 2\nprofile = "access-gate/generic"\n'
    site = house.site(
        SITE.replace("{folder}", str(house.folder))
        + f'[[line]]\nname = "tcp"\nprotocol = "modbus-tcp"\nlisten = "127.0.0.1:{port}"\n{device}line = "tcp"\n')
    agent = house.agent(
        BUSES.replace("{folder}", str(house.folder))
        + f'[[bus]]\nname = "tcp"\nprotocol = "modbus-tcp"\nhost = "127.0.0.1:{port}"\n{device}bus = "tcp"\n',
        [Consumer("office", personal="pseudonym")])
    office = Watcher(agent, agent.consumers["office"])
    poll(lambda: agent.status()["devices"]["online"] >= 2, "the gates answer")
    poll(lambda: agent.bus("cards")["state"] == "running", lambda: agent.bus("cards"))
    for card in (ALICE, BOB):
        for device in ("reader", "gate", "turnstile"):
            known = office.seen[device][-1:]
            site.happen(f'device = "{device}", point = "card", value = ' + (f'"{card}"' if device == "reader" else card))

            def arrived():
                agent.ask("flush")
                return office.look().seen[device][-1:] != known

            poll(arrived, f"{card} at {device} arrives")
            # What the tools show, and what a platform gets, goes through memory, too.
            agent.command("points")
            agent.command("monitor", "gates", "--seconds", 0)
            agent.command("monitor", "cards", "--seconds", 0, "--bytes")
    # The gates fall silent with the card still in their registers: nothing that comes after covers what came before.
    for device in ("gate", "turnstile"):
        site.happen(f'device = "{device}", fault = "unplugged"')
    poll(lambda: agent.status()["devices"]["offline"] == 2, "the gates are missed")
    agent.process.send(signal.SIGSTOP)
    try:
        found = remains(agent.process.popen.pid, {form for card in (ALICE, BOB) for form in forms(card)})
        # The search can find: what it looks for stands there in another form.
        assert remains(agent.process.popen.pid, [b"access-gate"])
    finally:
        agent.process.send(signal.SIGCONT)
    assert not found, "\n".join(map(str, found))
