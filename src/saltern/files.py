"""Files that are whole or not there: writes in one step, and the leftovers of processes that died."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from saltern.errors import RunError, StorageError

Content = TypeVar("Content")

SUFFIX = ".tmp"
"""Of everything that is not finished yet."""
FOREIGN_AGE = 24 * 3600
"""Seconds after which an untouched leftover of another machine counts as abandoned."""
_NAME = re.compile(r"\.(?P<host>[\w-]+)\.(?P<process>\d+)\.[0-9a-f]{8}\.tmp$")


def temporary_beside(path: Path) -> Path:
    """A new name beside `path` that says whose it is: host, process, a random part. Nothing is created."""
    label = path.name.encode()[:60].decode(errors="ignore")
    return path.with_name(f".{label}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}{SUFFIX}")


def leftovers(folder: Path) -> list[Path]:
    """Temporary files and folders directly in `folder` whose process is gone; those of living ones are left out."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX) and _is_abandoned(path))


def clear_leftovers(folder: Path) -> list[Path]:
    """Delete what `leftovers` finds; returns it."""
    found = leftovers(folder)
    for path in found:
        delete(path)
    return found


def delete(path: Path) -> None:
    """Delete a file, a link, or a folder with all it holds; what is gone already is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    match = _NAME.search(path.name)
    if match is None:
        return False  # not ours to judge
    if match["host"] != _host():
        try:
            return time.time() - path.lstat().st_mtime > FOREIGN_AGE
        except OSError:
            return False
    try:
        os.kill(int(match["process"]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False  # alive, another user's
    return False


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname(), flags=re.ASCII)[:40] or "host"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on leaving without an error it is synced and becomes `path`.

    A reader sees the old file or the new one, never a part; after an error the old file is untouched.

    Raises:
        StorageError: the disk is full, the folder cannot be written to, and the like.
    """
    temporary = temporary_beside(path)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: give a new temporary one beside `path`; on leaving without an error it takes its place.

    What lay at `path` is deleted then, and comes back if the last step fails. Between the two renames there is nothing
    at `path`: this is for what can be made again, such as drawings and results.

    Raises:
        StorageError: as `atomic`.
    """
    new, old = temporary_beside(path), temporary_beside(path)
    try:
        with storage_errors(path):
            new.mkdir(parents=True)
            yield new
            if path.exists():
                path.rename(old)
            try:
                new.rename(path)
            except OSError:
                if old.exists() and not path.exists():
                    old.rename(path)
                raise
    finally:
        delete(new)
        delete(old)


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError of writing `path` into a StorageError that says what failed and how much room is left."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {_reason(error, path)}") from error


def as_storage_error(error: OSError) -> StorageError:
    """An OSError that nothing nearer to it has answered, such as of a folder whose rights were taken away meanwhile."""
    place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None
    said = _reason(error, place or Path())
    return StorageError(f"{place}: {said}" if place else f"the system refuses: {said}")


def _reason(error: OSError, path: Path) -> str:
    said = error.strerror or str(error) or type(error).__name__
    if error.errno == errno.EFBIG:
        return f"{said}. The system limits the size of a file (ulimit -f, or the file system itself)."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{said}; {_free(path)} are free. Free some, or move (outputs=, dataset.root=, dataset.cache_dir=)."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{said}. Choose a folder that you may write to (outputs=FOLDER), or change its rights."
    return f"{said}."


def _free(path: Path) -> str:
    for folder in path.absolute().parents:
        if folder.is_dir():
            return f"{shutil.disk_usage(folder).free:,} bytes"
    return "0 bytes"


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON in one step; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


MEND = "Delete it and run its stage again."


def read_json(path: Path, mend: str = MEND) -> Any:
    """Read a JSON file; `mend` is the sentence that says what to do about one that is damaged.

    Raises:
        RunError: the file is missing or is no JSON in UTF-8; NaN and infinity are none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; run the stage that writes it first.") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise RunError(f"{path}: not readable as JSON ({error}). {mend}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_as(path: Path, kind: type[Content], mend: str = MEND) -> Content:
    """Read a JSON file as `kind`, a pydantic model or a dataclass, without converting anything.

    Raises:
        RunError: as `read_json`, and for content of another shape; says which part is not as expected.
    """
    content = read_json(path, mend)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise RunError(f"{path}: not what Saltern writes there ({where[:120]}: {first['msg'][:200]}). {mend}") from None
