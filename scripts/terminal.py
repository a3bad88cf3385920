"""The one console that everything is printed to, and the line of progress on it."""

import os
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from saltern.progress import Progress

console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 120)
"""What is printed is what it is: a path may hold [brackets] and :colons:. Colours come as `Text`."""


def is_main_process() -> bool:
    """Whether this is the process that talks; launchers number theirs in the environment."""
    known = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((int(os.environ[name]) for name in known if name in os.environ), 0) == 0


def say(text: str) -> None:
    """Print text as it is: in the terminal's width, but with no line end put into a long path."""
    console.print(text, soft_wrap=True)


class ProgressLine(Progress):
    """A live line with rate and time left on a terminal; a plain line for every label where output is a file."""

    def __init__(self) -> None:
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[shown]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=not (console.is_terminal and is_main_process()),
        )
        self._task: TaskID | None = None
        self._label = ""
        self._done = 0
        self._total = 0
        self._began = 0.0
        self._values: dict[str, float] = {}

    def begin(self, label: str, total: int) -> None:
        """Start the line."""
        self._label, self._done, self._total, self._began = label, 0, total, time.monotonic()
        self._values = {}
        self._bar.start()
        self._task = self._bar.add_task(label, total=total, shown="")

    def describe(self, label: str) -> None:
        """Change the line's label; in a file, write down how far the old one came."""
        self._plain()
        self._label = label
        if self._task is not None:
            self._bar.update(self._task, description=label)

    def advance(self, amount: int, **values: float) -> None:
        """Move the line on."""
        self._done += amount
        self._values |= values
        if self._task is not None:
            self._bar.update(self._task, advance=amount, shown=self._shown())

    def end(self) -> None:
        """Take the line away."""
        self._plain()
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = None
        self._bar.stop()

    def _shown(self) -> str:
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        values = "".join(f"{name} {value:.3f}  " for name, value in self._values.items())
        return f"{values}{rate:.0f} images/s"

    def _plain(self) -> None:
        if console.is_terminal or not self._done or not is_main_process():
            return
        left = (time.monotonic() - self._began) * (self._total / self._done - 1)
        say(f"{self._label}: {self._shown()}, {self._done}/{self._total}, {left:.0f} s left")
