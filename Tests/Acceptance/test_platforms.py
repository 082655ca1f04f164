"""docs/platforms: what stands on the pages is what runs here, against a box on loopback; every record arrives, once."""

import json
import os
import pwd
import random
import shutil
import sqlite3
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from recipes import PLATFORMS, Box, blocks, needs, output, pages, pass_time, unpack
from running import free_port, poll


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
    poll(done, lambda: f"everything arrives:\n{process.log[-3000:]}", seconds=60)
    process.kill()


def test_python_stores_every_batch_once_though_it_is_killed(house):
    box = Box(house)
    folder = unpack("python", house.folder / "python")
    environment = {"KERB_URL": box.url, "KERB_TOKEN_FILE": str(box.token_file(folder / "token"))}

    def rows(statement):
        with sqlite3.connect(f"file:{folder}/kerb.db?mode=ro", uri=True) as database:
            return database.execute(statement).fetchall()

    def batches():
        return [{"id": id, "lane": id.split(".")[2], "records": json.loads(records)}
                for id, records in rows("SELECT id, records FROM batch")]

    def enough():
        lanes = [batch["lane"] for batch in batches()]
        return lanes.count("telemetry") > 8 and "alarms" in lanes

    kill_and_start_again(
        lambda: house.process("pull-py", ["sh", "-c", f"cd {folder} && . ./run.sh"], environment=environment), 12, enough,
        random.Random(3))
    box.check(batches(), [json.loads(gap) for _, gap in rows("SELECT store, gap FROM gap")])


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
               timeout=120, cwd=self.folder)
        self.process = house.process(
            "postgres", [*as_owner, self.postgres, "-D", self.folder / "data", "-k", self.folder, "-c", "listen_addresses="])
        self.environment = {"PGHOST": str(self.folder), "PGUSER": "kerb", "PGDATABASE": "postgres"}
        poll(lambda: (self.folder / ".s.PGSQL.5432").exists(), lambda: self.process.log, seconds=30)
        poll(self.answers, lambda: self.process.log, seconds=30)

    def answers(self):
        try:
            return self.ask("SELECT 1") == [[1]]
        except AssertionError:
            return False

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
        found = server.ask("SELECT count(*) AS batches, count(*) FILTER (WHERE lane = 'alarms') AS alarms FROM kerb.batch")
        return found[0][0] > 8 and found[0][1] > 0

    kill_and_start_again(start, 12, enough, random.Random(4))
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
            with urllib.request.urlopen(address, timeout=10) as response:
                return [(each["metric"], float(each["value"][1])) for each in json.load(response)["data"]["result"]]
        except OSError:
            return []

    poll(lambda: ask('up{job="kerb"} == 1'), lambda: process.log[-3000:], seconds=30)
    [(labels, stored)] = poll(lambda: ask("kerb_buffer_samples > 50"), "samples are counted", seconds=30)
    assert labels["site"] == "community-7" and labels["instance"] == f"127.0.0.1:{box.agent.port}"
    assert len(ask("kerb_device_up == 1")) == box.devices
    assert ask("ALERTS") == []
    box.agent.stop()
    poll(lambda: ask('ALERTS{alertname="KerbBoxAway",alertstate="firing"}'), "the rule notices", seconds=30)


def test_collectd_reads_how_the_box_is_doing(house):
    box = Box(house)
    [collectd] = needs("collectd")
    folder = house.folder / "collectd"
    unpack("collectd", folder, {
        "/etc/collectd": str(folder), "/var/lib/collectd": str(folder), "http://127.0.0.1:8480": box.url, "TOKEN": box.consumer.token, "Interval 30": "Interval 1"})
    process = house.process("collectd", [collectd, "-f", "-C", folder / "collectd.conf", "-P", folder / "pid", "-B"])

    def value(key):
        files = list((folder / "csv").glob(f"box-0042/curl_json-kerb/gauge-{key}*"))
        return files and float(files[0].read_text().splitlines()[-1].split(",")[1])

    poll(lambda: value("devices-online") == box.devices, lambda: process.log[-3000:], seconds=30)
    poll(lambda: value("you-lag_records") > 10, lambda: process.log[-3000:], seconds=30)
    process.stop()


def test_mosquitto_hands_each_batch_to_a_store_though_the_box_is_killed(house):
    needs("mosquitto", "mosquitto_sub")
    port = free_port()
    folder = unpack("mosquitto", house.folder / "mosquitto", {"1883": str(port)})
    # As root, mosquitto gives its rights away, and then can't write here.
    (folder / "mosquitto.conf").write_text((folder / "mosquitto.conf").read_text() + "user root\n")
    broker = house.process("mosquitto", ["sh", "-c", f"cd {folder} && exec mosquitto -v -c mosquitto.conf"],
                           environment={"PATH": f"{os.environ['PATH']}:/usr/sbin"})
    poll(lambda: "running" in broker.log + broker.output, lambda: broker.log, seconds=20)
    store = house.process("store", ["sh", "-c", f"cd {folder} && . ./run.sh"])
    poll(lambda: "SUBACK" in broker.log + broker.output, lambda: store.log, seconds=20)
    box = Box(house, (folder / "push.toml").read_text() + 'spread = "0s"\n')

    def rows(statement):
        if not (folder / "kerb.db").exists():
            return []
        with sqlite3.connect(f"file:{folder}/kerb.db?mode=ro", uri=True) as database:
            return database.execute(statement).fetchall()

    def batches():
        return [{"id": id, "lane": lane, "records": json.loads(records)}
                for id, lane, records in rows("SELECT id, lane, records FROM batch")]

    def enough(count):
        lanes = [batch["lane"] for batch in batches()]
        return lanes.count("telemetry") > count and "alarms" in lanes

    for turn in range(3):
        poll(lambda: enough(2 + 3 * turn), lambda: box.agent.status()["consumers"], seconds=60)
        box.agent.kill()
        box.agent.start()
    poll(lambda: enough(12), lambda: box.agent.status()["consumers"], seconds=60)
    box.check(batches(), [json.loads(gap) for (gap,) in rows("SELECT gap FROM gap")])
