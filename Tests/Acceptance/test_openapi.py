"""Clients that a machine makes from the OpenAPI document: no answer that is not in it, and no 5xx."""

import json
import os
import subprocess
import sys
import urllib.request

from running import PATIENCE, Consumer, poll
from test_negotiation import BUSES, SITE

# Bounded for the daily run; KERB_EXAMPLES makes it longer.
EXAMPLES = os.environ.get("KERB_EXAMPLES", "40")

# An invented cursor is right in form and still nobody's: that a valid request may be refused is no finding here.
LEFT_OUT = "positive_data_acceptance"


def test_generated_clients_find_nothing_that_the_document_does_not_say(house):
    site = house.site(SITE.replace("{folder}", str(house.folder)))
    consumers = [Consumer("all", commands=True), Consumer("narrow", kinds=["access-gate"], lanes=["telemetry"])]
    agent = house.agent(BUSES.replace("{folder}", str(house.folder)), consumers)
    poll(lambda: agent.status()["devices"]["online"] == 2, "both devices answer")
    # Nobody waits a minute for nothing, a thousand times over.
    (house.folder / "schemathesis.toml").write_text('[parameters]\n"query.wait" = 0\n')
    for consumer in consumers:
        document = urllib.request.Request(
            f"http://127.0.0.1:{agent.port}/v1/openapi.json", headers={"Authorization": f"Bearer {consumer.token}"})
        path = house.folder / "openapi.json"
        path.write_bytes(urllib.request.urlopen(document, timeout=PATIENCE).read())
        assert json.loads(path.read_text())["openapi"].startswith("3.1")
        result = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "--config-file", house.folder / "schemathesis.toml", "run", path,
             "--url", f"http://127.0.0.1:{agent.port}", "--header", f"Authorization: Bearer {consumer.token}",
             "--checks", "all", "--exclude-checks", LEFT_OUT, "--max-examples", EXAMPLES, "--seed", "6",
             "--workers", "1", "--no-color", "--suppress-health-check", "too_slow", "--request-timeout", str(PATIENCE)],
            capture_output=True, text=True, timeout=1_800, cwd=house.folder)
        assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert agent.process.is_running and site.process.is_running
    assert "error" not in agent.log
