"""The words for an image file that is refused."""

from saltern.data.source.limits import MAX_PIXELS
from saltern.errors import DataError


def check_size(height: int, width: int, where: object) -> None:
    """Refuse a size that no image has, before memory is asked for.

    Raises:
        DataError: nothing, or more than `MAX_PIXELS`.
    """
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise unreadable(where, f"it claims {height} x {width} pixels; at most {MAX_PIXELS:,} are read")


def unreadable(where: object, why: object) -> DataError:
    """The error for the file at `where`."""
    return DataError(f"{where}: not readable as an image: {why}. Unpack or download it again.")
