"""Fetch a competition's archive with Kaggle's own command line, or say what is missing for it."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from saltern.errors import DataError
from saltern.files import clear_leftovers, delete, temporary_beside
from saltern.kaggle import PAGE, Kaggle, Runner, last_words, require_name, run_command


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
    require_name(competition, "competition")
    archive = Path(target).expanduser() / f"{competition}.zip"
    if archive.is_file():
        return archive
    instead = (
        f"download the archive in a browser from {PAGE}/competitions/{competition}/data and run "
        "make import archive=FILE"
    )
    kaggle = Kaggle.found(instead, run, which, environment)
    part = temporary_beside(archive)
    try:
        clear_leftovers(archive.parent)
        part.mkdir(parents=True)
        said = kaggle.call("download", competition, "-p", str(part))
        found = sorted(part.glob("*.zip"))
        if len(found) != 1:
            raise DataError(f"kaggle ended without an archive of {competition}; it said: {last_words(said)}")
        found[0].replace(archive)
    except OSError as error:
        raise DataError(f"{archive}: could not be downloaded ({error.strerror}).") from error
    finally:
        delete(part)
    return archive
