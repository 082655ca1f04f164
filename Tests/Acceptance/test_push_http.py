"""The box pushes over HTTP: to a real server, through TLS, a proxy, a narrow way, and an outage."""

import gzip
import json
import os
import ssl

from certificates import Authority
from client import BatchID
from running import PATIENCE, Consumer, poll, run
from taker import Proxy, Taker
from test_conservation import community, settle
from way import Way

OUTAGE_SECONDS = float(os.environ.get("KERB_OUTAGE_SECONDS", "15"))


def push(url, name="city", **keys):
    keys = {"kind": "http", "url": url, "spread": "0s", "personal": "pseudonym", **keys}
    return f'[[push]]\nname = "{name}"\n' + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def secret(house, name, text):
    path = house.folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return str(path)


def told(agent, name="city"):
    [consumer] = [each for each in agent.status()["consumers"] if each["name"] == name]
    return consumer["push"]


def context(authority, name="platform", with_clients=False, **options):
    certificate, key, _ = authority.sign(name, **options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if with_clients:
        context.load_verify_locations(authority.path)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_everything_arrives_over_tls_with_token_certificate_and_gzip_whatever_the_platform_answers(house):
    site, buses = community(house.folder)
    authority = Authority(house.folder)
    (house.folder / "box").mkdir()
    certificate, key, _ = authority.sign("box")
    taker = Taker(house, context(authority, with_clients=True), token="a-token")
    # Each tenth answer is lost, and some refuse.
    answers = {3: (503, {}), 7: (429, {"Retry-After": "1"}), 11: "gone", 13: (500, {})}
    taker.refusals = lambda number: answers.get(number) or ("lost" if number % 10 == 9 else None)
    house.site(site)
    account = house.folder / "account.json"
    agent = house.agent(
        buses + push(
            f"https://127.0.0.1:{taker.port}/in?box=1", token_file=secret(house, "token", "a-token"), gzip=True,
            ca_file=str(authority.path), certificate=str(certificate), key=str(key)),
        account=account)
    poll(lambda: len(taker.requests) > 40, lambda: f"bodies come: {told(agent)}", seconds=2 * PATIENCE)
    state = told(agent)
    assert state["deliveries"] > 20 and state["retries"] > 0 and state["bytes"] > 0
    assert all(path == "/in?box=1" for path, _, _ in taker.requests)
    bodies = {}
    for _, headers, body in taker.requests:
        key = headers["Idempotency-Key"]
        assert bodies.setdefault(key, body) == body, "a key has one body"
        told_of = json.loads(gzip.decompress(body) if headers.get("Content-Encoding") else body)
        ids = [BatchID(batch["id"]) for batch in told_of["batches"]]
        if len(ids) == 1 and not told_of["gaps"]:
            assert key == told_of["batches"][0]["id"], "one batch alone: its own id"
        else:
            store, epoch, lane, span, _ = key.split(".")
            assert (store, int(epoch), lane) == (ids[0].store, ids[0].epoch, ids[0].lane)
            assert span == f"{ids[0].first}-{ids[-1].last}"
    assert "alarms" in taker.lanes()
    assert "a-token" not in agent.log + json.dumps(agent.status())
    agent.stop()
    taker.rest()
    settle(agent, account, {"city": taker.ledger})


def test_a_certificate_that_is_not_trusted_or_not_yet_valid_is_said_and_a_renewed_one_needs_no_restart(house):
    site, buses = community(house.folder)
    authority = Authority(house.folder)
    (house.folder / "elsewhere").mkdir()
    stranger = Authority(house.folder / "elsewhere", "elsewhere")
    house.site(site)
    taker, early = Taker(house, context(stranger)), Taker(house, context(authority, "early", first_day=1))
    agent = house.agent(
        buses + push(f"https://127.0.0.1:{taker.port}/", ca_file=str(authority.path))
        + push(f"https://127.0.0.1:{early.port}/", "early", ca_file=str(authority.path)))
    poll(lambda: "not valid now" in told(agent, "early")["says"]["en"], lambda: told(agent, "early"))
    poll(lambda: "look at `ca_file`" in told(agent)["says"]["en"], lambda: told(agent))
    assert told(agent)["state"] in ("waiting", "connecting")
    assert "不" in told(agent)["says"]["zh"] or "无法" in told(agent)["says"]["zh"]
    assert taker.requests == early.requests == []
    authority.path.write_bytes(stranger.path.read_bytes())
    poll(lambda: taker.newest() > 0, lambda: told(agent))
    agent.stop()


def test_a_proxy_carries_http_whole_and_https_through_a_tunnel(house):
    site, buses = community(house.folder)
    authority = Authority(house.folder)
    house.site(site)
    secure, plain = Taker(house, context(authority, names=["city.example"])), Taker(house)
    proxy = Proxy(house)
    way = f"http://127.0.0.1:{proxy.port}"
    agent = house.agent(
        buses
        + push(f"https://city.example:{secure.port}/a", "secure", ca_file=str(authority.path), proxy=way)
        + push(f"http://127.0.0.1:{plain.port}/b", "plain", proxy=way))
    poll(lambda: secure.newest() > 0 and plain.newest() > 0, lambda: agent.status()["consumers"])
    assert f"CONNECT city.example:{secure.port} HTTP/1.1" in proxy.lines
    assert f"POST http://127.0.0.1:{plain.port}/b HTTP/1.1" in proxy.lines
    agent.stop()


def test_a_proxy_that_asks_for_a_password_gets_it_and_the_platform_and_the_log_never_do(house):
    site, buses = community(house.folder)
    authority = Authority(house.folder)
    house.site(site)
    secure, plain = Taker(house, context(authority, names=["city.example"])), Taker(house)
    proxy = Proxy(house, login="box:a-password")
    login = {
        "proxy": f"http://127.0.0.1:{proxy.port}", "proxy_username": "box",
        "proxy_password_file": secret(house, "password", "wrong")}
    agent = house.agent(
        buses
        + push(f"https://city.example:{secure.port}/a", "secure", ca_file=str(authority.path), **login)
        + push(f"http://127.0.0.1:{plain.port}/b", "plain", **login))
    for name in ("secure", "plain"):
        poll(lambda: "proxy_password_file" in told(agent, name)["says"]["en"], lambda: told(agent, name))
        assert told(agent, name)["needs_person"]
    assert proxy.refused and secure.requests == plain.requests == []
    secret(house, "password", "a-password")
    poll(lambda: secure.newest() > 0 and plain.newest() > 0, lambda: agent.status()["consumers"])
    # Without TLS every request is the proxy's to read, and to cleanse: this one does so with the first of a connection.
    assert all("proxy-authorization" not in map(str.lower, headers) for _, headers, _ in secure.requests)
    assert "a-password" not in agent.log + json.dumps(agent.status())
    agent.stop()


def test_a_day_without_a_platform_is_made_up_for_oldest_first_and_what_the_ring_lost_is_said(house):
    site, buses = community(house.folder)
    house.site(site)
    taker = Taker(house)
    way = Way(house, taker.port)
    way.shut()
    account = house.folder / "account.json"
    agent = house.agent(
        buses + push(f"http://127.0.0.1:{way.port}/"), telemetry="1MiB", account=account)
    poll(lambda: told(agent)["failures"] > 2, lambda: told(agent), seconds=OUTAGE_SECONDS + PATIENCE)
    [consumer] = [each for each in agent.status()["consumers"] if each["name"] == "city"]
    poll(lambda: agent.status()["uptime_s"] > OUTAGE_SECONDS, "the outage is over", seconds=OUTAGE_SECONDS + PATIENCE)
    assert taker.requests == [] and consumer["push"]["state"] in ("waiting", "connecting")
    metrics = run("status", *agent.files)
    assert "Push city:" in metrics.stdout and "can't be reached" in metrics.stdout
    way.open()
    poll(lambda: len(taker.requests) > 3 and told(agent)["state"] == "idle", lambda: told(agent), seconds=3 * PATIENCE)
    keys = [headers["Idempotency-Key"].split(".") for _, headers, _ in taker.requests]
    for lane in ("alarms", "telemetry"):
        firsts = [int(key[3].split("-")[0]) for key in keys if key[2] == lane]
        assert firsts == sorted(firsts), "the oldest first"
    agent.stop()
    taker.rest()
    settle(agent, account, {"city": taker.ledger})


def test_34_two_kilobytes_a_second_carry_what_comes_and_an_alarm_does_not_wait_long(house):
    site, buses = community(house.folder)
    house.site(site)
    taker = Taker(house)
    way = Way(house, taker.port, bytes_per_second=2_000)
    agent = house.agent(buses + push(f"http://127.0.0.1:{way.port}/", gzip=True, max_rate="20kB/s"))
    poll(lambda: taker.newest("alarms") > 1 and taker.newest() > 0, lambda: told(agent), seconds=2 * PATIENCE)
    assert told(agent)["failures"] == 0, told(agent)
    agent.stop()


def test_what_a_reload_changes_is_in_force_and_the_rest_is_not_touched(house):
    site, buses = community(house.folder)
    house.site(site)
    one, two = Taker(house), Taker(house)
    agent = house.agent(buses + push(f"http://127.0.0.1:{one.port}/", "one"), [Consumer("puller")])
    poll(lambda: one.newest() > 0, lambda: told(agent, "one"))
    text = agent.configuration.read_text()
    agent.configuration.write_text(text + push(f"http://127.0.0.1:{two.port}/", "two"))
    reloaded = agent.command("reload", "--json")
    assert reloaded.returncode == 0 and json.loads(reloaded.stdout) == {"applied": ["push two added"], "restart": []}
    poll(lambda: two.newest() > 0, lambda: told(agent, "two"))
    agent.configuration.write_text(text)
    assert json.loads(agent.command("reload", "--json").stdout)["applied"] == ["push two removed"]
    before = len(two.requests)
    poll(lambda: one.newest() > two.newest() + 10, "one goes on")
    assert len(two.requests) <= before + 1
    listed = json.loads(agent.command("consumer", "list", "--json").stdout)
    assert {each["name"]: each["push"] for each in listed} == {
        "puller": None, "one": f"http://127.0.0.1:{one.port}/"}
    agent.stop()
