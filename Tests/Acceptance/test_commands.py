"""A platform switches a lamp: through the bus, read back, told to the others; and what it may not, nothing does."""

from client import Client, records
from running import Consumer, poll

SITE = """
[[line]]
name = "street"
protocol = "modbus-rtu"
link = "{folder}/street"
baud = 115200
[[device]]
name = "lamp-3"
line = "street"
address = 3
profile = "streetlight/generic"
[[device]]
name = "lift-7"
line = "street"
address = 7
profile = "elevator/generic"
"""

BUSES = """
[[bus]]
name = "street"
protocol = "modbus-rtu"
port = "{folder}/street"
baud = 115200
[[device]]
name = "lamp-3"
bus = "street"
address = 3
profile = "streetlight/generic"
[[device]]
name = "lift-7"
bus = "street"
address = 7
profile = "elevator/generic"
"""


def test_a_lamp_is_switched_and_everybody_hears_of_it(house):
    site = house.site(SITE.replace("{folder}", str(house.folder)))
    consumers = [
        Consumer("lights", kinds=["streetlight"], commands=True), Consumer("lifts", kinds=["elevator"], commands=True),
        Consumer("bureau"),
    ]
    agent = house.agent(BUSES.replace("{folder}", str(house.folder)), consumers)
    poll(lambda: agent.status()["devices"]["online"] == 2, "both devices answer")
    lights, lifts, bureau = (Client(agent.port, consumer.token) for consumer in consumers)

    def command(client, device, point, value, **more):
        return client.post("/v1/commands", {"device": device, "point": point, "value": value}, **more)

    def lamp():
        return next(point for point in lights.get("/v1/points", device="lamp-3").json["points"] if point["point"] == "lamp")

    first = not lamp()["vb"]
    answer = command(lights, "lamp-3", "lamp", first, Idempotency_Key="one")
    assert answer.status == 200, answer.body
    assert answer.json["after"]["vb"] is first and answer.json["good"] and answer.json["logged"]
    poll(lambda: lamp()["vb"] is first, "the polls see it, too")
    again = command(lights, "lamp-3", "lamp", first, Idempotency_Key="one")
    assert again.body == answer.body and again.headers["idempotency-replayed"] == "true"
    # Nor after a reload that builds everything around the buses anew.
    agent.configuration.write_text(agent.configuration.read_text() + "[alarms]\nclock-wrong = false\n")
    assert "in force: alarms of the box changed" in agent.command("reload").stdout
    again = command(lights, "lamp-3", "lamp", first, Idempotency_Key="one")
    assert again.body == answer.body and again.headers["idempotency-replayed"] == "true"
    back = command(lights, "lamp-3", "lamp", "off" if first else "on")
    assert back.json["after"]["vb"] is not first

    told = [record for record in records(bureau.pull_all(lane="alarms")) if record.get("event") == "commanded"]
    assert [record["values"]["lamp"] for record in told] == [first, not first]
    assert all(record["by"] == "lights" and record["n"] == "box/lamp-3/command" for record in told)
    assert not any(record.get("event") == "commanded" for record in records(lifts.pull_all(lane="alarms")))

    # Nothing else is written, by nobody.
    assert command(lights, "lamp-3", "voltage", 1).status == 403
    assert command(lifts, "lift-7", "door_open", 1).status == 403
    assert command(lifts, "lamp-3", "lamp", 1).status == 403
    assert command(bureau, "lamp-3", "lamp", 1).status == 403
    journal = agent.log
    assert journal.count("command asked=") == 4, journal[-3000:]
    assert "consumer=lights" in journal

    # A device that says nothing: the platform hears that, and when.
    site.happen('device = "lamp-3", fault = "unplugged"')
    poll(lambda: any(each["event"] == "fault" for each in site.happenings()), "it is pulled out")
    lost = command(lights, "lamp-3", "lamp", True)
    assert lost.status == 504 and "nothing was written" in lost.json["detail"]
    agent.stop()
