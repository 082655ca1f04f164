"""After start the way from bus to stream allocates nothing, counted in a release build."""

import json
import os
import pathlib
import subprocess

from running import PATIENCE, RELEASE

PROBE = pathlib.Path(os.environ.get("KERB_ALLOCATION_PROBE") or RELEASE / "allocation-probe")


def test_the_way_from_bus_to_stream_allocates_nothing():
    answer = subprocess.run([PROBE], capture_output=True, text=True, timeout=10 * PATIENCE)
    account = json.loads(answer.stdout)
    assert account["canary"] >= 1, "the count sees no allocation at all"
    assert account["samples"] >= 100_000
    assert account["texts"] > 0 and account["events"] > 0, "texts and alarms went the way, too"
    assert account["allocations"] == 0
    assert account["frames_allocations"] == 0, "meters and asked sensors"
    assert answer.returncode == 0, answer.stderr
