"""The errors that are meant for the user: each says where, what came, what was expected, what to do."""

from collections.abc import Sequence
from difflib import get_close_matches


class SalternError(ValueError):
    """Something the user can mend. Scripts print its text without a traceback and exit with status 2."""


class ConfigError(SalternError):
    """A setting that cannot be: unknown key or name, wrong type, contradiction with a frozen run."""


class DataError(SalternError):
    """A data set that is not what its layout promises. Its text lists every problem that was found."""

    @classmethod
    def of(cls, where: str, problems: Sequence[str], most: int = 20) -> "DataError":
        """One error for all `problems` of the data set at `where`; past `most` they are counted, not listed."""
        assert problems, "an error without a problem"
        plural = "" if len(problems) == 1 else "s"
        lines = [f"{where}: {len(problems)} problem{plural} found"]
        lines += [f"  - {problem}" for problem in problems[:most]]
        if len(problems) > most:
            lines.append(f"  … and {len(problems) - most} more")
        return cls("\n".join(lines))


class RunError(SalternError):
    """A run folder that does not hold what a stage needs, or that must not be overwritten."""


class StorageError(SalternError):
    """A file that cannot be written: a full disk, a folder without rights, a quota. Its text names the path."""


class TrainingError(SalternError):
    """Training that cannot go on, such as a loss that is not finite."""


def unknown(what: str, name: str, known: Sequence[str], most: int = 24) -> str:
    """The sentence for a name that is not in a table: `what` it is, the nearest match, the known names."""
    nearest = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
    more = f", … ({len(known)} in all)" if len(known) > most else ""
    return f"unknown {what} {name!r}.{hint} Known: {', '.join(known[:most])}{more}."
