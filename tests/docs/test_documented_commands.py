"""Every command in README and docs means something, and those that nothing is missing for do what they say."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documented import PAGES as ALL_PAGES
from documented import ROOT, Command, Stale, blocks, check, commands, compose, of_make, stages, targets
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from served import Served

from saltern.errors import ConfigError

PAGES = [page for page in ALL_PAGES if commands(page)]
TOLD = [page for page in PAGES if any(item.fenced and not item.needs for item in commands(page))]
"""Pages with commands that are run."""
FILE = re.compile(r"Make the file `(configs/[\w/]+\.yaml)`:")
"""The line above a block that shows a file which the reader is asked to make."""


def name_of(page: Path) -> str:
    return page.stem


def make_place(place: Path, page: Path) -> Path:
    """A folder in which `make` works as in a clone, with the files that `page` asks its reader to make."""
    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "docs", "benchmarks", "tests", "src"):
        (place / name).symlink_to(ROOT / name)
    (place / ".venv").symlink_to(sys.prefix)
    for block in blocks(page.read_text()):
        shown = FILE.search(block.above)
        if shown:
            (place / shown[1]).write_text(block.text + "\n")
    return place


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_means_something(page: Path, tmp_path: Path) -> None:
    place = make_place(tmp_path / "place", page) if FILE.search(page.read_text()) else ROOT
    found = commands(page)
    assert found
    for command in found:
        try:
            check(command, place)
        except Exception as error:
            raise AssertionError(f"{command}\n{error}") from error


# --------------------------------------------------------------------------------------- run them
def tiny(config: Any) -> list[str]:
    """Overrides that make a run of seconds of `config`, a RunConfig, with all of its parts."""
    short = ["trainer.batch_size=8"]
    if config.folds.kind not in ("predefined", "file"):
        short.append(f"folds.n={2 if config.trainer.folds is None else 3}")
    for name, phase in config.schedule.phases.items():
        short.append(f"schedule.phases.{name}.epochs=1")
        if phase.warmup_epochs:
            short.append(f"schedule.phases.{name}.warmup_epochs=0")
    if config.dataset.layout == "sample":
        short += ["dataset.train=24", "dataset.test=40", "dataset.side=32"]
    if config.dataset.train_crop is not None:
        short.append("dataset.train_crop=[32,32]")
    return short


def output_of(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


FEWER = {"docs/tutorial/draw_ponds.py": ["--photographs", "3"]}
"""What makes a program of a page, other than a script, a matter of seconds."""


class Reader:
    """Gives the commands of a page one after the other, as a reader would, with runs of seconds."""

    def __init__(self, place: Path, served: Served) -> None:
        self.place, self.served = place, served
        self.short: dict[str, list[str]] = {}
        """Run → what was added to the command that began it."""

    def give(self, command: Command) -> None:
        program, *words = command.words
        if program != "make":
            self._python([program, *words])
            return
        goals, _, overrides = of_make(words)
        dry = [*words]
        for script in {targets()[goal] for goal in goals} - {None}:
            config = compose(self.place, f"scripts/{script}.py", overrides)[0]
            if hasattr(config, "schedule") and script != "import":
                given = self.short.setdefault(config.name, tiny(config))
                dry = [word for word in words if not word.startswith("ARGS=")]
                already = next((word.removeprefix("ARGS=") for word in words if word.startswith("ARGS=")), "")
                dry.append(f"ARGS={already} {' '.join(given)}")
        for line in self._would_do(dry):
            if set(goals) <= stages():
                self._python(line)

    def _would_do(self, words: list[str]) -> list[list[str]]:
        """The commands that make would run, which it says without running them."""
        told = output_of(["make", "-n", "-o", ".venv/.installed", *words], self.place)
        assert told.returncode == 0, told.stderr
        lines = [shlex.split(line.lstrip("@")) for line in told.stdout.splitlines() if "/bin/python " in line]
        return [line for line in lines if line[0].endswith("python")]

    def _python(self, words: list[str]) -> None:
        _, file, *given = words
        if Path(file).parent.name == "scripts":
            done = self.served.run(str(self.place / file).removesuffix(".py"), *given, cwd=self.place)
            assert done.status == 0, f"{shlex.join(words)}: {done.status}\n{done.out[-3000:]}{done.err[-3000:]}"
            return
        plain = subprocess.run(
            [sys.executable, *words[1:]], cwd=self.place, capture_output=True, text=True, check=False
        )
        assert plain.returncode == 0, f"{shlex.join(words)}: {plain.returncode}\n{plain.stdout}{plain.stderr}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.mark.parametrize("page", TOLD, ids=name_of)
def test_a_reader_who_gives_the_commands_of_a_page_gets_what_it_says(
    page: Path, served: Served, tmp_path: Path
) -> None:
    reader = Reader(make_place(tmp_path / "place", page), served)
    run = [command for command in commands(page) if command.fenced and not command.needs]
    for command in run:
        try:
            reader.give(command)
        except AssertionError as error:
            raise AssertionError(f"{command}\n{error}") from error
    for name in reader.short:
        assert list((reader.place / "outputs").rglob(f"{name}*")), f"{page.name}: nothing is left of {name}"


# ------------------------------------------------------------------------- the collector itself
def written(tmp_path: Path, text: str) -> list[Command]:
    page = ROOT / "docs" / "a_page_that_is_only_read.md"
    (tmp_path / page.name).write_text(text)
    return commands(tmp_path / page.name)


def test_what_counts_as_a_command(tmp_path: Path) -> None:
    text = """Say `make folds` or
`make tune
name=a`, never `makeshift`.

```
$ make train name=a \\
    seed=1   # a comment
outputs/a/report.html
```

<!-- needs: gpu -->

```sh
python benchmarks/losses.py
```

```python
make = 3
```
"""
    found = written(tmp_path, text)
    assert [(item.line, item.fenced, item.needs, item.words) for item in found] == [
        (1, False, None, ["make", "folds"]),
        (2, False, None, ["make", "tune", "name=a"]),
        (6, True, None, ["make", "train", "name=a", "seed=1"]),
        (14, True, "gpu", ["python", "benchmarks/losses.py"]),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "make trian",
        "make train trainer.batchsize=3",
        "make train trainer.precision=fp8",
        "make train model=unet_resnet35",
        'make train ARGS="-m trainer.folds=[0],[a]"',
        "make train OPTIONS=-m",
        "make compare name=a",
        "make score submission=a.csv",
        "make lint strict=true",
        "python docs/tutorial/draw_lakes.py",
        "python -m pytset tests",
        "python -m pytest tests/nowhere",
        "python benchmarks/training.py dataset=tsg",
    ],
)
def test_a_stale_command_is_found_even_where_it_is_marked(text: str, tmp_path: Path) -> None:
    (command,) = written(tmp_path, f"<!-- needs: gpu -->\n```\n{text}\n```\n")
    assert command.needs == "gpu"
    with pytest.raises((Stale, ConfigError, HydraException, OmegaConfBaseException)):
        check(command)


def test_a_command_that_holds_is_let_through(tmp_path: Path) -> None:
    lines = [
        "make train 'trainer.folds=[all]' name=big",
        'make train ARGS="-m trainer.folds=[0],[1]" seed=3',
        "make lr phase=fine_tune steps=30",
        "make score submission=a.csv truth=b.csv format.empty=-1",
        "make seeds name=a seeds=[1,2]",
        "make lint PYTHON=python3.11",
        "python benchmarks/training.py dataset=tgs dataset.root=PATH",
        "python -m pytest tests/docs -m slow",
    ]
    found = written(tmp_path, "```\n" + "\n".join(lines) + "\n```\n")
    assert len(found) == len(lines)
    for command in found:
        check(command)


def test_the_pages_that_are_read_are_there() -> None:
    assert {"README", "quickstart", "competition", "howto", "training", "losses"} <= {page.stem for page in PAGES}
    assert {"README", "quickstart", "competition", "howto"} <= {page.stem for page in TOLD}
    assert os.access(ROOT / "docs/tutorial/draw_ponds.py", os.R_OK)
