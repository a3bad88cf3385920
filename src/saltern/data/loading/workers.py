"""Processes that make batches ahead of time, in memory that they share with the trainer.

Not torch's DataLoader, which hands every tensor over as a new file of shared memory. With the same cache, keys and code
it delivered 0.33 and 0.32 times as many images at one and two workers with a flip alone, 0.58 times at both with
`augment=light`, and 1.05 and 1.03 times without workers. (1,600 images of 101 x 101 in batches of 16, medians of seven
turns on two CPU cores; `benchmarks/loading.py` does it again.)
"""

import mmap
import multiprocessing
import signal
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from saltern.errors import ConfigError, RunError, SalternError

Key = tuple[int, tuple[int, ...]]
Arrays = tuple[np.ndarray, np.ndarray]
"""Images uint8 (B, H, W, 3), targets uint8 (B, H, W)."""
AHEAD = 3
"""Batches that each worker makes ahead."""


class Workers:
    """Forked processes that call `make`, each into its own slots of one shared block.

    Batch number k is made by worker k modulo their number, so that the order needs no bookkeeping. The pixels that
    `make` reads (the cache) are shared by the fork without copies; the finished batch is copied once, out of its slot.
    """

    def __init__(self, make: Callable[[Key], Arrays], count: int, most_bytes: int, *, pin: bool = False) -> None:
        """Start `count` processes for batches of at most `most_bytes`, which come page-locked with `pin`.

        Raises:
            ConfigError: this system cannot fork.
        """
        if "fork" not in multiprocessing.get_all_start_methods():
            raise ConfigError(f"trainer.workers={count}: this system has no fork; set trainer.workers=0.")
        self._slot_bytes = most_bytes
        self._pin = pin
        self._memory = mmap.mmap(-1, count * AHEAD * most_bytes)
        self._connections: list[Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []
        self._pending: deque[tuple[int, int]] = deque()
        self._iteration = 0
        context = multiprocessing.get_context("fork")
        for _ in range(count):
            ours, theirs = context.Pipe()
            self._connections.append(ours)
            arguments = (make, theirs, self._memory, most_bytes, list(self._connections))
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
        self._finalizer = weakref.finalize(self, _stop, self._connections, self._processes)

    def batches(self, keys: Iterable[Key]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of `keys`, in their order, as tensors of the shapes of Arrays, which are the caller's to keep.

        A new call ends the iteration of an older one.

        Raises:
            SalternError: what `make` raised.
            RunError: a worker died, such as for want of memory.
            RuntimeError: another error in a worker, with its traceback.
        """
        self._drop_pending()
        self._iteration += 1
        mine, coming = self._iteration, enumerate(keys)
        for number, key in islice(coming, len(self._processes) * AHEAD):
            worker, turn = number % len(self._processes), number // len(self._processes)
            self._ask(worker, worker * AHEAD + turn % AHEAD, key)
        while self._pending:
            worker, slot = self._pending.popleft()
            tensors = self._take(self._receive(worker), slot)
            following = next(coming, None)
            if following is not None:
                self._ask(worker, slot, following[1])
            yield tensors
            assert mine == self._iteration, "two iterations over one loader at a time"

    def close(self) -> None:
        """End the processes."""
        self._finalizer()

    def _ask(self, worker: int, slot: int, key: Key) -> None:
        try:
            self._connections[worker].send((slot, key))
        except OSError:
            raise self._death(worker) from None
        self._pending.append((worker, slot))

    def _receive(self, worker: int) -> Any:
        try:
            return self._connections[worker].recv()
        except (EOFError, OSError):
            raise self._death(worker) from None

    def _take(self, reply: Any, slot: int) -> tuple[Tensor, Tensor]:
        if isinstance(reply, SalternError):
            raise reply
        if isinstance(reply, str):
            raise RuntimeError(f"a loader process failed:\n{reply}")
        count, height, width = reply
        shared = _views(self._memory, slot * self._slot_bytes, (count, height, width))
        images, targets = (torch.empty(array.shape, dtype=torch.uint8, pin_memory=self._pin) for array in shared)
        images.numpy()[...], targets.numpy()[...] = shared
        return images, targets

    def _drop_pending(self) -> None:
        """Let the workers finish what an iteration that was left early had asked for."""
        while self._pending:
            self._receive(self._pending.popleft()[0])

    def _death(self, worker: int) -> RunError:
        self._processes[worker].join(5)
        code = self._processes[worker].exitcode
        self._pending.clear()
        return RunError(
            f"loader process {worker} ended with exit code {code}"
            + (" (killed; is memory short?)" if code == -signal.SIGKILL else "")
            + ". Fewer trainer.workers need less memory; trainer.workers=0 makes batches in the main process. "
            "The same command goes on from the last finished epoch."
        )


def _views(memory: mmap.mmap, start: int, shape: tuple[int, int, int]) -> Arrays:
    """Images (B, H, W, 3) and targets (B, H, W) at `start` of the shared block; `shape` is (B, H, W)."""
    pixels = shape[0] * shape[1] * shape[2]
    images = np.frombuffer(memory, np.uint8, 3 * pixels, start).reshape(*shape, 3)
    return images, np.frombuffer(memory, np.uint8, pixels, start + 3 * pixels).reshape(shape)


def _work(
    make: Callable[[Key], Arrays],
    connection: Connection,
    memory: mmap.mmap,
    slot_bytes: int,
    parents_ends: list[Connection],
) -> None:
    """The life of a worker: until the parent closes its end, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for end in parents_ends:
        end.close()  # else a parent that was killed would never seem gone
    cv2.setNumThreads(0)
    while True:
        try:
            slot, key = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_reply(make, key, memory, slot * slot_bytes, slot_bytes))


def _reply(make: Callable[[Key], Arrays], key: Key, memory: mmap.mmap, start: int, most: int) -> Any:
    """(B, H, W) of the batch put into the slot; or the error: itself where it is for the user, else its traceback."""
    try:
        images, targets = make(key)
        if images.nbytes + targets.nbytes > most:
            return f"a batch of shape {images.shape} is larger than its slot of {most} bytes"
        shared = _views(memory, start, targets.shape)
        shared[0][...], shared[1][...] = images, targets
        return targets.shape
    except SalternError as error:
        return error
    except Exception:  # told to the parent, whatever it is
        return traceback.format_exc()


def _stop(connections: list[Connection], processes: list[multiprocessing.process.BaseProcess]) -> None:
    for connection in connections:
        connection.close()
    for process in processes:
        process.join(1)
        if process.is_alive():
            process.kill()
            process.join()
