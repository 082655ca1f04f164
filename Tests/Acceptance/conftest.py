"""What every acceptance test has: a house to start processes in, which is empty again when the test ends."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from running import KERB, House  # noqa: E402


def pytest_sessionstart(session):
    if not KERB.exists():
        raise pytest.UsageError(f"{KERB} does not exist: run `swift build -c release --product kerb` first")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    house = item.funcargs.get("house") if hasattr(item, "funcargs") else None
    if report.when == "call" and report.failed and house is not None:
        for name, text in house.logs():
            report.sections.append((f"end of {name}", text))
    return report


@pytest.fixture
def house():
    house = House()
    try:
        yield house
    finally:
        house.close()
