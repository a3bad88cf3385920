"""Work in threads: decoding leaves Python's lock free, and the next batch is made while this one is used."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from saltern.data.source.dataset import THREADS

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` of every item, in order, by a few threads."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, items))


def ahead(make: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`make` of every item, in order; a thread makes the next one while the caller works on this one."""
    with ThreadPoolExecutor(1) as thread:
        pending = [thread.submit(make, item) for item in items[:1]]
        for position in range(len(items)):
            made = pending.pop().result()
            if position + 1 < len(items):
                pending.append(thread.submit(make, items[position + 1]))
            yield made
