"""Where long work says how far it is; no torch, so that scripts can draw it."""

from collections.abc import Iterator
from contextlib import contextmanager


class Progress:
    """Where long work says how far it is. This one is silent; scripts hand in one that draws a line."""

    def begin(self, label: str, total: int) -> None:
        """Start `label`, which has `total` units (images) of work."""

    def describe(self, label: str) -> None:
        """The work begun last goes on under another label."""

    def advance(self, amount: int, **values: float) -> None:
        """`amount` more units are done; `values` such as the current loss are shown beside the rate."""

    def end(self) -> None:
        """The work begun last is done."""

    @contextmanager
    def track(self, label: str, total: int) -> Iterator["Progress"]:
        """`begin` and, whatever happens, `end`."""
        try:
            self.begin(label, total)  # a stop in the midst of it ends it too
            yield self
        finally:
            self.end()
