"""Names and paths of a config: `~` becomes the home; what no file system takes is refused before anything begins."""

import os
import unicodedata
from operator import attrgetter
from pathlib import Path
from typing import Any

from saltern.errors import ConfigError

FOLDERS = ("outputs", "root", "images", "target", "dataset.root", "dataset.cache_dir")
FILES = ("submission", "sample_submission", "truth", "archive", "folds.file", "model.encoder_weights")
"""Keys of every entry that hold a path."""

LONGEST_NAME = 200
"""Bytes of a run's name between slashes: 255 for the file system, less what is added to it."""
LONGEST_PART = 255
LONGEST_PATH = 3800
"""Bytes of a whole path: 4096 for the system, less the files in it."""


def settle_places(config: Any) -> None:
    """Check every name and path of `config`, a dataclass of the schema, and put the home in place of `~`.

    Raises:
        ConfigError: control characters, bytes that are no text, too long, no such user, a file where folders go.
    """
    for name in (getattr(config, "name", None), *(getattr(config, "runs", None) or ())):
        if name is not None:
            _check_text(str(name), "name", LONGEST_NAME)
    for key in (*FOLDERS, *FILES):
        group, _, field = key.rpartition(".")
        if group and not hasattr(config, group):
            continue
        owner = attrgetter(group)(config) if group else config
        value = getattr(owner, field, None)
        if isinstance(value, str):
            setattr(owner, field, _settled(value, key))


def _settled(value: str, key: str) -> str:
    _check_text(value, key, LONGEST_PART)
    if value.startswith("~"):
        try:
            value = str(Path(value).expanduser())
        except RuntimeError:
            user = value.partition("/")[0]
            raise ConfigError(
                f"{key}={value!r}: there is no user {user[1:]!r} here whose home {user} could be. "
                "A folder of that name is given by its absolute path."
            ) from None
    if key in FOLDERS:
        _check_folder(value, key)
    return value


def _check_text(value: str, key: str, longest: int) -> None:
    strange = [letter for letter in value if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    if strange:
        raise ConfigError(f"{key}={_shown(value)}: holds {strange[0]!r}; expected text without control characters.")
    parts = [len(os.fsencode(part)) for part in value.split("/")]
    if max(parts) > longest or len(os.fsencode(os.path.abspath(value))) > LONGEST_PATH:
        raise ConfigError(
            f"{key}={_shown(value)}: {len(os.fsencode(value))} bytes; expected at most {longest} between slashes "
            f"and {LONGEST_PATH} in all."
        )


def _check_folder(value: str, key: str) -> None:
    """Refuse a path that is, or leads through, a file."""
    path = Path(value).absolute()
    try:
        place = next(place for place in (path, *path.parents) if place.exists() or place.is_symlink())
        if not place.is_dir():
            raise ConfigError(f"{key}={value!r}: {place} is a file, or leads nowhere; expected a folder, or a new one.")
    except OSError as error:
        raise ConfigError(f"{key}={value!r}: cannot be looked at ({error.strerror}).") from None


def _shown(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:80]}…")
