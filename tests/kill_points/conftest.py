"""What was enumerated, printed at the end of the run."""

from collections.abc import Callable

import pytest

LINES: list[str] = []


@pytest.fixture
def table() -> Callable[[str], None]:
    """Takes a line of the table."""
    return LINES.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table."""
    for line in LINES:
        terminalreporter.write_line(line)
