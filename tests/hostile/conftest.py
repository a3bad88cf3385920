"""The tally of each family of hostile tries, printed at the end of the run."""

from collections.abc import Callable, Iterator

import pytest
from tries import Tally

TALLIES: list[Tally] = []


@pytest.fixture
def tally() -> Iterator[Callable[[str], Tally]]:
    """Opens the tally of a family; the test fails if nothing was tried."""
    mine: list[Tally] = []

    def opened(family: str) -> Tally:
        mine.append(Tally(family))
        return mine[-1]

    yield opened
    TALLIES.extend(mine)
    assert all(one.tries for one in mine), "a family without a try"


@pytest.fixture(params=[pytest.param(1, id="small"), pytest.param(25, id="large", marks=pytest.mark.slow)])
def scale(request: pytest.FixtureRequest) -> int:
    """By how much a family multiplies its number of tries: 1 in `make test`, more in `make test-slow`."""
    return int(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a family: tries, right, refused."""
    for one in TALLIES:
        counts = ", ".join(f"{count} {name}" for name, count in sorted(one.outcomes.items()))
        terminalreporter.write_line(f"hostile {one.family}: {one.tries} tries, {counts}")
