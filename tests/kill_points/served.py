"""The client of `forks.py`: scripts run in children of one process that has imported torch."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from forks import Ended, Fault

FORKS = Path(__file__).with_name("forks.py")


class Served:
    """Runs scripts in the folder `cwd`; use as a context."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd

    def __enter__(self) -> "Served":
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._server = subprocess.Popen(
            [sys.executable, str(FORKS)], stdin=pipe, stdout=pipe, text=True, env=environment, cwd=self.cwd
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate(timeout=60)

    def start(self, name: str, *overrides: str, cwd: Path | None = None, **fault: Any) -> int:
        """Begin a script; gives the number of its process. `fault`: the fields of a Fault."""
        asked = {"start": name, "overrides": overrides, "cwd": str(cwd or self.cwd)}
        return int(self._ask({**asked, "fault": asdict(Fault(**fault))}))

    def wait(self, process: int, seconds: float = 120) -> Ended:
        """How it ended; see `Child.wait`."""
        return Ended(**self._ask({"wait": process, "seconds": seconds}))

    def run(self, name: str, *overrides: str, cwd: Path | None = None, **fault: Any) -> Ended:
        """Begin a script and wait for it."""
        return self.wait(self.start(name, *overrides, cwd=cwd, **fault))

    def succeed(self, name: str, *overrides: str, cwd: Path | None = None) -> Ended:
        """Run a script that must end with 0."""
        done = self.run(name, *overrides, cwd=cwd)
        assert done.status == 0, f"{name}: {done.status}\n{done.out}{done.err}"
        return done

    def state(self, run: Path) -> dict[str, str]:
        """Every artifact of a run that must come out the same → its hash; see `driver.state`."""
        found: dict[str, str] = self._ask({"state": str(run)})
        return found

    def _ask(self, asked: dict[str, Any]) -> Any:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
