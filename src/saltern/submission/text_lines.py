"""A file as lines of text with all that spreadsheets and broken transfers do to them, told and mended for reading."""

from collections.abc import Iterator
from pathlib import Path

from saltern.errors import DataError
from saltern.submission.findings import Findings

BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


def lines_of(path: Path, findings: Findings) -> Iterator[str]:
    """The lines of `path`, each with one line end; what is odd about their bytes goes to `findings`.

    Bytes that are no UTF-8 become replacement characters, so that the rest of the file can still be examined.

    Raises:
        DataError: it cannot be read, or is UTF-16.
    """
    try:
        with path.open("rb") as file:
            yield from _lines(path, file, findings)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a CSV file.") from None


def _lines(path: Path, file: Iterator[bytes], findings: Findings) -> Iterator[str]:
    number, raw = 0, b"\n"
    for raw in file:
        start = raw
        if number == 0:
            if raw[:2] in _WIDE:
                raise DataError(f"{path}: is UTF-16 text; expected UTF-8. Save it again as CSV (UTF-8).")
            if raw.startswith(BOM):
                text = "begins with a byte-order mark, which some readers take for a part of the first column's name"
                findings.warning(1, "byte-order marks", text)
                start = raw[len(BOM) :]
        if start.endswith(b"\r\n"):
            start = start[:-2] + b"\n"
            findings.warning(number + 1, "Windows line ends", "ends in \\r\\n; expected \\n alone")
        for piece in start.removesuffix(b"\n").removesuffix(b"\r").split(b"\r"):
            number += 1
            yield _decoded(piece, number, findings) + "\n"
        if b"\r" in start:
            findings.warning(number, "old line ends", "holds \\r without \\n, read as a line end; expected \\n")
    if not raw.endswith((b"\n", b"\r")):
        findings.warning(number, "cut files", "the last line has no line end: was the file cut off?")


def _decoded(piece: bytes, number: int, findings: Findings) -> str:
    if b"\0" in piece:
        findings.error(number, "zero bytes", "holds a zero byte, which no text has; write the file again")
        piece = piece.replace(b"\0", b"?")
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError as error:
        text = f"is not UTF-8 (byte {piece[error.start]:#04x} at {error.start + 1}); save the file as UTF-8"
        findings.error(number, "lines that are not UTF-8", text)
        return piece.decode("utf-8", "replace")
