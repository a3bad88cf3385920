"""Which mean over networks a run goes on with that was begun before `inference.mean` could be chosen."""

import logging

from saltern.config import InferenceConfig
from saltern.job import Job

log = logging.getLogger(__name__)

KEY = "inference.mean"
BEFORE = InferenceConfig().mean
"""What a frozen config without the key means."""


def settle_mean(job: Job) -> None:
    """Let a run of an earlier version go on with its mean; all processes must call, before its config is frozen.

    Only where this call does not name the key: what it names is compared with the run as any other setting.
    """
    named = any(text.lstrip("+").startswith(f"{KEY}=") for text in job.overrides)
    group = job.runtime.group
    if not named and group.agree(group.is_main and _of_earlier(job)):
        log.info("%s: was begun before there was %s and goes on with %s", job.run.path, KEY, BEFORE)
        job.config.inference.mean = BEFORE


def _of_earlier(job: Job) -> bool:
    """Whether the run lacks the key and, with the mean of then, would go on and not be begun anew."""
    inference = job.config.inference
    asked = inference.mean
    if asked == BEFORE or not job.life.unstated(KEY):
        return False
    inference.mean = BEFORE
    goes_on = job.life.continued() is not None
    inference.mean = asked
    return goes_on
