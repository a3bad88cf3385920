"""Commands in forked children, so that torch is imported once, and faults that happen to them at a chosen moment.

As a program it serves tests: a line of JSON on its standard input is a command to start or to wait for, and a line
comes back. torch does its work in the children alone, since its threads do not outlive a fork.
"""

import fcntl
import json
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / "scripts"
KILLED = 137
LATE = -1000
"""The status of a command that was given more time than it may take."""
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}
_ROOM = 1 << 20
"""Bytes that a pipe holds: nobody reads it before its writer has ended."""


@dataclass(frozen=True)
class Fault:
    """What happens to a command."""

    root: str = "."
    """The folder, from the command's own, whose changes are counted."""
    before: int = 0
    """The change, counted from 1, before which it happens; 0 is never."""
    sends: int = 0
    """The signal that is sent; 0: the process ends without last words, as after SIGKILL."""
    file_bytes: int | None = None
    """In place of an end: the most bytes that a file may have from then on, or from the beginning where `before` is 0;
    with 0 every write fails, as on a disk that is full."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str
    seen: list[str]
    """The changes that it made; empty where it had no last words."""


class Counter:
    """An audit hook that counts changes below a folder, and lets the fault happen before the chosen one."""

    def __init__(self, fault: Fault) -> None:
        self.root = os.path.realpath(fault.root)
        self.fault = fault
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """See `sys.addaudithook`."""
        if event == "open":
            path, _, flags = arguments
            if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | bytes | os.PathLike) or not os.path.abspath(os.fsdecode(path)).startswith(
            self.root
        ):
            return
        self.seen.append(f"{event} {os.path.relpath(os.fsdecode(path), self.root)}")
        if len(self.seen) == self.fault.before:
            self._happen()

    def _happen(self) -> None:
        if self.fault.file_bytes is not None:
            limit_files(self.fault.file_bytes)
        elif self.fault.sends:
            os.kill(os.getpid(), self.fault.sends)
        else:
            os._exit(KILLED)


def limit_files(most: int) -> None:
    """From now on no file of this process grows beyond `most` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


@dataclass
class Child:
    """A command that runs."""

    process: int
    pipes: list[int] = field(default_factory=list)
    """The ends that we read: of its output, its errors, its changes."""

    def wait(self, seconds: float = 240) -> Ended:
        """Until it has ended; one that takes longer is killed, and its status is LATE."""
        end, status = time.monotonic() + seconds, None
        while status is None:
            found, code = os.waitpid(self.process, os.WNOHANG)
            if found:
                status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() > end:
                os.kill(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                status = LATE
            else:
                time.sleep(0.005)
        out, err, seen = (_all_there_is(pipe) for pipe in self.pipes)
        return Ended(status, out, err, json.loads(seen) if seen else [])


def start(work: Callable[[], None], fault: Fault | None = None, cwd: str | None = None) -> Child:
    """Begin `work` in a child, in the folder `cwd`."""
    pairs = [os.pipe() for _ in range(3)]
    for _, writer in pairs:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _ROOM)
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _live(work, fault or Fault(), cwd, [writer for _, writer in pairs])
    for _, writer in pairs:
        os.close(writer)
    return Child(process, [reader for reader, _ in pairs])


def fork(work: Callable[[], None], fault: Fault | None = None, cwd: str | None = None) -> Ended:
    """Do `work` in a child and wait for it."""
    return start(work, fault, cwd).wait()


def _live(work: Callable[[], None], fault: Fault, cwd: str | None, writers: list[int]) -> None:
    """The life of a child."""
    out, err, words = writers
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    os.chdir(cwd or ".")
    counter = Counter(fault)
    sys.addaudithook(counter)
    if fault.file_bytes is not None and not fault.before:
        limit_files(fault.file_bytes)
    status = 0
    try:
        work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(words, json.dumps(counter.seen).encode())
    os._exit(status)


def _all_there_is(pipe: int) -> str:
    os.set_blocking(pipe, False)  # a grandchild may still hold the other end
    with os.fdopen(pipe, "rb") as file:
        return (file.read() or b"").decode(errors="replace")


def script(name: str, overrides: list[str]) -> Callable[[], None]:
    """A script's entry, as `make` calls it in the working folder."""

    def run() -> None:
        sys.path.insert(0, str(SCRIPTS))
        sys.argv = [str(SCRIPTS / f"{name}.py"), *overrides]
        runpy.run_path(sys.argv[0], run_name="__main__")

    return run


def main() -> None:
    """Serve: `{"start": SCRIPT, …}` answers with the process, `{"wait": PROCESS, …}` with how it ended.

    `{"state": RUN}` answers with `driver.state`.
    """
    from driver import state_of

    import saltern.pipeline  # noqa: F401 (imported once, before the forks)

    children: dict[int, Child] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            work = script(asked["start"], asked["overrides"])
            child = start(work, Fault(**asked["fault"]), asked["cwd"])
            children[child.process] = child
            answer: object = child.process
        elif "state" in asked:
            answer = state_of(Path(asked["state"]))
        else:
            answer = asdict(children.pop(asked["wait"]).wait(asked["seconds"]))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
