"""The spread of a run's seeds, once it is sure that nobody else wrote it."""

from saltern.inference.spread import Spread, read_spread
from saltern.job import Job


def spread_of(job: Job) -> Spread | None:
    """What `make seeds` has measured of the run; None where it was never measured.

    Raises:
        RunError: `seeds.json` is damaged, or was changed by another hand.
    """
    if not job.run.seeds.exists():
        return None
    job.life.check_seeds()
    return read_spread(job.run)
