"""docs/platforms: what stands on the pages is what runs here, against a box on loopback; every record arrives, once."""

import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from certificates import Authority
from recipes import PLATFORMS, Box, batches, blocks, is_enough, needs, output, pages, pass_time, rows, unpack
from running import PATIENCE, REPOSITORY, free_port, poll

sys.path.insert(0, str(REPOSITORY / "Tests" / "Fleet"))

from cluster import SBIN, Cluster  # noqa: E402


@pytest.mark.parametrize("page", [*pages(), "README"])
def test_a_page_is_there_in_both_languages_with_the_same_code(page):
    english, chinese = PLATFORMS / f"{page}.md", PLATFORMS / f"{page}.zh-CN.md"
    assert blocks(english) == blocks(chinese)
    assert f"({page}.zh-CN.md)" in english.read_text() and f"({page}.md)" in chinese.read_text()
    if page != "README":
        assert blocks(english) and all(name for _, name, _ in blocks(english)), "each block is a file"
        assert f"({page}.md)" in (PLATFORMS / "README.md").read_text()
        assert f"({page}.zh-CN.md)" in (PLATFORMS / "README.zh-CN.md").read_text()


def kill_and_start_again(start, times, done, chance):
    """A program that may be killed at any moment: `times` it is, and the last one runs until `done`."""
    for _ in range(times):
        process = start()
        pass_time(chance.uniform(0.1, 0.9))
        process.kill()
    process = start()

    def is_done():
        """What ends at an error is started again, as the page says."""
        nonlocal process
        if not process.is_running:
            pass_time(1)
            process = start()
        return done()

    poll(is_done, lambda: f"everything arrives:\n{process.log[-3000:]}", seconds=2 * PATIENCE, every=0.2)
    process.kill()


def test_python_stores_every_batch_once_though_it_is_killed(house):
    box = Box(house)
    folder = unpack("python", house.folder / "python")
    environment = {"KERB_URL": box.url, "KERB_TOKEN_FILE": str(box.token_file(folder / "token"))}

    stored = folder / "kerb.db"

    kill_and_start_again(
        lambda: house.process("pull-py", ["sh", "-c", f"cd {folder} && . ./run.sh"], environment=environment), 12,
        lambda: is_enough(batches(stored), 8), random.Random(3))
    box.check(batches(stored), [json.loads(gap) for _, gap in rows(stored, "SELECT store, gap FROM gap")])


class PostgreSQL:
    """A server of the test's own, of a user who is not root, on a socket in its folder; nothing listens on the network."""

    def __init__(self, house):
        initdb, self.postgres = needs("initdb", "postgres")
        root = os.getuid() == 0
        self.owner = pwd.getpwnam("postgres" if root else pwd.getpwuid(os.getuid()).pw_name)
        as_owner = ["setpriv", f"--reuid={self.owner.pw_uid}", f"--regid={self.owner.pw_gid}", "--clear-groups"] if root else []
        self.folder = Path(tempfile.mkdtemp(prefix="kerb-pg-"))
        os.chown(self.folder, self.owner.pw_uid, self.owner.pw_gid)
        house.at_the_end(lambda: shutil.rmtree(self.folder, ignore_errors=True))
        output([*as_owner, initdb, "-D", self.folder / "data", "-A", "trust", "-U", "kerb", "--no-sync", "-E", "UTF8"],
               timeout=4 * PATIENCE, cwd=self.folder)
        self.process = house.process(
            "postgres", [*as_owner, self.postgres, "-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses="])
        self.environment = {"PGHOST": str(self.folder), "PGUSER": "kerb", "PGDATABASE": "postgres"}
        poll(lambda: (self.folder / ".s.PGSQL.5432").exists(), lambda: self.process.log)
        poll(self.answers, lambda: self.process.log)

    def answers(self):
        try:
            return self.ask("SELECT 1") == [[1]]
        except AssertionError:
            return False

    def has(self, table):
        return self.ask(f"SELECT to_regclass('{table}') IS NOT NULL") == [[True]]

    def rest(self):
        """What a program that was killed had begun comes to its end."""
        poll(lambda: self.ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> "
                              "pg_backend_pid()") == [[0]], "nobody else is there")

    def ask(self, query):
        """Rows, each a list."""
        text = output([*needs("psql"), "-XqAt", "-c", f"SELECT json_build_array(t.*) FROM ({query}) AS t"],
                      env={**os.environ, **self.environment})
        return [list(json.loads(line)[0].values()) for line in text.splitlines()]


def test_postgresql_copies_every_record_once_though_it_is_killed(house):
    box = Box(house)
    server = PostgreSQL(house)
    folder = unpack("postgresql", house.folder / "postgresql")
    header = box.token_file(folder / "header", "Authorization: Bearer {}\n")
    environment = {**server.environment, "KERB_URL": box.url, "KERB_HEADER": str(header), "TMPDIR": str(folder)}
    needs("curl", "psql")

    def start():
        return house.process("pull-sh", ["bash", "-c", f"cd {folder} && exec bash pull.sh"], environment=environment)

    def enough():
        if not server.has("kerb.gap"):
            return False
        [[batches, alarms]] = server.ask(
            "SELECT count(*) AS batches, count(*) FILTER (WHERE lane = 'alarms') AS alarms FROM kerb.batch")
        return batches > 8 and alarms > 0 and server.ask("SELECT count(*) FROM kerb.record")[0][0] > 250

    kill_and_start_again(start, 12, enough, random.Random(4))
    server.rest()
    records = server.ask("SELECT batch, place, record, name, extract(epoch FROM time)::float8, value FROM kerb.record ORDER BY batch, place")
    batches = {}
    for batch, place, record, name, time, value in records:
        batches.setdefault(batch, []).append(record)
        assert place == len(batches[batch]) and name == record["n"] and abs(time - record["t"]) < 0.001
        assert value == record.get("v", record.get("vb")), record
    box.check(
        [{"id": id, "lane": id.split(".")[2], "records": records} for id, records in batches.items()],
        [gap for (gap,) in server.ask("SELECT gap FROM kerb.gap")])
    assert server.ask("SELECT count(*) FROM kerb.batch") == [[len(batches)]]


def test_prometheus_scrapes_with_a_token_from_a_file_and_sees_a_box_that_is_gone(house):
    box = Box(house)
    prometheus, _ = needs("prometheus", "promtool")
    # Fast enough for a test: nothing else is changed.
    folder = unpack("prometheus", house.folder / "prometheus", {
        "127.0.0.1:8480": f"127.0.0.1:{box.agent.port}", "scrape_interval: 30s": "scrape_interval: 1s\n  evaluation_interval: 1s",
        "for: 5m": "for: 1s"})
    box.token_file(folder / "token")
    box.token_file(folder / "header", "Authorization: Bearer {}\n")
    checked = output(["sh", "-e", "check.sh"], cwd=folder, env={**os.environ, "KERB_URL": box.url})
    assert "6 rules found" in checked, checked
    port = free_port()
    process = house.process("prometheus", [
        prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}"])

    def ask(query):
        address = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as response:
                return [(each["metric"], float(each["value"][1])) for each in json.load(response)["data"]["result"]]
        except OSError:
            return []

    poll(lambda: ask('up{job="kerb"} == 1'), lambda: process.log[-3000:])
    [(labels, stored)] = poll(lambda: ask("kerb_buffer_samples > 50"), "samples are counted")
    assert labels["site"] == "community-7" and labels["instance"] == f"127.0.0.1:{box.agent.port}"
    poll(lambda: len(ask("kerb_device_up == 1")) == box.devices, "all devices are up")
    # At the start one may have been missed for a moment.
    poll(lambda: ask('up{job="kerb"} == 1') and ask("ALERTS") == [], lambda: ask("ALERTS"))
    box.agent.stop()
    poll(lambda: ask('ALERTS{alertname="KerbBoxAway",alertstate="firing"}'), "the rule notices")


def test_collectd_reads_how_the_box_is_doing(house):
    box = Box(house)
    [collectd] = needs("collectd")
    folder = house.folder / "collectd"
    unpack("collectd", folder, {
        "/etc/collectd": str(folder), "/var/lib/collectd": str(folder), "http://127.0.0.1:8480": box.url, "TOKEN": box.consumer.token, "Interval 30": "Interval 1"})
    process = house.process("collectd", [collectd, "-f", "-C", folder / "collectd.conf", "-P", folder / "pid", "-B"])

    def value(key):
        files = list((folder / "csv").glob(f"box-0042/curl_json-kerb/gauge-{key}*"))
        # Whole lines behind the head: it is written at this moment.
        lines = files[0].read_text().split("\n")[1:-1] if files else []
        return float(lines[-1].split(",")[1]) if lines else None

    poll(lambda: value("devices-online") == box.devices, lambda: process.log[-3000:])
    poll(lambda: (value("you-lag_records") or 0) > 10, lambda: process.log[-3000:])
    process.stop()


def secret(path, text):
    """A file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text(text + "\n")
    return path


def sent(bodies):
    """The batches and gaps of bodies that a box pushed, each batch once, as a platform that keeps ids has them."""
    batches, gaps = {}, []
    for body in bodies:
        for batch in body["batches"]:
            known = batches.setdefault(batch["id"], batch)
            assert known == batch, f"one id, two contents: {batch['id']}"
        gaps += body["gaps"]
    return list(batches.values()), gaps


def test_webhook_stores_every_body_though_it_is_killed_and_its_command_fails(house):
    needs("webhook")
    folder, port = house.folder / "webhook", free_port()
    folder.mkdir()
    authority = Authority(folder)
    authority.sign("server", stem="cert")
    (folder / "cert.key").rename(folder / "key.pem")
    token = secret(folder / "city.token", "a-token-of-the-platform")
    unpack("webhook", folder, {
        "https://city.example/": f"https://127.0.0.1:{port}/", "/etc/kerb/city.token": str(token),
        "/etc/kerb/city-ca.pem": str(authority.path), "/opt/kerb": str(folder), "TOKEN": "a-token-of-the-platform",
        "-ip 0.0.0.0 -port 443": f"-ip 127.0.0.1 -port {port}", "set -eu": "set -eu\n[ ! -e broken ]",
        'kind = "http"': 'kind = "http"\nspread = "0s"'})
    box = Box(house, more=(folder / "push.toml").read_text())
    chance = random.Random(8)

    def start():
        (folder / "broken").unlink(missing_ok=True)
        return house.process("webhook", ["sh", "-c", f"cd {folder} && . ./run.sh"])

    for _ in range(5):
        process = start()
        pass_time(chance.uniform(0.3, 1))
        (folder / "broken").touch()
        pass_time(chance.uniform(0.3, 1))
        process.kill()
    start()

    def bodies():
        return [json.loads(path.read_text()) for path in (folder / "spool").glob("[!.]*.json")]

    poll(lambda: is_enough(sent(bodies())[0], 8), lambda: f"bodies arrive: {len(bodies())}\n{box.agent.log[-2000:]}")
    box.check(*sent(bodies()), atleast=200)


class Broker:
    """The files of a page, filled in for a broker on loopback: passwords, certificates, addresses."""

    def __init__(self, house, page, folder, port, more=None):
        self.folder, self.port, self.house = folder, port, house
        folder.mkdir()
        authority = Authority(folder, "ca")
        authority.sign("server", stem="cert")
        (folder / "cert.key").rename(folder / "key.pem")
        password = secret(folder / "box.password", "the-box-and-the-broker")
        secret(folder / "city.password", "the-city-and-the-broker")
        unpack(page, folder, {
            "mqtts://broker.example:8883": f"mqtts://127.0.0.1:{port}", "/etc/kerb/city.password": str(password),
            "/etc/kerb/city-ca.pem": str(authority.path), "box-0042": "box", "CITY-PASSWORD": "the-city-and-the-broker",
            'kind = "mqtt"': 'kind = "mqtt"\nspread = "0s"', **(more or {})})

    @property
    def push(self):
        return (self.folder / "push.toml").read_text()

    def shell(self, name, **environment):
        return output(["sh", "-ec", f". ./{name}"], cwd=self.folder, env={**os.environ, **environment}, timeout=4 * PATIENCE)


def test_mosquitto_has_every_batch_for_a_subscriber_that_was_away(house):
    mosquitto, _, _ = needs("mosquitto", "mosquitto_passwd", "mosquitto_sub")
    folder, port = house.folder / "mosquitto", free_port()
    broker = Broker(house, "mosquitto", folder, port, {
        "/etc/mosquitto/": f"{folder}/", "/var/lib/mosquitto": str(folder / "data"),
        "listener 8883": f"user {pwd.getpwuid(os.getuid()).pw_name}\nlistener {port} 127.0.0.1"})
    (folder / "data").mkdir()
    broker.shell("passwords.sh")

    def start(name="mosquitto"):
        process = house.process(name, [mosquitto, "-c", folder / "mosquitto.conf"])
        poll(lambda: "running" in process.log, lambda: process.log)
        return process

    def subscribe():
        return house.process(
            "subscriber", ["sh", "-c", f"cd {folder} && . ./subscribe.sh"],
            environment={"BROKER": "127.0.0.1", "PORT": str(port)})

    def leave():
        """mosquitto_sub goes; what stores ends behind it, with what it has."""
        subprocess.run(["pkill", "-x", "mosquitto_sub", "-P", str(subscriber.pid)], check=False)
        subscriber.wait()

    stored = folder / "kerb.db"

    def records():
        return sum(len(batch["records"]) for batch in batches(stored))

    def reach(count):
        poll(lambda: records() > count,
             lambda: f"batches arrive\n{subscriber.log}\n{box.agent.log[-2000:]}\n{process.log[-2000:]}")

    process, subscriber = start(), subscribe()
    try:
        poll(lambda: "as city" in process.log, lambda: subscriber.log)
        poll(stored.exists, "it stores")
        box = Box(house, more=broker.push)
        reach(50)
        leave()
        pass_time(2)
        process.stop()
        box.agent.kill()
        pass_time(1)
        process = start("mosquitto-again")
        box.agent.start()
        before = records()
        pass_time(2)
        assert records() == before, "nobody is there"
        subscriber = subscribe()
        reach(before + 150)
        poll(lambda: is_enough(batches(stored), 1), "an alarm comes")
        box.check(batches(stored), [json.loads(gap) for _, gap in rows(stored, "SELECT store, gap FROM gap")], atleast=200)
        # The password of a box is worth nothing below another one's name.
        for name in ("other", "box"):
            message = json.dumps({"store": name, "batches": [], "gaps": ["a word"]})
            output(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "--cafile", str(folder / "ca.pem"), "-u", "box", "-P",
                    "the-box-and-the-broker", "-t", f"kerb/{name}/telemetry", "-m", message, "-q", "1"])
        poll(lambda: ("box",) in rows(stored, "SELECT store FROM gap"), "its own name is let through")
        assert ("other",) not in rows(stored, "SELECT store FROM gap"), "another's is not"
    finally:
        leave()


def test_rabbitmq_keeps_every_batch_for_a_program_that_is_killed(house):
    needs("rabbitmqctl")
    folder = house.folder / "rabbitmq"
    (house.folder / "cluster").mkdir()
    cluster = Cluster(house.folder / "cluster", size=1)
    house.at_the_end(cluster.stop)
    [node] = cluster.nodes
    broker = Broker(house, "rabbitmq", folder, node.mqtt, {
        "/etc/rabbitmq/": f"{folder}/", "ssl.default = 8883": f"ssl.1 = 127.0.0.1:{node.mqtt}"})
    cluster.start(lambda text: text.replace(
        f"mqtt.listeners.tcp.1 = 127.0.0.1:{node.mqtt}\n", (folder / "rabbitmq.conf").read_text()))
    tools = {**node.environment, "PATH": f"{SBIN[-1]}:/usr/bin:/bin", "RABBITMQ_NODENAME": node.name}
    broker.shell("users.sh", **tools)

    def start():
        return house.process(
            "take-py", ["sh", "-c", f"cd {folder} && exec {sys.executable} take.py"], environment={"AMQP_PORT": str(node.amqp)})

    stored = folder / "kerb.db"

    process = start()
    poll(lambda: "kerb" in node.tell("list_bindings", "destination_name", "--silent"), lambda: process.log,
         seconds=2 * PATIENCE, every=1)
    process.kill()
    box = Box(house, more=broker.push)
    kill_and_start_again(start, 8, lambda: is_enough(batches(stored), 12), random.Random(6))
    box.check(batches(stored), [json.loads(gap) for _, gap in rows(stored, "SELECT store, gap FROM gap")], atleast=200)
