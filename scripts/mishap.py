"""What nobody foresaw: an error of ours, said in a few lines, with its traceback in a file."""

import platform
import sys
import tempfile
import time
import traceback
from importlib.metadata import version
from pathlib import Path

from saltern.errors import StorageError
from saltern.files import write_text

FOLDER = Path("outputs") / "tracebacks"
REPORT = "send that file, and the command, to whoever looks after your copy of Saltern"


def account_of(error: BaseException) -> str:
    """What happened, where its traceback lies now, how to report it and how to see more."""
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__
    return (
        f"a bug in Saltern, or something that it did not foresee: {what}\n"
        f"  {_written(traceback_of(error))}\n"
        f"  to report it: {REPORT}; debug=true shows the traceback here"
    )


def traceback_of(error: BaseException) -> str:
    """The traceback, with what led to it."""
    return "".join(traceback.format_exception(error))


def _written(trace: str) -> str:
    """Where the traceback was written; where it cannot be written, itself."""
    script = Path(sys.argv[0]).stem
    about = f"{' '.join(sys.argv)}\nsaltern {version('saltern')}, Python {sys.version}, {platform.platform()}\n\n"
    name = f"{script}_{time.strftime('%Y%m%d_%H%M%S')}_{time.time_ns() % 10**6:06d}.txt"
    for folder in (FOLDER if FOLDER.parent.is_dir() else None, Path(tempfile.gettempdir())):
        if folder is None:
            continue
        try:
            write_text(folder / name, (about + trace).encode("utf-8", "backslashreplace").decode("utf-8"))
        except StorageError:
            continue
        return f"its traceback is in {(folder / name).absolute()}"
    return f"its traceback could be written nowhere, so here it is:\n{trace}"
