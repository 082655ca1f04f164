"""Slaves of several makers, and a second master: what the agent reads is what they hold, and nobody disturbs anybody."""

import pytest

from foreign import Mbpoll, ModbusTk, PyModbusTCP, UModbus, values
from running import free_port, poll
from slave import Slave
from wire import Line

UNIT = 9
BAUD = 19_200


def points(every):
    text = ""
    for table, held in values(0).items():
        kind = "bool" if table in ("coil", "discrete") else "u16"
        for place in range(len(held)):
            text += (
                f'[[device.point]]\nname = "{table}-{place}"\nread = "{table} {place}"\ntype = "{kind}"\n'
                f'every = "{every}"\n')
    return text


def device(every="250ms", unit=UNIT):
    return f'[[device]]\nname = "slave"\nbus = "line"\naddress = {unit}\n{points(every)}'


def held(agent):
    """What the agent has read last, by table; None where there is nothing good."""
    found = {table: [None] * len(each) for table, each in values(0).items()}
    for point in agent.ask("points", device="slave"):
        table, place = point["point"].rsplit("-", 1)
        if point["q"] == "good":
            found[table][int(place)] = point.get("vb", point.get("v"))
    return found


def expect_undisturbed(agent, wanted):
    """So many requests in a row were answered, each by the right reply. A slave that its machine stops for longer than the
    timeout learned of it (25 ms at the least) has a timeout; after that the row begins anew."""
    troubles = ("timeouts", "late_replies", "crc_errors", "stray_bytes")
    begin = dict.fromkeys((*troubles, "transactions", "good"), 0)

    def is_calm():
        nonlocal begin
        bus = agent.bus("line")
        assert bus["exceptions"] == 0, bus
        if any(bus[trouble] != begin[trouble] for trouble in troubles):
            assert bus["timeouts"] > begin["timeouts"] or bus["late_replies"] > begin["late_replies"], bus
            begin = bus
        count, good = bus["transactions"] - begin["transactions"], bus["good"] - begin["good"]
        # One may be under way.
        return good >= wanted and 0 <= count - good <= 1

    poll(is_calm, lambda: (begin, agent.bus("line")))


@pytest.mark.parametrize("maker, kind", [
    (UModbus, "rtu"), (UModbus, "tcp"), (ModbusTk, "rtu"), (ModbusTk, "tcp"), (PyModbusTCP, "tcp")])
def test_every_maker_is_read_as_it_says(house, maker, kind):
    if kind == "rtu":
        line = Line()
        house.at_the_end(line.close)
        slave = maker(UNIT, path=line.far_path, baud=BAUD)
        bus = f'protocol = "modbus-rtu"\nport = "{line.path}"\nbaud = {BAUD}\nresponse_timeout = "2s"\n'
    else:
        port = free_port()
        slave = maker(UNIT, port=port)
        bus = f'protocol = "modbus-tcp"\nhost = "127.0.0.1:{port}"\n'
    house.at_the_end(slave.close)
    # uModbus answers a serial request half a second late.
    slow = maker is UModbus and kind == "rtu"
    agent = house.agent(f'[[bus]]\nname = "line"\n{bus}' + device("4s" if slow else "250ms"))
    poll(lambda: held(agent) == values(0), lambda: f"first values: {held(agent)}")
    slave.set(1)
    poll(lambda: held(agent) == values(1), lambda: f"second values: {held(agent)}")
    expect_undisturbed(agent, 4 if slow else 40)


def test_a_second_master_on_the_same_server_disturbs_nobody(house):
    port = free_port()
    slave = Slave({UNIT: values(0)}, tcp_port=port)
    house.at_the_end(slave.close)
    agent = house.agent(
        f'[[bus]]\nname = "line"\nprotocol = "modbus-tcp"\nhost = "127.0.0.1:{port}"\n' + device("0s"))
    other = Mbpoll("-m", "tcp", "-p", port, "127.0.0.1", unit=UNIT, reference=0, count=4)
    house.at_the_end(other.kill)
    poll(lambda: held(agent) == values(0), lambda: f"{held(agent)}")
    expect_undisturbed(agent, 200)
    poll(lambda: len(other.read()[0]) > 10, lambda: other.read())
    polls, complaints = other.stop()
    wanted = dict(enumerate(values(0)["holding"]))
    assert complaints == []
    # The last one may have been cut short by the stop.
    assert all(each == wanted for each in polls[:-1]), polls[:3]


SITE = """
[[line]]
name = "line"
{line}
[[device]]
name = "lamp"
line = "line"
address = 3
profile = "streetlight/generic"
"""


@pytest.mark.parametrize("kind", ["tcp", "rtu"])
def test_a_foreign_master_reads_the_virtual_site(house, kind):
    link = house.folder / "line"
    if kind == "tcp":
        site = house.site(SITE.replace("{line}", 'protocol = "modbus-tcp"\nlisten = "127.0.0.1:0"'))
        host, port = site.address("line").rsplit(":", 1)
        target = ["-m", "tcp", "-p", port, host]
    else:
        site = house.site(SITE.replace("{line}", f'protocol = "modbus-rtu"\nlink = "{link}"\nbaud = {BAUD}'))
        target = ["-m", "rtu", "-b", BAUD, "-P", "none", link]
    # Voltage, current and what follows: the profile says from 0 on.
    other = Mbpoll(*target, unit=3, reference=0, count=2, kind="3")
    house.at_the_end(other.kill)
    if kind == "tcp":
        # Two masters at once, as a site with a display beside the gateway has them.
        agent = house.agent(
            f'[[bus]]\nname = "line"\nprotocol = "modbus-tcp"\nhost = "{host}:{port}"\n'
            '[[device]]\nname = "lamp"\nbus = "line"\naddress = 3\nprofile = "streetlight/generic"\n')
        poll(lambda: agent.status()["devices"]["online"] == 1, "the agent reads it, too")
    before = len(other.read()[0])
    poll(lambda: len(other.read()[0]) > before + 10, lambda: other.read())
    polls, complaints = other.stop()
    assert complaints == [], complaints
    assert all(set(each) == {0, 1} for each in polls[:-1]), polls[:3]
