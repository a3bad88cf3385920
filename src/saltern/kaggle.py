"""Kaggle's own command line: found, called, and its answers in our words; or what is missing for it."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saltern.errors import ConfigError, DataError

Runner = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a command and gives its exit status with all it printed."""

PAGE = "https://www.kaggle.com"


def run_command(command: Sequence[str]) -> tuple[int, str]:
    """Run `command`, without a shell, and wait for it."""
    done = subprocess.run(list(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def require_name(competition: str, key: str) -> None:
    """Raise a ConfigError, which names `key`, for what is not the name of a competition."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", competition):
        raise ConfigError(f"{key}={competition!r}: expected the name in its address, of a-z, 0-9 and hyphens.")


@dataclass(frozen=True)
class Kaggle:
    """The command line, with an account's token at hand."""

    program: str
    run: Runner = run_command

    @classmethod
    def found(
        cls,
        instead: str,
        run: Runner = run_command,
        which: Callable[[str], str | None] = shutil.which,
        environment: Mapping[str, str] | None = None,
    ) -> "Kaggle":
        """The command line of this machine.

        Args:
            instead: how to go on without it, for the error.
            run: runs a command.
            which: finds the program.
            environment: where the token is looked for, besides the files below HOME; None: this process's.

        Raises:
            DataError: there is no program, or no token.
        """
        program = which("kaggle")
        if program is None:
            raise DataError(f"the command `kaggle` is not installed: pip install kaggle. Or {instead}.")
        _require_token(os.environ if environment is None else environment)
        return cls(program, run)

    def call(self, verb: str, competition: str, *arguments: str) -> str:
        """`kaggle competitions VERB -c COMPETITION …`: all that it printed.

        Raises:
            DataError: it failed; says why, as far as it did.
        """
        status, said = self.run([self.program, "competitions", verb, "-c", competition, *arguments])
        if status:
            raise DataError(_explain(verb, competition, said))
        return said


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
            f"Create one at {PAGE}/settings (API, Create New Token), move it there, and chmod 600 it."
        )


def _explain(verb: str, competition: str, said: str) -> str:
    if "403" in said or "accept" in said.lower():
        return (
            f"Kaggle refuses {competition}: accept the rules at {PAGE}/competitions/{competition}/rules "
            f"with the account of your token, then try again. It said: {last_words(said)}"
        )
    if "401" in said or "unauthorized" in said.lower():
        return f"Kaggle does not accept the token; create a new one at {PAGE}/settings. It said: {last_words(said)}"
    if "404" in said:
        hint = f"Kaggle knows no competition {competition!r}; expected the name in its address"
        return f"{hint}. It said: {last_words(said)}"
    return f"kaggle could not {verb} ({competition}). It said: {last_words(said)}"


def last_words(said: str) -> str:
    """The end of what the program printed, in one line."""
    return " ".join(said.split())[-300:] or "nothing"
