"""Fetch a competition's archive with Kaggle's own command line, or say what is missing for it."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from saltern.errors import ConfigError, DataError
from saltern.files import clear_leftovers, delete, temporary_beside

Runner = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a command and gives its exit status with all it printed."""

_PAGE = "https://www.kaggle.com"


def run_command(command: Sequence[str]) -> tuple[int, str]:
    """Run `command`, without a shell, and wait for it."""
    done = subprocess.run(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def download_competition(
    competition: str,
    target: str | Path,
    run: Runner = run_command,
    which: Callable[[str], str | None] = shutil.which,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """The archive `target/<competition>.zip`, downloaded unless it is there.

    Args:
        competition: the name in the competition's address, such as tgs-salt-identification-challenge.
        target: folder for the archive; made where it is missing.
        run: runs the command.
        which: finds the program.
        environment: where the account's token is looked for, besides the files below HOME; None: this process's.

    Raises:
        ConfigError: not the name of a competition.
        DataError: no command line, no token, rules not accepted, no such competition, or no archive came.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", competition):
        raise ConfigError(f"competition={competition!r}: expected the name in its address, of a-z, 0-9 and hyphens.")
    archive = Path(target).expanduser() / f"{competition}.zip"
    if archive.is_file():
        return archive
    program = which("kaggle")
    if program is None:
        raise DataError(
            "the command `kaggle` is not installed: pip install kaggle. Or download the archive in a browser from "
            f"{_PAGE}/competitions/{competition}/data and run make import archive=FILE."
        )
    _require_token(os.environ if environment is None else environment)
    part = temporary_beside(archive)
    try:
        clear_leftovers(archive.parent)
        part.mkdir(parents=True)
        status, said = run([program, "competitions", "download", "-c", competition, "-p", str(part)])
        if status:
            raise DataError(_explain(competition, said))
        found = sorted(part.glob("*.zip"))
        if len(found) != 1:
            raise DataError(f"kaggle ended without an archive of {competition}; it said: {_tail(said)}")
        found[0].replace(archive)
    except OSError as error:
        raise DataError(f"{archive}: could not be downloaded ({error.strerror}).") from error
    finally:
        delete(part)
    return archive


def _require_token(environment: Mapping[str, str]) -> None:
    home = Path(environment.get("HOME", "~")).expanduser()
    own = home / ".kaggle"
    elsewhere = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"  # where the client looks next
    folders = [Path(environment["KAGGLE_CONFIG_DIR"])] if "KAGGLE_CONFIG_DIR" in environment else [own, elsewhere]
    named = {"KAGGLE_USERNAME", "KAGGLE_KEY"} <= set(environment) or "KAGGLE_API_TOKEN" in environment
    files = [folder / name for folder in folders for name in ("kaggle.json", "access_token")]
    if not named and not any(file.is_file() for file in files):
        raise DataError(
            f"no Kaggle token: {files[0]} is missing. "
            f"Create one at {_PAGE}/settings (API, Create New Token), move it there, and chmod 600 it."
        )


def _explain(competition: str, said: str) -> str:
    if "403" in said or "accept" in said.lower():
        return (
            f"Kaggle refuses {competition}: accept the rules at {_PAGE}/competitions/{competition}/rules "
            f"with the account of your token, then try again. It said: {_tail(said)}"
        )
    if "401" in said or "unauthorized" in said.lower():
        return f"Kaggle does not accept the token; create a new one at {_PAGE}/settings. It said: {_tail(said)}"
    if "404" in said:
        return f"Kaggle knows no competition {competition!r}; expected the name in its address. It said: {_tail(said)}"
    return f"kaggle could not download {competition}. It said: {_tail(said)}"


def _tail(said: str) -> str:
    return " ".join(said.split())[-300:] or "nothing"
