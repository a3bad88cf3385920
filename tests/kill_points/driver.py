"""Ends a command just before its n-th change of the file system, for every n, and lets it go on.

A child that is ended so has no last words, as after SIGKILL: Python's clean-up does not run, and what it had not
flushed is lost.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from forks import KILLED, Fault, fork, script

UNSTABLE = ("images_per_s", "memory_mib", "platform", "seconds", "longest")
"""What depends on the clock: columns of `metrics.csv`, keys of a checkpoint."""


def checkpoint(path: Path) -> str:
    """A hash of what a checkpoint holds but for times; how pickle shares equal objects in it is no matter."""
    content = torch.load(path, weights_only=True)
    found = hashlib.sha256()

    def walk(node: object) -> None:
        if isinstance(node, torch.Tensor):
            found.update(f"{node.dtype} {tuple(node.shape)}".encode() + node.contiguous().numpy().tobytes())
        elif isinstance(node, dict):
            for key, value in node.items():
                if key in UNSTABLE:
                    continue
                found.update(repr(key).encode())
                walk(value)
        elif isinstance(node, list | tuple):
            for value in node:
                walk(value)
        else:
            found.update(repr(node).encode())

    walk(content)
    return found.hexdigest()


def state(run: Path) -> dict[str, str]:
    """Every artifact of a run that must come out the same → its SHA-256; speeds and event files are left out."""
    found = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        if not path.is_file() or "tensorboard" in name or name.endswith((".html", "metrics.csv", "environment.json")):
            continue
        if name.endswith("done/report.json"):  # holds the hash of the page, and so of the speeds on it
            continue
        found[name] = checkpoint(path) if path.suffix == ".ckpt" else hashlib.sha256(path.read_bytes()).hexdigest()
    for path in run.glob("fold_*/metrics.csv"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        kept = [number for number, name in enumerate(rows[0]) if name not in UNSTABLE]
        found[path.relative_to(run).as_posix()] = str([[row[number] for number in kept] for row in rows])
    return found


def fold_training(folder: Path, settings: dict[str, object]) -> Callable[[], None]:
    """The training of the smallest of folds, without a run around it."""

    def run() -> None:
        sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
        from fold_runs import data, fresh, phases, trainer

        from saltern.files import clear_leftovers

        clear_leftovers(folder)  # as whoever holds a fold does
        schedule = phases(epochs=2, lr_policy="cosine_restarts", cycles=2, snapshots=bool(settings["snapshots"]))
        keep = {"keep": settings["keep"], **({"soup_epochs": 2} if settings["keep"] == "average" else {})}
        engine, _ = trainer(folder, schedule, **keep, **({"ema_decay": 0.9} if settings["average"] else {}))
        engine.fit(fresh(), data(), seed=7)

    return run


@dataclass
class Task:
    """What to end before its changes, and what goes on from there."""

    run: str
    """The folder whose state counts."""
    first: tuple[str, list[str] | dict[str, object]]
    """A script with its overrides, or `fold` with its settings: what is ended."""
    then: tuple[str, list[str] | dict[str, object]]
    """What is done after that."""
    before: str | None = None
    """A folder from which each try starts; None: nothing."""
    points: int = 0
    """At most this many changes, evenly spread; 0 is all."""

    def work(self, step: tuple[str, list[str] | dict[str, object]]) -> Callable[[], None]:
        """What a step does."""
        name, settings = step
        if isinstance(settings, dict):
            return fold_training(Path(self.run), settings)
        return script(name, settings)

    def fresh(self) -> None:
        """Begin a try."""
        shutil.rmtree(self.run, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.run)


def state_of(run: Path) -> dict[str, str]:
    """`state`, taken in a child: torch's threads, once begun here, would hang every later fork."""

    def say() -> None:
        sys.stdout.write(json.dumps(state(run)))

    done = fork(say)
    assert done.status == 0, done.err
    found: dict[str, str] = json.loads(done.out)
    return found


def enumerate_kills(task: Task) -> dict[str, object]:
    """End the first step before each of its changes, do what follows; the outcome must be the undisturbed one."""
    run = Path(task.run)
    task.fresh()
    first = fork(task.work(task.first), Fault(str(run)))
    assert first.status == 0, first.err
    seen, then = first.seen, fork(task.work(task.then))
    assert then.status == 0, then.err
    right = state_of(run)
    numbers = list(range(1, len(seen) + 1))
    if task.points and task.points < len(numbers):
        numbers = [numbers[round(index * (len(numbers) - 1) / (task.points - 1))] for index in range(task.points)]
    killed, wrong = 0, []
    for number in numbers:
        where = f"{number}, before {seen[number - 1]}"
        task.fresh()
        ended = fork(task.work(task.first), Fault(str(run), number))
        if ended.status not in (KILLED, 0):  # 0: this time there was a change less
            wrong.append(f"{where}: ended with {ended.status}: {ended.err[-3000:]}")
            continue
        killed += ended.status == KILLED
        then = fork(task.work(task.then))
        now = state_of(run)
        if then.status or now != right:
            differing = sorted(key for key in right.keys() | now.keys() if right.get(key) != now.get(key))
            wrong.append(f"{where}: then status {then.status}, {differing[:5]} differ\n{then.err[-3000:]}")
        litter = [path.name for path in run.rglob("*.tmp")]
        if litter:
            wrong.append(f"{where}: left {litter[:3]}")
    return {"changes": len(seen), "killed": killed, "files": len(right), "wrong": wrong, "seen": seen}


def main() -> None:
    """Read a task as JSON from the first argument, print what was found as JSON."""
    import saltern.pipeline  # noqa: F401 (imported once, before the forks)

    sys.stdout.write(json.dumps(enumerate_kills(Task(**json.loads(sys.argv[1])))) + "\n")


if __name__ == "__main__":
    main()
