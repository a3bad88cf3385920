"""One hostile try: it ends with the right result or is refused in words, within 10 seconds and 2 GiB."""

import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from saltern.errors import SalternError

SECONDS = 10.0
MEBIBYTES = 2048
SCREEN = 40
"""Lines of a message."""


@dataclass
class Tally:
    """How the tries of a family ended."""

    family: str
    seconds: float = SECONDS
    """The most that a try may take; more for whole commands on a machine that is shared."""
    outcomes: Counter[str] = field(default_factory=Counter)

    def attempt(self, what: str, work: Callable[[], object]) -> str:
        """Do `work`, which asserts that its result is right, and count how it ended: `right` or `refused`.

        Anything else fails the test: another error, a message longer than a screen, a try that is slow or large.
        `what` names the try, so that it can be repeated.
        """
        began, peak, said = time.monotonic(), _peak(), "right"
        try:
            work()
            outcome = "right"
        except SalternError as error:
            outcome, said = "refused", str(error)
        except Exception as error:
            raise AssertionError(f"{self.family}, {what}: {type(error).__name__}: {error}") from error
        assert said.strip(), f"{self.family}, {what}: refused without a word"
        assert len(said.splitlines()) <= SCREEN, f"{self.family}, {what}: {said}"
        took, grown = time.monotonic() - began, _peak() - peak
        assert took <= self.seconds, f"{self.family}, {what}: {took:.1f} s"
        assert grown <= MEBIBYTES, f"{self.family}, {what}: {grown} MiB"
        self.outcomes[outcome] += 1
        return outcome

    @property
    def tries(self) -> int:
        """How many there were."""
        return self.outcomes.total()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
