"""The one check that a name passes before a path is made of it, and how a name is shown."""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from saltern.errors import DataError

MAX_PART = 255
"""Bytes; what file systems take."""
MAX_PATH = 1000
"""Bytes of a whole path below the target."""
_CHARACTERS = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f-\x9f\u2028\u2029]')
"""Separators and drives of Windows, what it forbids in names, and control characters."""
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)", re.IGNORECASE)


def plain_parts(name: str, where: str) -> tuple[str, ...]:
    """The folders of a relative path and its last name, without `./`; at least one.

    Raises:
        DataError: not a plain path below a folder on every system.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    faults = (_fault(part) for part in parts)
    fault = "it begins with /" if name.startswith("/") else next((one for one in faults if one is not None), None)
    if fault is None and not parts:
        fault = "it names nothing"
    if fault is None and len(name.encode()) > MAX_PATH:
        fault = f"it is longer than {MAX_PATH} bytes"
    if fault is not None:
        raise DataError(
            f"{where}: {shown(name)} is no plain path below the target folder: {fault}; refused. "
            "Give it another name and pack the archive anew."
        )
    return parts


@lru_cache(1 << 12)
def _fault(part: str) -> str | None:
    """What keeps `part` from being the name of a file on every system; None: nothing."""
    return next(_faults(part), None)


def _faults(part: str) -> Iterator[str]:
    try:
        length = len(part.encode())
    except UnicodeEncodeError:
        yield "it is not UTF-8"
        return
    found = _CHARACTERS.search(part)
    if not part.strip("."):
        yield "a part of it has only dots"
    if part != part.strip() or part.endswith("."):
        yield "a part of it begins or ends with a blank, or ends with a dot"
    if found is not None:
        yield f"it holds {found[0]!a}"
    if _DEVICE.match(part) is not None:
        yield f"{shown(part)} is a device on Windows"
    if length > MAX_PART:
        yield f"a part of it is longer than {MAX_PART} bytes"


def folded(name: str) -> str:
    """What `name` becomes on a system that tells apart neither case nor how accents are written."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def shown(name: str) -> str:
    """`name` for a message: in quotes, what cannot be printed escaped, at most 120 characters."""
    return repr(name if len(name) <= 120 else f"{name[:80]}…{name[-36:]}")
