"""Which mean over networks a run goes on with that was begun before `inference.mean` could be chosen."""

import logging

from saltern.config import InferenceConfig
from saltern.job import Job

log = logging.getLogger(__name__)

KEY = "inference.mean"


def settle_mean(job: Job) -> None:
    """Let a run of an earlier version go on with its mean; all processes must call, before its config is frozen.

    Only where this call does not name the key: what it names is compared with the run as any other setting.
    """
    named = any(text.lstrip("+").startswith(f"{KEY}=") for text in job.overrides)
    before, inference = InferenceConfig().mean, job.config.inference
    differs = not named and inference.mean != before
    if job.runtime.group.agree(job.runtime.group.is_main and differs and job.life.unstated(KEY)):
        log.info("%s: was begun before there was %s and goes on with %s", job.run.path, KEY, before)
        inference.mean = before
