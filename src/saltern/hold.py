"""One process at a time: marks that say who works on a folder or file, on one machine or on many."""

import logging
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import LeaseCompromise, SoftFileLease, Timeout

from saltern.errors import RunError
from saltern.files import clear_leftovers, read_json, storage_errors, write_json

log = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds without a sign of life after which a holder on another machine counts as dead."""
POLL = 0.2
"""Seconds between two looks at a mark that another process holds."""


class Hold:
    """What this process alone may write, until it lets go or is found to have lost it."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.lease: SoftFileLease | None = None
        self._lost: str | None = None

    def lose(self, compromise: LeaseCompromise) -> None:
        """Called by the lease when its mark is gone, or another's."""
        self._lost = str(compromise.reason)

    def check(self) -> None:
        """Before something is written: whether it is still ours.

        Raises:
            RunError: the mark was deleted or taken, such as by someone who deleted the folder.
        """
        if self._lost is None and self.lease is not None and not self.lease.is_lock_held_by_us:
            self._lost = "not ours any more"
        if self._lost is not None:
            raise RunError(
                f"{self.what}: another process may have taken this over (its mark in .held/ is gone: {self._lost}). "
                "Nothing more is written here; was the folder deleted, or this machine asleep?"
            )

    @property
    def is_lost(self) -> bool:
        """Whether it was found to be lost."""
        return self._lost is not None


@contextmanager
def hold(mark: Path, what: str, *, wait: bool = False) -> Iterator[Hold]:
    """Hold `what` under the file `mark`, which no other process then can, on this machine or on one that shares it.

    A holder that died is replaced: at once where it ran on this machine, after LEASE seconds without a sign of life
    where it ran on another. filelock's lease does this, with the contender's own clock.

    Args:
        mark: a file that this function creates and deletes; its folder goes with the last mark in it.
        what: the words for messages, such as the fold's path.
        wait: wait for another process to let go, rather than refuse.

    Raises:
        RunError: another process holds it; says which, where, and since when.
        StorageError: the folder cannot be written to.
    """
    held = Hold(what)
    with storage_errors(mark):
        mark.parent.mkdir(parents=True, exist_ok=True)
        lease = SoftFileLease(
            mark, lease_duration=LEASE, heartbeat_interval=LEASE / 6, on_compromise=held.lose, thread_local=False
        )
        _acquire(lease, mark, what, wait)
    held.lease = lease
    try:
        clear_leftovers(mark.parent)
        card = {"host": socket.gethostname(), "machine": machine(), "process": os.getpid(), "since": _now()}
        write_json(_card(mark), card)
        yield held
    finally:
        try:
            if not held.is_lost:
                _card(mark).unlink(missing_ok=True)
        finally:  # whatever stops us there, such as Ctrl-C
            lease.release()
            _remove_if_empty(mark.parent)


def _acquire(lease: SoftFileLease, mark: Path, what: str, wait: bool) -> None:
    told = False
    seen: int | None = None  # the mark's first sign of life that we saw
    while True:
        try:
            lease.acquire(timeout=POLL, poll_interval=POLL / 4)
        except Timeout:
            holder = _holder(mark)
            beat = _beat(mark)
            alive = holder.get("machine") == machine() or (seen is not None and beat != seen)
            if alive and not wait:
                raise RunError(f"{what}: {_words(holder)} works on it. Wait for it, or end it.") from None
            if not told:
                log.info("%s: %s works on it; waiting", what, _words(holder))
                told = True
            seen = beat if seen is None else seen
        except FileNotFoundError:  # the last holder took the folder away in this moment
            mark.parent.mkdir(parents=True, exist_ok=True)
        else:
            return


def machine() -> str:
    """What tells this machine, as it was started last, and this container on it, from all others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{platform.node()} {os.getpid()}"  # nothing tells which processes live: count on signs of life


def _card(mark: Path) -> Path:
    return mark.with_name(f"{mark.name}.json")


def _holder(mark: Path) -> dict[str, Any]:
    try:
        card = read_json(_card(mark))
    except RunError:  # not written yet, or gone already
        return {}
    return card if isinstance(card, dict) else {}


def _words(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')},"


def _beat(mark: Path) -> int:
    try:
        return mark.stat().st_mtime_ns
    except OSError:
        return 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # marks of others lie there
        return
