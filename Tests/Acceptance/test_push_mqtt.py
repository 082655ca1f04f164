"""The box pushes to mosquitto, and mosquitto_sub behind it gets everything, through killed brokers and killed agents."""

import json
import os
import random
import re
import shutil
import subprocess
import urllib.request

import cbor2
import pytest

from broker import Broker, Subscriber
from certificates import Authority
from client import BatchID
from running import PATIENCE, Consumer, poll
from test_conservation import community
from test_push_http import push, secret, told
from way import Socks, Way

KILLS = int(os.environ.get("KERB_BROKER_KILLS", "10"))


def mqtt(url, name="city", **keys):
    return push(url, name, kind="mqtt", **keys)


def test_presence_is_retained_and_the_last_will_speaks_for_a_killed_box(house):
    site, buses = community(house.folder)
    house.site(site)
    broker = Broker(house).start()
    subscriber = Subscriber(house, broker)
    subscriber.wait()
    agent = house.agent(buses + mqtt(broker.url))
    poll(lambda: subscriber.ledger().delivered("telemetry"), lambda: told(agent))
    assert subscriber.last("kerb/box/status") == "online"
    topics = {topic for topic, _, _ in subscriber.messages()}
    assert topics <= {"kerb/box/status", "kerb/box/alarms", "kerb/box/telemetry"}
    agent.kill()
    poll(lambda: subscriber.last("kerb/box/status") == "offline", "the last will speaks")
    agent.start()
    poll(lambda: subscriber.last("kerb/box/status") == "online", "it is back")
    agent.stop()
    assert poll(lambda: subscriber.last("kerb/box/status") == "offline", "it says goodbye")
    # Whoever comes later is told.
    late = Subscriber(house, broker, "kerb/box/status", "late")
    poll(lambda: list(late.messages()) == [("kerb/box/status", True, "offline")], "it is retained")


def test_mqtt_5_over_tls_with_password_and_certificate_carries_senml_with_ids(house):
    site, buses = community(house.folder)
    house.site(site)
    authority = Authority(house.folder)
    certificate, key, _ = authority.sign("broker")
    own, own_key, _ = authority.sign("box")
    passwords = house.folder / "passwords"
    subprocess.run(
        [shutil.which("mosquitto_passwd"), "-b", "-c", str(passwords), "box", "a-password"], check=True, timeout=PATIENCE)
    for path in (certificate, key, own, own_key, passwords):
        path.chmod(0o640)
    lines = (
        f"user root\ncafile {authority.path}\ncertfile {certificate}\nkeyfile {key}\nrequire_certificate true\n"
        f"password_file {passwords}\nallow_anonymous false\n")
    broker = Broker(house, lines, "mqtts").start()
    trust = ["--cafile", authority.path, "--cert", own, "--key", own_key, "-u", "box", "-P", "a-password"]
    subscriber = Subscriber(
        house, broker, arguments=[*trust, "-V", "mqttv5", "-F", "%t %r %P %C %p"], name="senml")
    subscriber.wait()
    agent = house.agent(
        buses + mqtt(
            broker.url, protocol="5", format="senml+json", username="box", ca_file=str(authority.path),
            certificate=str(own), key=str(own_key), password_file=secret(house, "password", "a-password")))
    poll(lambda: "senml+json" in subscriber.process.output, lambda: told(agent))
    line = next(line for line in subscriber.process.output.split("\n") if "senml+json" in line and "telemetry" in line)
    head, _, payload = line.partition(" [")
    assert "id:" in head and ".telemetry." in head
    assert all("n" in record for record in json.loads("[" + payload))
    assert "a-password" not in agent.log
    # A wrong password is a person's matter.
    (house.folder / "password").write_text("wrong\n")
    broker.kill()
    broker.start()
    poll(lambda: told(agent)["needs_person"], lambda: told(agent))
    assert "username" in told(agent)["says"]["en"]
    agent.stop()


@pytest.mark.parametrize("form", ["senml+json", "senml+cbor"])
def test_mqtt_3_1_1_carries_senml_with_the_id_of_each_batch_in_its_topic_and_repetitions_are_known_by_it(house, form):
    site, buses = community(house.folder)
    house.site(site)
    broker = Broker(house).start()
    # The box comes only when the platform is there.
    way = Way(house, broker.port)
    # The payload in hexadecimal: a pack of CBOR is no text.
    subscriber = Subscriber(house, broker, "kerb/box/#", arguments=["-V", "mqttv311", "-F", "%t %r %x"])
    subscriber.wait()
    account = house.folder / "account.json"
    agent = house.agent(buses + mqtt(f"mqtt://127.0.0.1:{way.port}", format=form), account=account)
    read = cbor2.loads if form == "senml+cbor" else json.loads
    label = 0 if form == "senml+cbor" else "n"

    def packs():
        """By their ids, and how many came again: an id has one content."""
        found, repeats = {}, 0
        for topic, _, payload in subscriber.messages():
            if topic == "kerb/box/status":
                continue
            *place, lane, name = topic.split("/")
            pack = read(bytes.fromhex(payload))
            assert place == ["kerb", "box"] and f".{lane}." in name and pack, topic
            repeats += name in found
            assert found.setdefault(name, pack) == pack, f"one id, two contents: {name}"
        return found, repeats

    def count():
        return sum(topic != "kerb/box/status" for topic, _, _ in subscriber.messages())

    for kill in range(4):
        before = count()
        poll(lambda: count() > before, lambda: told(agent))
        # What the broker takes now it takes for nothing: the box never hears of it, and sends it again.
        way.keeps_answers = True
        kept = way.kept
        # An acknowledgement has four bytes.
        poll(lambda: way.kept >= kept + 4, lambda: told(agent))
        way.shut()
        if kill % 2:
            agent.kill()
        way.keeps_answers = False
        way.open()
        if kill % 2:
            agent.start(account=account)
    poll(lambda: any("/alarms/" in topic for topic, _, _ in subscriber.messages()), "an alarm came")
    before = count()
    poll(lambda: count() > before, lambda: told(agent))
    agent.stop()
    found, repeats = packs()
    print(f"{len(found)} packs, {repeats} of them twice")
    assert repeats > 0, "what was taken and not acknowledged comes again"
    covered = {"alarms": set(), "telemetry": set()}
    for name, pack in found.items():
        if ".gaps." in name:
            assert [record[label] for record in pack] == ["box/gap"] * len(pack)
            continue
        batch = BatchID(name)
        assert len(pack) == len(batch.sequences), name
        assert covered[batch.lane].isdisjoint(batch.sequences), f"{name}: a record under two ids"
        covered[batch.lane].update(batch.sequences)
    final = json.loads(account.read_text())
    [told_of] = [each for each in final["consumers"] if each["name"] == "city"]
    for lane, sequences in covered.items():
        assert sequences == set(range(1, max(sequences) + 1)), f"{lane}: nothing is missing"
        assert told_of[f"held_{lane}"] <= max(sequences)


def test_a_socks_proxy_is_gone_through(house):
    site, buses = community(house.folder)
    house.site(site)
    broker = Broker(house).start()
    subscriber = Subscriber(house, broker)
    subscriber.wait()
    proxy = Socks(house)
    agent = house.agent(
        buses + mqtt(f"mqtt://broker.example:{broker.port}", proxy=f"socks5://127.0.0.1:{proxy.port}", insecure=True))
    poll(lambda: subscriber.ledger().delivered("telemetry"), lambda: told(agent))
    assert proxy.asked == [f"broker.example:{broker.port}"]
    agent.stop()


def test_a_socks_proxy_that_asks_for_a_password_gets_it(house):
    site, buses = community(house.folder)
    house.site(site)
    broker = Broker(house).start()
    subscriber = Subscriber(house, broker)
    subscriber.wait()
    proxy = Socks(house, login="box:a-password")
    agent = house.agent(
        buses + mqtt(
            f"mqtt://broker.example:{broker.port}", proxy=f"socks5://127.0.0.1:{proxy.port}", insecure=True,
            proxy_username="box", proxy_password_file=secret(house, "password", "wrong")))
    poll(lambda: "proxy_password_file" in told(agent)["says"]["en"], lambda: told(agent))
    assert proxy.refused and told(agent)["needs_person"]
    secret(house, "password", "a-password")
    poll(lambda: subscriber.ledger().delivered("telemetry"), lambda: told(agent))
    assert "a-password" not in agent.log
    agent.stop()


def test_a_broker_without_a_subscriber_throws_away_what_it_acknowledges_and_the_box_says_so(house):
    site, buses = community(house.folder)
    house.site(site)
    broker = Broker(house).start()
    agent = house.agent(buses + mqtt(broker.url, protocol="5"), [Consumer("prometheus", metrics="all")])
    poll(lambda: told(agent)["nobody_listens"], lambda: told(agent))
    state = told(agent)
    assert state["unheard"] == state["deliveries"] > 0 and not state["failing"]
    assert "nobody is subscribed" in state["says"]["en"] and "无人订阅" in state["says"]["zh"]
    assert agent.log.count("nobody is subscribed") == 1
    assert "bind a durable queue" in agent.command("doctor").stdout
    request = urllib.request.Request(
        f"http://127.0.0.1:{agent.port}/metrics",
        headers={"Authorization": f"Bearer {agent.consumers['prometheus'].token}"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        metrics = answer.read().decode()
    assert re.search(r'^kerb_push_unheard_total\{push="city"\} [1-9]', metrics, re.M), metrics
    subscriber = Subscriber(house, broker)
    subscriber.wait()
    poll(lambda: not told(agent)["nobody_listens"], lambda: told(agent))
    assert "somebody listens now" in agent.log
    agent.stop()


def test_mosquitto_sub_has_each_batch_through_killed_brokers_and_killed_agents(house):
    site, buses = community(house.folder)
    house.site(site)
    broker = Broker(house).start()
    # The box comes to a broker only when the platform is there: what a broker throws away for want of a subscriber,
    # and what one forgets when it is killed, is no fault of the box.
    way = Way(house, broker.port)
    subscriber = Subscriber(house, broker)
    subscriber.wait()
    account = house.folder / "account.json"
    agent = house.agent(buses + mqtt(f"mqtt://127.0.0.1:{way.port}", max_body="8KiB"), account=account)
    chance = random.Random(3)
    for kill in range(KILLS):
        before = subscriber.size
        poll(lambda: subscriber.size > before, lambda: told(agent))
        carried = way.carried
        poll(lambda: way.carried > carried + chance.randrange(3_000), "it is in the midst of it")
        way.is_shut = True
        broker.kill()
        way.shut()
        if kill % 7 == 6:
            agent.kill()
        broker.start()
        subscriber.wait()
        way.open()
        if kill % 7 == 6:
            agent.start(account=account)
    poll(lambda: told(agent)["deliveries"] > 2 and told(agent)["state"] == "idle", lambda: told(agent))
    ledger = subscriber.ledger()
    if KILLS >= 100:
        assert ledger.repeats > 0, "kills in the midst of it repeat something"
    ends = ledger.check_continuity()
    print(f"{KILLS} kills: {len(ledger.batches)} batches, {ledger.repeats} of them twice, up to {ends}")
    status = agent.status()
    agent.stop()
    ledger = subscriber.ledger()
    ends = ledger.check_continuity()
    assert ends["telemetry"] >= status["buffer"]["durable"]["telemetry"] - 2_000
    final = json.loads(account.read_text())
    [told_of] = [each for each in final["consumers"] if each["name"] == "city"]
    assert told_of["held_alarms"] <= ends["alarms"] and told_of["held_telemetry"] <= ends["telemetry"]
