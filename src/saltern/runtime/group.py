"""The processes of one run: what the main one does alone the others wait for, and they all end together."""

import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning_fabric import Fabric
from torch.distributed import TCPStore

from saltern.errors import RunError, SalternError
from saltern.hold import machine

log = logging.getLogger(__name__)

LOOK = 0.5
"""Seconds between two looks at the others."""
SILENCE = 60.0
"""Seconds without a sign of life after which a process on another machine counts as dead."""
MEETING = 300.0
"""Seconds that processes wait for each other in the beginning; what they do later has no limit."""
FAREWELL = 5.0
"""Seconds that the main process, which holds the store, waits for the others to hear why it ends."""


class Group:
    """The group of a process that is alone: nothing to wait for, nobody to tell."""

    rank = 0
    size = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes what all share."""
        return self.rank == 0

    def agree(self, value: Any) -> Any:
        """The main process's `value`, which JSON can hold, on every process."""
        return value

    def smallest(self, value: int) -> int:
        """The smallest `value` of all processes, on every one."""
        return value

    def barrier(self) -> None:
        """Wait until every process is here, however long that takes."""

    def on_main(self, work: Callable[..., object], *args: Any) -> None:
        """Do `work(*args)` on the main process while the others wait, however long it takes."""
        if self.is_main:
            work(*args)
        self.barrier()

    def require_equal(self, what: str, value: Any) -> None:
        """Raise a RunError where `value` is not the main process's."""
        mains = self.agree(value)
        if mains != value:
            raise RunError(
                f"{what}: {value!r} on process {self.rank}, {mains!r} on the main one. Do all machines see the same "
                "folder under outputs=, and the same data set?"
            )

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within it an error on one process ends all of them, with that process's own message, within seconds."""
        yield


class Ranks(Group):
    """Several processes, on one machine or more, around a key-value store on the main one.

    torch's collectives wait for a process that never comes until their timeout, half an hour, and a process that was
    killed tells nobody. So whatever waits for the main process's own work asks the store, without a limit, and a thread
    of every process watches the others: the processes themselves on its own machine, signs of life from elsewhere.
    """

    def __init__(self, rank: int, size: int, store: TCPStore, watched: TCPStore) -> None:
        """`store` for this thread and `watched` for the watching one: two connections to the same store."""
        self.rank = rank
        self.size = size
        self._store = store
        self._watched = watched
        self._meetings = 0
        self._depth = 0
        self._left = threading.Event()

    def agree(self, value: Any) -> Any:
        """See `Group.agree`."""
        key = self._key("agree")
        if self.is_main:
            self._store.set(key, json.dumps(value))
        self._await(lambda: self._store.check([key]))
        return json.loads(self._store.get(key))

    def smallest(self, value: int) -> int:
        """See `Group.smallest`."""
        key = self._key("smallest")
        keys = [f"{key}/{rank}" for rank in range(self.size)]
        self._store.set(keys[self.rank], str(value))
        self._await(lambda: self._store.check(keys))
        return min(int(self._store.get(each)) for each in keys)

    def barrier(self) -> None:
        """See `Group.barrier`."""
        key = self._key("barrier")
        self._store.add(key, 1)
        self._await(lambda: self._store.add(key, 0) >= self.size)

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `Group.together`. May be nested: the outermost one counts."""
        self._depth += 1
        try:
            if self._depth == 1:
                self._watch()
            yield
            if self._depth == 1:
                self.barrier()
                self._leave()
        except BaseException as error:
            if self._depth == 1:
                self._tell(error)
            raise
        finally:
            self._depth -= 1

    def _leave(self) -> None:
        """All went well; the main process, which holds the store, stays until the others have left it."""
        self._left.set()
        others = [f"left/{rank}" for rank in range(1, self.size)]
        try:
            self._store.set(f"left/{self.rank}", "")
            end = time.monotonic() + FAREWELL
            while self.is_main and time.monotonic() < end and not self._store.check(others):
                time.sleep(0.02)
        except Exception as gone:  # the main process did not wait: all is done, so nothing is lost
            log.info("process %d left after the store had gone: %s", self.rank, gone)

    def _key(self, kind: str) -> str:
        self._meetings += 1
        return f"{kind}/{self._meetings}"

    def _await(self, there: Callable[[], bool], most: float = math.inf) -> None:
        pause, end = 0.001, time.monotonic() + most
        while not there():
            if time.monotonic() > end:
                raise RunError(f"process {self.rank}: not all {self.size} processes came within {most:.0f} s.")
            time.sleep(pause)
            pause = min(2 * pause, 0.1)

    def _tell(self, error: BaseException) -> None:
        """Tell the others why this process ends; the main one stays until they have heard, since the store is its."""
        if isinstance(error, RuntimeError):  # perhaps a collective's, since another process is gone: that is the reason
            time.sleep(4 * LOOK)
        self._left.set()
        shown = str(error).strip() or "stopped"
        text = shown if isinstance(error, SalternError) else f"{type(error).__name__}: {shown}"
        note = {"rank": self.rank, "text": text, "status": exit_status(error)}
        try:
            self._store.compare_set("failed", "", json.dumps(note))
            if not self.is_main:
                self._store.add("heard", 1)
            end = time.monotonic() + FAREWELL
            while self.is_main and time.monotonic() < end and self._store.add("heard", 0) < self.size - 1:
                time.sleep(0.05)
        except Exception as unheard:  # the store is gone with the main process: nobody is left to be told
            log.info("process %d could not tell the others why it ends: %s", self.rank, unheard)

    def _watch(self) -> None:
        self._left.clear()
        card = {"machine": machine(), "process": os.getpid()}
        self._store.set(f"card/{self.rank}", json.dumps(card))
        cards = [f"card/{rank}" for rank in range(self.size)]
        self._await(lambda: self._store.check(cards), most=MEETING)
        thread = threading.Thread(target=self._look, name="watch the other processes", daemon=True)
        thread.start()

    def _look(self) -> None:
        others = [rank for rank in range(self.size) if rank != self.rank]
        near: dict[int, int] = {}
        far: dict[int, tuple[int, float]] = {}
        while not self._left.wait(LOOK):
            try:
                if not near and not far:
                    cards = {rank: json.loads(self._watched.get(f"card/{rank}")) for rank in others}
                    near = {rank: card["process"] for rank, card in cards.items() if card["machine"] == machine()}
                    far = {rank: (-1, time.monotonic()) for rank in others if rank not in near}
                found = self._failure(near, far)
            except Exception:  # the store lies in the main process
                found = {"rank": 0, "text": "the main process ended without a word", "status": 1}
            if found is not None and not self._left.is_set():
                self._end(found)

    def _failure(self, near: dict[int, int], far: dict[int, tuple[int, float]]) -> dict[str, Any] | None:
        self._watched.add(f"beat/{self.rank}", 1)
        if self._watched.check(["failed"]):
            note: dict[str, Any] = json.loads(self._watched.get("failed"))
            self._watched.add("heard", 1)
            return note
        for rank, process in near.items():
            if not _lives(process) and not self._watched.check([f"left/{rank}"]):
                time.sleep(LOOK)  # its last words may be on their way
                if self._watched.check(["failed"]):
                    return self._failure({}, {})
                return {"rank": rank, "text": f"process {process} was killed", "status": 1}
        for rank, (seen, since) in far.items():
            beat = self._watched.add(f"beat/{rank}", 0)
            if beat != seen:
                far[rank] = (beat, time.monotonic())
            elif time.monotonic() - since > SILENCE and not self._watched.check([f"left/{rank}"]):
                return {"rank": rank, "text": f"no sign of life for {SILENCE:.0f} s", "status": 1}
        return None

    def _end(self, note: dict[str, Any]) -> None:
        """End this process at once: its main thread may wait in a collective, from which nothing calls it back."""
        log.error(
            "process %d of %d ends, since process %d failed: %s", self.rank, self.size, note["rank"], note["text"]
        )
        logging.shutdown()
        os._exit(int(note["status"]))


def exit_status(error: BaseException) -> int:
    """How a process ends on `error`: 2 for what the user can mend, 130 and 143 for Ctrl-C and SIGTERM, else 1."""
    if isinstance(error, KeyboardInterrupt):
        return int(getattr(error, "status", 130))
    return 2 if isinstance(error, SalternError) else 1


def meet(fabric: Fabric) -> Ranks:
    """The group of the processes that `fabric` has launched; every one of them must call."""
    _retire_observer()
    rank, size = int(fabric.global_rank), int(fabric.world_size)
    host = os.environ.get("MASTER_ADDR", "127.0.0.1")
    own = TCPStore(host, 0, is_master=True, wait_for_workers=False) if rank == 0 else None
    port = int(fabric.broadcast(own.port if own is not None else 0))
    store = own or TCPStore(host, port, is_master=False)
    return Ranks(rank, size, store, TCPStore(host, port, is_master=False))


def _retire_observer() -> None:
    """End Fabric's own watch over the processes it started: it kills the main one before a word is said."""
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            thread._run = lambda: True  # type: ignore[attr-defined]


def _lives(process: int) -> bool:
    """Whether a process of this machine is there and is no zombie that its parent has not looked at."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
