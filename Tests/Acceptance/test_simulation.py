"""Days and years of the demo community in virtual time, through the real pipelines, in a release build."""

import json
import os
import pathlib
import subprocess

from running import PATIENCE, PROFILES, RELEASE

SIMULATION = pathlib.Path(os.environ.get("KERB_SIMULATION") or RELEASE / "simulation")


def simulate(days, seed, turn_seconds=1):
    arguments = [str(days), str(seed), str(turn_seconds), str(PROFILES)]
    answer = subprocess.run([SIMULATION, *arguments], capture_output=True, text=True, timeout=10 * PATIENCE)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def test_the_same_seed_gives_the_same_day_bit_for_bit():
    one, other, third = simulate(1, 7), simulate(1, 7), simulate(1, 8)
    assert one["readings"] > 8_000_000 and one["samples"] > 500_000 and one["events"] > 100
    same = [key for key in one if not key.endswith("_kib")]
    assert {key: one[key] for key in same} == {key: other[key] for key in same}
    assert one["fingerprint"] != third["fingerprint"]


def test_after_a_year_nothing_was_allocated_and_the_memory_is_what_it_was_after_a_day():
    year = simulate(365, 3, turn_seconds=60)
    assert year["readings"] > 30_000_000 and year["events"] > 1_000
    assert year["allocations"] == 0
    assert year["lost"] == 0
    assert year["end_kib"] - year["first_day_kib"] <= 64, "pages in use"
