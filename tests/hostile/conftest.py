"""The tally of each family of hostile tries, printed at the end of the run."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Served
from small_runs import place_with_runs
from tries import SECONDS, Tally

TALLIES: list[Tally] = []


@pytest.fixture
def tally() -> Iterator[Callable[..., Tally]]:
    """Opens the tally of a family; the test fails if nothing was tried."""
    mine: list[Tally] = []

    def opened(family: str, seconds: float = SECONDS) -> Tally:
        mine.append(Tally(family, seconds))
        return mine[-1]

    yield opened
    TALLIES.extend(mine)
    assert all(one.tries for one in mine), "a family without a try"


@pytest.fixture(params=[pytest.param(1, id="small"), pytest.param(25, id="large", marks=pytest.mark.slow)])
def scale(request: pytest.FixtureRequest) -> int:
    """By how much a family multiplies its number of tries: 1 in `make test`, more in `make test-slow`."""
    return int(request.param)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Runs scripts in children of one process."""
    with Served(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="session")
def source(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with finished runs; see `small_runs.place_with_runs`. Not to be written to."""
    return place_with_runs(served, tmp_path_factory.mktemp("source"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a family: tries, right, refused."""
    for one in TALLIES:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(one.outcomes.items()))
        terminalreporter.write_line(f"hostile {one.family}: {one.tries} tries, {counts}")
