"""Which names of files and ids every stage can carry: a line of a CSV, a key in safetensors, the name of a file."""

import unicodedata

LONGEST_ID = 200
"""Bytes in UTF-8; file systems take 255, of which a submission of images needs some for itself."""
RESERVED = ("__metadata__",)
"""Keys with a meaning of their own where probabilities are stored."""
_CONTROL = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, of bytes that are no UTF-8, and of line and paragraph separators."""


def unfit_text(text: str) -> str | None:
    """Why `text`, an id or a path, cannot be carried; None where it can."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            return "is not UTF-8"
        if category in _CONTROL:
            return f"holds the control character {character!r}"
    return None


def unfit_id(name: str) -> str | None:
    """Why `name` cannot be the id of an image; None where it can."""
    reason = unfit_text(name)
    if reason is None and name in RESERVED:
        return "is a reserved word"
    size = len(name.encode(errors="surrogateescape")) if reason is None else 0
    return f"has {size} bytes; at most {LONGEST_ID} fit" if size > LONGEST_ID else reason


def shown(text: str, most: int = 80) -> str:
    """`text` for a message: quoted, with escapes for what cannot be printed, shortened in its middle."""
    return repr(text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}")


def printable(text: str) -> str:
    """`text` with escapes for what cannot be printed or would steer a terminal; line breaks stay."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        character if character == "\n" or unicodedata.category(character) not in _CONTROL else repr(character)[1:-1]
        for character in text
    )
