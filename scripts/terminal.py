"""The one console that everything is printed to, and the line of progress on it."""

import os
import sys
import time
from collections.abc import Callable

from manner import is_quiet
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column

from saltern.progress import Progress

console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
"""What is printed is what it is: a path may hold [brackets] and :colons:. Colours come as `Text`."""
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

NARROW = 90
"""Columns below which the line of progress leaves out what it can."""
SILENCE = 60.0
"""Seconds after which a file hears how far the work is, although its label is the same."""


def is_main_process() -> bool:
    """Whether this is the process that talks; launchers number theirs in the environment."""
    known = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in known if name in os.environ), 0) == 0


def say(text: str) -> None:
    """Print text as it is, unless quiet: in the terminal's width, but with no line end put into a long path."""
    if not is_quiet():
        console.print(text, soft_wrap=True)


def verdict(count: Callable[[str], int]) -> str:
    """How many errors and warnings there are."""
    counted = ((count(kind), kind) for kind in ("error", "warning"))
    return ", ".join(f"{number:,} {kind}{'s' * (number != 1)}" for number, kind in counted)


def answer(text: str) -> None:
    """Print the one line that a script is called for, which `quiet` leaves."""
    console.print(text, soft_wrap=True)


def span(seconds: float) -> str:
    """A time in the unit that people would say it in."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class ProgressLine(Progress):
    """A live line with rate and time left on a terminal; a plain line for every label where output is a file.

    Labels that follow each other within one work, such as epochs, leave their plain line on a terminal too.
    """

    def __init__(self) -> None:
        self._talks = is_main_process() and not is_quiet()
        self._is_live = self._talks and console.is_terminal and not console.is_dumb_terminal
        self._narrow = console.width < NARROW
        whole = Column(no_wrap=True, overflow="ellipsis")
        self._bar = Bar(
            TextColumn("{task.description}", markup=False, table_column=whole),
            BarColumn(bar_width=8 if self._narrow else 24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[shown]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            TimeRemainingColumn(elapsed_when_finished=True, compact=self._narrow),
            console=console,
            transient=True,
            disable=not self._is_live,
        )
        self._task: TaskID | None = None
        self._label = ""
        self._labels = 1
        self._done = 0
        self._total = 0
        self._began = self._said = 0.0
        self._values: dict[str, float] = {}

    def begin(self, label: str, total: int) -> None:
        """Start the line."""
        self._label, self._done, self._total, self._began = label, 0, total, time.monotonic()
        self._labels, self._said = 1, self._began
        self._values = {}
        self._bar.start()
        self._task = self._bar.add_task(label, total=total, shown="")

    def describe(self, label: str) -> None:
        """Change the line's label, and leave a line that says how far the old one came."""
        self._plain()
        self._label = label
        self._labels += 1
        if self._task is not None:
            self._bar.update(self._task, description=label)

    def advance(self, amount: int, **values: float) -> None:
        """Move the line on."""
        self._done += amount
        self._values |= values
        if self._task is not None:
            self._bar.update(self._task, advance=amount, shown=self._shown(self._narrow))
        if not self._is_live and time.monotonic() - self._said >= SILENCE:
            self._plain()

    def end(self) -> None:
        """Take the line away."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = None
        self._bar.stop()
        self._plain()

    def _shown(self, short: bool) -> str:
        rate = f"{self._done / max(time.monotonic() - self._began, 1e-9):.0f} images/s"
        values = [f"{name} {value:.3f}" for name, value in self._values.items()]
        return "  ".join(values[:1] or [rate]) if short else "  ".join([*values, rate])

    def _plain(self) -> None:
        if not self._done or not self._talks or (self._is_live and self._labels == 1):
            return
        self._said = time.monotonic()
        left = span((self._said - self._began) * (self._total / self._done - 1))
        say(f"{self._label}: {self._shown(short=False)}, {self._done}/{self._total}, {left} left")
