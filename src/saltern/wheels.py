"""Wheels for a machine without a network: Saltern's own, built here, and those of other packages, by pip."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from saltern.errors import RunError

_TREE = ("pyproject.toml", "README.md", "LICENSE", "src")
"""What Saltern's wheel is built of."""
_FLAGS = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--no-input")


def build_own_wheel(project: Path, target: Path) -> Path:
    """Build the wheel of the checkout at `project` into the folder `target`, without a network; gives its path.

    A copy is built, so that nothing of an earlier build gets in and nothing is left behind.

    Raises:
        RunError: there is no checkout, or it cannot be built; with pip's last words.
    """
    lacking = [name for name in _TREE if not (project / name).exists()]
    if lacking:
        raise RunError(
            f"{project}: holds no {', '.join(lacking)}, so it is no checkout of Saltern and there is nothing to build "
            "its wheel of. Call `make bundle` in a clone of the repository."
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "saltern"
        copy.mkdir()
        for name in _TREE:
            if (project / name).is_dir():
                shutil.copytree(project / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            else:
                shutil.copyfile(project / name, copy / name)
        said = _pip("--no-index", str(copy), target)
    found = sorted(target.glob("saltern-*.whl"))
    if said is not None or len(found) != 1:
        raise RunError(f"{project}: its wheel cannot be built: {said or 'pip gave none'}.")
    return found[0]


def fetch_wheels(names: Sequence[str], locked: Path, target: Path) -> dict[str, str]:
    """Put the wheels of `names`, at the versions that `locked` (a requirements.txt) has, into the folder `target`.

    Not what they depend on. `pip wheel` is asked rather than `pip download`, since of some there is no wheel, and what
    they are made of would have to be built on the other machine.

    Returns:
        Name → why it could not be had, for those that could not.
    """
    versions = locked_versions(locked)
    known = {name: f"{name}=={versions[_plain(name)]}" for name in names if _plain(name) in versions}
    missing = {name: f"{locked.name} has no version of it" for name in names if name not in known}
    if known and _pip(*known.values(), target) is not None:
        for name, asked in known.items():
            said = _pip(asked, target)
            if said is not None:
                missing[name] = said
    return missing


def locked_versions(path: Path) -> dict[str, str]:
    """Name, lower case with hyphens → version, of the lines NAME==VERSION of a requirements.txt.

    Raises:
        RunError: there is no such file.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file; expected the lock of Saltern's checkout, with lines NAME==VERSION.")
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.M)
    return {_plain(name): version for name, version in found}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip(*asked: str | Path) -> str | None:
    """Let pip make wheels of all but the last of `asked`, into the folder that is the last.

    Returns:
        None where it did; else its last line that says something.
    """
    *what, target = map(str, asked)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *_FLAGS, "--wheel-dir", target, *what],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return ([*errors, *lines] or [f"pip ended with status {done.returncode}"])[0].removeprefix("ERROR: ")[:300]
