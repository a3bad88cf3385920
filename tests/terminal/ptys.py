"""A command in a terminal of its own: what it shows, and how it ends."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass
class Shown:
    """What a command showed, and its exit status."""

    text: str
    status: int

    @property
    def lines(self) -> list[str]:
        """What came between line ends and returns to the first column."""
        return self.text.replace("\r", "\n").split("\n")


def in_terminal(
    command: list[str],
    cwd: Path,
    *,
    columns: int = 100,
    env: dict[str, str] | None = None,
    interrupt_at: str = "",
    seconds: float = 200,
) -> Shown:
    """Run `command` in a terminal of `columns`; Ctrl-C is typed once `interrupt_at` is on the screen."""
    child, screen = pty.fork()
    if child == 0:
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests' own shell ignores it
        ours = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        place = {**ours, "PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", **(env or {})}
        os.execvpe(command[0], command, place)
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    seen, end, typed = b"", time.monotonic() + seconds, False
    while time.monotonic() < end:
        try:
            part = os.read(screen, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
        if interrupt_at and not typed and interrupt_at in seen.decode(errors="replace"):
            os.write(screen, b"\x03")
            typed = True
    os.close(screen)
    return Shown(seen.decode(errors="replace"), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def script(name: str, *overrides: str) -> list[str]:
    """The command that `make NAME` gives."""
    return [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *overrides]
