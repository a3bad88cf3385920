"""The commands that README and docs show, and what each of them would do.

A command is a line of a fenced block, or an inline piece of code, that begins with `make` or `python`. Inline ones are
checked: target, file, and every override, composed as the script would. Lines of blocks are also run, unless the line
above the block says what CI lacks: `<!-- needs: gpu -->`.
"""

import ast
import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from saltern.config import as_meant, compose_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()
FENCE = re.compile(r"^\s*```+\s*(\S*)\s*$")
NEEDS = re.compile(r"<!--\s*needs:\s*(.+?)\s*-->")
FIRST = re.compile(r"(make|(\S*/)?python3?) ")
SHELLS = ("", "sh", "bash", "console")
PLACEHOLDERS = re.compile(r"[…]|\.\.\.")
MANNER = ("quiet", "debug")
"""What every script takes before it composes anything: `scripts/manner.py`."""


class Stale(AssertionError):
    """A command that does not do what the page says, or does nothing any more."""


@dataclass(frozen=True)
class Command:
    """One command of a page."""

    page: Path
    line: int
    text: str
    fenced: bool
    needs: str | None = None
    """What CI lacks to run it."""

    @property
    def words(self) -> list[str]:
        """Its words, as a shell splits them, without a comment at its end and placeholders like `…`."""
        text = self.text if self.fenced else self.text.replace("<", "").replace(">", "")
        return [word for word in shlex.split(text, comments=True) if not PLACEHOLDERS.fullmatch(word)]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}: {self.text}"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    line: int
    language: str
    text: str
    above: str
    """The last line with anything on it before the block."""

    @property
    def needs(self) -> str | None:
        """What CI lacks to run it."""
        marker = NEEDS.search(self.above)
        return marker[1] if marker else None


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    begun: tuple[int, str] | None = None
    inside: list[str] = []
    above = ""
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if begun is None and fence:
            begun, inside = (number, fence[1]), []
        elif begun is not None and line.strip().startswith("```"):
            found.append(Block(*begun, "\n".join(inside), above))
            begun, above = None, ""
        elif begun is not None:
            inside.append(line)
        elif line.strip():
            above = line
    assert begun is None, f"line {begun}: a fence that is not closed"
    return found


def commands(page: Path) -> list[Command]:
    """The commands of a page, in order."""
    text = page.read_text()
    found = []
    for block in blocks(text):
        if block.language not in SHELLS:
            continue
        for offset, line in enumerate(block.text.replace("\\\n", " ").splitlines(), 1):
            shown = line.strip().removeprefix("$ ")
            if FIRST.match(shown):
                found.append(Command(page, block.line + offset, shown, True, block.needs))
    bare = re.sub(r"^\s*```.*?^\s*```\s*$", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    for piece in re.finditer(r"`([^`]+)`", bare):
        shown = " ".join(piece[1].split())
        if FIRST.match(shown):
            found.append(Command(page, bare.count("\n", 0, piece.start()) + 1, shown, False))
    return sorted(found, key=lambda command: command.line)


# ------------------------------------------------------------------------------------------ make
def targets() -> dict[str, str | None]:
    """Target of the Makefile → the script that it runs with overrides, if it does."""
    found = {}
    for rule in re.finditer(r"^([a-z][a-z-]*):.*\n((?:\t.*\n)*)", MAKEFILE, re.M):
        script = re.search(r"\$\(call run,([\w-]+)\)", rule[2])
        found[rule[1]] = script[1] if script else None
    return found


def stages() -> set[str]:
    """The targets that a user's run is made of; the others are development."""
    listed = re.search(r"^STAGES\s*:=\s*(.*)$", MAKEFILE, re.M)
    assert listed is not None
    return set(listed[1].split())


def of_make(words: list[str]) -> tuple[list[str], dict[str, str], list[str]]:
    """Targets, variables of make, and overrides (those in ARGS too, flags first) of make's arguments."""
    goals = [word for word in words if "=" not in word and not word.startswith("-")]
    given = [word.partition("=") for word in words if "=" in word]
    variables = {name: value for name, _, value in given if name.isupper()}
    overrides = [f"{name}={value}" for name, _, value in given if not name.isupper()]
    return goals, variables, [*shlex.split(variables.get("ARGS", "")), *overrides]


def entry_of(script: Path) -> tuple[str, str]:
    """(folder of its config, name of its config) of a Hydra script; ("configs", "run") where it composes a run."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hydra.main":
            given = {item.arg: ast.literal_eval(item.value) for item in node.keywords}
            return given["config_path"].removeprefix("../"), given["config_name"]
    return "configs", "run"


# ----------------------------------------------------------------------------------------- checks
def check(command: Command, place: Path = ROOT) -> None:
    """Whether the command means something: its target or file is there, and its overrides compose and are valid.

    `place` is the folder whose `configs/` are meant.

    Raises:
        Stale: a target, file, module or variable that there is not.
        ConfigError: an override that the script would refuse.
    """
    program, *words = command.words
    if program != "make":
        return _check_python(command, words, place)
    goals, variables, overrides = of_make(words)
    known = targets()
    if not goals or not set(goals) <= known.keys():
        raise Stale(f"{command}: make has {', '.join(known)}, but not {goals}")
    for name in variables:
        if not re.search(rf"^{name}\s*[?:]?=", MAKEFILE, re.M):
            raise Stale(f"{command}: the Makefile has no variable {name}")
    scripts = {known[goal] for goal in goals} - {None}
    if overrides and not scripts:
        raise Stale(f"{command}: make {goals[0]} takes no overrides")
    for script in scripts:
        if overrides or command.fenced:
            compose(place, f"scripts/{script}.py", overrides)
    return None


def _check_python(command: Command, words: list[str], place: Path) -> None:
    if words[0] == "-m":
        if importlib.util.find_spec(words[1]) is None:
            raise Stale(f"{command}: there is no module {words[1]}")
        files = [word for word in words[2:] if word.startswith(("tests", "docs", "benchmarks", "src"))]
    else:
        files = words[:1]
    for name in files:
        if not (place / name).exists():
            raise Stale(f"{command}: there is no {name}")
    overrides = [word for word in words if re.match(r"[\w.]+=", word)]
    if overrides:
        compose(place, files[0], overrides)


def compose(place: Path, script: str, overrides: list[str]) -> list[object]:
    """The configs that the script would make of the overrides, several where it is a multirun."""
    folder, entry = entry_of(place / script)
    several = bool({"-m", "--multirun"} & set(overrides))
    own = [text for text in overrides if not text.startswith("-") and text.partition("=")[0] not in MANNER]
    meant = [as_meant(text, multirun=several) for text in own]
    with initialize_config_dir(str(place / folder), version_base="1.3"):
        return [compose_config(entry, list(chosen)) for chosen in itertools.product(*map(_choices, meant))]


def _choices(override: str) -> Iterator[str]:
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return iter([override])
    return iter([f"{parsed.get_key_element()}={value}" for value in parsed.sweep_string_iterator()])
