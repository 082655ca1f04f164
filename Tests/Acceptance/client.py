"""A platform that pulls."""

import http.client
import json
import urllib.parse

from running import PATIENCE


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def type(self):
        return self.headers.get("content-type", "")


class Client:
    """Asks one agent as one consumer. Keeps its cursor only in memory."""

    def __init__(self, port, token=None):
        self.port = port
        self.token = token
        self.cursor = None

    def post(self, path, body=None, seconds=PATIENCE, **more):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
            headers |= {name.replace("_", "-"): value for name, value in more.items()}
            connection.request("POST", path, body=b"" if body is None else json.dumps(body).encode(), headers=headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path, seconds=PATIENCE, **parameters):
        query = urllib.parse.urlencode({key: value for key, value in parameters.items() if value is not None})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            headers = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
            connection.request("GET", path + ("?" + query if query else ""), headers=headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def pull(self, **parameters):
        """One answer behind the cursor; None if there is nothing. The cursor moves."""
        answer = self.get("/v1/batches", **{"after": self.cursor, **parameters})
        if answer.status == 204:
            return None
        assert answer.status == 200, answer.body
        self.cursor = answer.json["next"]
        return answer.json

    def pull_all(self, **parameters):
        """Until nothing is left."""
        answers = []
        while (answer := self.pull(**parameters)) is not None:
            answers.append(answer)
        return answers


def records(answers, lane=None):
    for answer in answers:
        for batch in answer["batches"]:
            if lane is None or batch["lane"] == lane:
                yield from batch["records"]


class BatchID:
    """`store.epoch.lane.first-last`, or one sequence."""

    def __init__(self, text):
        store, epoch, lane, sequences = text.split(".")
        first, _, last = sequences.partition("-")
        self.store, self.epoch, self.lane = store, int(epoch), lane
        self.first, self.last = int(first), int(last or first)

    @property
    def sequences(self):
        return range(self.first, self.last + 1)


class Ledger:
    """What a platform received, by what it must be able to rely on: an id has one content for ever."""

    def __init__(self):
        self.batches = {}
        self.gaps = {}
        self.repeats = 0
        self._delivered = {}

    def add(self, answer):
        self._delivered.clear()
        for batch in answer["batches"]:
            content = json.dumps(batch, sort_keys=True)
            known = self.batches.setdefault(batch["id"], content)
            assert known == content, f"one id, two contents: {batch['id']}\n{known}\n{content}"
            self.repeats += known is not content
        for gap in answer["gaps"]:
            self.gaps[gap["lane"], gap["from"], gap["to"]] = gap

    def delivered(self, lane):
        """By sequence: the JSON of its record."""
        if lane not in self._delivered:
            self._delivered[lane] = self._read(lane)
        return self._delivered[lane]

    def _read(self, lane):
        found = {}
        for text, content in self.batches.items():
            name = BatchID(text)
            if name.lane != lane:
                continue
            batch = json.loads(content)
            assert len(batch["records"]) == len(name.sequences), f"{text} has {len(batch['records'])} records"
            for sequence, record in zip(name.sequences, batch["records"]):
                value = (name.epoch, json.dumps(record, sort_keys=True))
                assert found.setdefault(sequence, value) == value, f"{lane} {sequence} twice: {found[sequence]}, {value}"
        return found

    def reported(self, lane):
        found = set()
        for (of, first, last), gap in self.gaps.items():
            if of != lane:
                continue
            assert gap["count"] == last - first + 1, gap
            found.update(range(first, last + 1))
        return found

    def check_continuity(self):
        """No hole without a gap, nothing both delivered and reported; by lane the last sequence."""
        ends = {}
        for lane in ("alarms", "telemetry"):
            delivered = self.delivered(lane)
            reported = self.reported(lane)
            both = reported & delivered.keys()
            assert not both, f"{lane}: delivered and reported as lost: {sorted(both)[:10]}"
            seen = reported | delivered.keys()
            ends[lane] = max(seen, default=0)
            holes = set(range(1, ends[lane] + 1)) - seen
            assert not holes, f"{lane}: {len(holes)} sequences up to {ends[lane]} vanished: {sorted(holes)[:10]}"
            epochs = [delivered[sequence][0] for sequence in sorted(delivered)]
            assert epochs == sorted(epochs), f"{lane}: an epoch came back"
        return ends
