"""All that is wrong with a data set, gathered and told at once."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from saltern.data.source.names import printable
from saltern.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Problems:
    """Collects what is wrong, kind by kind, so that one kind repeated a thousand times does not hide the others."""

    def __init__(self, where: object, most_per_kind: int = 6) -> None:
        self.where = printable(str(where))
        self._most = most_per_kind
        self._kinds: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, message: object) -> None:
        """Note one problem; `kind` is a plural noun phrase such as `images without a mask`."""
        self._counts[kind] += 1
        if self._counts[kind] <= self._most:
            self._kinds.setdefault(kind, []).append(printable(str(message)).replace("\n", "\n  "))

    def sift(self, kind: str, results: Iterable[Result | DataError]) -> list[Result]:
        """The results of work that was `caught`, in order; the errors among them become problems of `kind`."""
        sound: list[Result] = []
        for result in results:
            if isinstance(result, DataError):
                self.add(kind, result)
            else:
                sound.append(result)
        return sound

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def lines(self) -> list[str]:
        """One line a problem, at most `most_per_kind` of a kind and then the number of the others."""
        told: list[str] = []
        for kind, messages in self._kinds.items():
            told += messages
            if self._counts[kind] > len(messages):
                told.append(f"{self._counts[kind] - len(messages)} more {kind} ({self._counts[kind]} in all)")
        return told

    def raise_any(self) -> None:
        """Raise what was collected.

        Raises:
            DataError: there is at least one problem; the text lists them.
        """
        if self:
            raise DataError.of(self.where, self.lines(), most=200)


def caught(work: Callable[[Item], Result]) -> Callable[[Item], Result | DataError]:
    """`work`, giving the DataError that it raises in place of a result, so that the other items are still looked at."""

    def careful(item: Item) -> Result | DataError:
        try:
            return work(item)
        except DataError as error:
            return error

    return careful
