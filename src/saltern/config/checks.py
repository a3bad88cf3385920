"""Checks that a type cannot express; each answers with the key, the value, what was expected."""

import math
import re
from typing import Any

from saltern.config import choices
from saltern.config.answers import different_seeds, one_of, require, require_size
from saltern.config.datasets import DatasetConfig, FolderConfig, SampleConfig, VocConfig
from saltern.config.endings import check_endings
from saltern.config.entries import ScoreConfig, SeedsConfig
from saltern.config.forecast import check_forecast
from saltern.config.forms import check_read_form, check_submission
from saltern.config.networks import DeepLabV2Config, ModelConfig, SmpConfig
from saltern.config.schema import BatchMixConfig, FoldsConfig, InferenceConfig, LrConfig, RunConfig
from saltern.config.training import AUTO, OptimConfig, PhaseConfig, ScheduleConfig, TrainerConfig
from saltern.config.views import parse_view
from saltern.errors import ConfigError


def check_run(config: RunConfig) -> None:
    """Refuse a run that cannot work, before anything heavy is imported.

    Raises:
        ConfigError: names the first key that is wrong.
    """
    require(config.seed >= 0, "seed", config.seed, "0 or more")
    _check_dataset(config.dataset)
    _check_folds(config.folds)
    for number, transform in enumerate(config.augment.transforms):
        one_of(transform.name, f"augment.transforms[{number}].name", choices.TRANSFORMS)
    _check_batch_mix(config.augment.batch, config.trainer.batch_size)
    _check_model(config.model)
    require(bool(config.schedule.phases), "schedule.phases", {}, "at least one phase")
    for name, phase in config.schedule.phases.items():
        _check_phase(phase, f"schedule.phases.{name}")
    _check_optim(config.optim)
    _check_trainer(config.trainer)
    _check_keep(config.trainer, config.schedule)
    check_endings(config)
    if config.dataset.cache == "device":
        _check_on_device(config)
    _check_inference(config.inference)
    check_submission(config.submission, "submission")
    check_forecast(config.forecast)


def _check_dataset(dataset: DatasetConfig) -> None:
    one_of(dataset.layout, "dataset.layout", choices.LAYOUTS)
    one_of(dataset.pad, "dataset.pad", choices.PADDINGS)
    require_size(dataset.resize, "dataset.resize")
    require_size(dataset.train_crop, "dataset.train_crop")
    one_of(dataset.cache, "dataset.cache", choices.CACHES)
    for key in ("long_side", "window"):
        value = getattr(dataset, key)
        require(value is None or value > 0, f"dataset.{key}", value, "null or a positive number")
    alone = dataset.resize is None or dataset.long_side is None
    require(alone, "dataset.long_side", dataset.long_side, "null where dataset.resize is set, since that decides")
    require(0 <= dataset.overlap < 1, "dataset.overlap", dataset.overlap, "0 to below 1")
    require(dataset.cache_mb >= 0, "dataset.cache_mb", dataset.cache_mb, "0 or more")
    if isinstance(dataset, VocConfig):
        dataset.class_ids()
        require(bool(dataset.masks), "dataset.masks", dataset.masks, "at least one folder name")
    if isinstance(dataset, SampleConfig):
        for key in ("train", "test", "side"):
            require(getattr(dataset, key) >= 2, f"dataset.{key}", getattr(dataset, key), "at least 2")
    if isinstance(dataset, FolderConfig):
        _check_folder(dataset)


def _check_on_device(config: RunConfig) -> None:
    for number, transform in enumerate(config.augment.transforms):
        known = ", ".join(choices.DEVICE_TRANSFORMS)
        what = f"one of {known}, where dataset.cache=device; any other needs dataset.cache=auto"
        good = transform.name in choices.DEVICE_TRANSFORMS
        require(good, f"augment.transforms[{number}].name", transform.name, what)
    what = "0 where dataset.cache=device, since the device makes the batches"
    require(config.trainer.workers == 0, "trainer.workers", config.trainer.workers, what)


def _check_folder(dataset: FolderConfig) -> None:
    one_of(dataset.id, "dataset.id", ("stem", "name"))
    check_read_form(dataset.rle_form, "dataset.rle_form")
    one = (dataset.masks is None) != (dataset.rle_csv is None)
    require(one, "dataset.masks", dataset.masks, "a pattern, or null where dataset.rle_csv names a CSV")
    if dataset.masks is not None:
        require("{stem}" in dataset.masks, "dataset.masks", dataset.masks, "a pattern with {stem} in it")
    values = (dataset.mask_foreground, dataset.mask_threshold)
    require(None in values, "dataset.mask_threshold", values[1], "null where dataset.mask_foreground is set")
    for key in ("images", "masks", "test_images", "rle_csv", "submission_csv"):
        path = getattr(dataset, key)
        below = path is None or not (path.startswith("/") or ".." in path.split("/") or not path)
        require(below, f"dataset.{key}", path, "a path below dataset.root, with / between folders")
    whole = dataset.submission_csv is None or dataset.test_images is not None
    require(whole, "dataset.test_images", None, "the pattern of the images that dataset.submission_csv names")
    try:
        re.compile(dataset.group or "")
    except re.error as error:
        raise ConfigError(f"dataset.group={dataset.group!r}: no regular expression ({error}).") from None


def _check_folds(folds: FoldsConfig) -> None:
    one_of(folds.kind, "folds.kind", choices.FOLD_KINDS)
    require(folds.n >= 2, "folds.n", folds.n, "at least 2 folds")
    require(folds.seed >= 0, "folds.seed", folds.seed, "0 or more")
    require(0 < folds.max_ratio <= 1, "folds.max_ratio", folds.max_ratio, "over 0, at most 1 (1 links most)")
    named = [key for key in ("group", "regex") if getattr(folds, key) is not None]
    if folds.kind in ("group", "stratified_group"):
        what = f"exactly one of folds.group and folds.regex, since folds.kind is {folds.kind}"
        require(len(named) == 1, "folds", named or None, what)
    else:
        value = {key: getattr(folds, key) for key in named}
        require(not named, "folds", value, f"no group and no regex, since folds.kind is {folds.kind}")
    if folds.regex is not None:
        _check_regex(folds.regex, "folds.regex")
    good = (folds.file is not None) == (folds.kind == "file")
    require(good, "folds.file", folds.file, "the path of a CSV where folds.kind is file, and null elsewhere")


def _check_regex(pattern: str, key: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{key}={pattern!r}: not a regular expression ({error}).") from None


def _check_batch_mix(batch: BatchMixConfig, batch_size: int) -> None:
    for key in ("cutmix", "copy_paste"):
        value = getattr(batch, key)
        require(0 <= value <= 1, f"augment.batch.{key}", value, "a probability from 0 to 1")
        good = value == 0 or batch_size != 1
        require(good, f"augment.batch.{key}", value, "0 where trainer.batch_size is 1: there is no other image")
    both = batch.cutmix + batch.copy_paste
    what = "at most 1 together with augment.batch.copy_paste, since an image gets one of the two"
    require(both <= 1, "augment.batch.cutmix", batch.cutmix, what)


def _check_model(model: ModelConfig) -> None:
    for key in ("mean", "std"):
        value = getattr(model, key)
        require(len(value) == 3, f"model.{key}", value, "three numbers, one per RGB channel")
    require(min(model.std) > 0, "model.std", model.std, "positive numbers")
    for key in ("deep_supervision", "empty"):
        weight = getattr(model.heads, key)
        require(weight is None or 0 < weight < math.inf, f"model.heads.{key}", weight, "null or a positive number")
    if isinstance(model, SmpConfig):
        one_of(model.architecture, "model.architecture", choices.ARCHITECTURES)
        if not model.encoder.startswith("tu-"):
            one_of(model.encoder, "model.encoder", choices.ENCODERS)
    if isinstance(model, DeepLabV2Config):
        one_of(model.encoder, "model.encoder", choices.DEEPLABV2_ENCODERS)
        good = not model.freeze_batchnorm or model.encoder_weights is not None
        what = "false where model.encoder_weights is null: random weights have no statistics to keep"
        require(good, "model.freeze_batchnorm", model.freeze_batchnorm, what)


def _check_phase(phase: PhaseConfig, key: str) -> None:
    require(phase.epochs >= 1, f"{key}.epochs", phase.epochs, "at least 1")
    require(phase.lr > 0, f"{key}.lr", phase.lr, "a positive number")
    one_of(phase.lr_policy, f"{key}.lr_policy", choices.LR_POLICIES)
    one_of(phase.start_from, f"{key}.start_from", choices.START_FROM)
    good = 0 <= phase.warmup_epochs < phase.epochs
    require(good, f"{key}.warmup_epochs", phase.warmup_epochs, f"0 to below {phase.epochs}")
    restarts = phase.lr_policy == "cosine_restarts"
    good = phase.cycles >= 1 and phase.epochs % phase.cycles == 0 and (restarts or phase.cycles == 1)
    require(good, f"{key}.cycles", phase.cycles, f"1, or with cosine_restarts a divisor of {phase.epochs} epochs")
    good = not phase.snapshots or (restarts and phase.warmup_epochs == 0)
    require(good, f"{key}.snapshots", phase.snapshots, "false unless lr_policy is cosine_restarts without warm-up")
    phase.terms(f"{key}.loss")
    _check_sampling(phase.sampling, f"{key}.sampling")


def _check_sampling(sampling: Any, key: str) -> None:
    shares = sampling if isinstance(sampling, list) else [sampling, sampling]
    numbers = all(isinstance(share, int | float) and not isinstance(share, bool) for share in shares)
    good = sampling is None or (len(shares) == 2 and numbers and all(0 <= share <= 1 for share in shares))
    require(good, key, sampling, "null, a share of empty images from 0 to 1, or two of them, [first, last]")


def _check_optim(optim: OptimConfig) -> None:
    one_of(optim.name, "optim.name", choices.OPTIMIZERS)
    require(optim.weight_decay >= 0, "optim.weight_decay", optim.weight_decay, "0 or more")
    good = len(optim.betas) == 2 and all(0 <= beta < 1 for beta in optim.betas)
    require(good, "optim.betas", optim.betas, "two numbers from 0 to below 1")
    require(0 <= optim.momentum < 1, "optim.momentum", optim.momentum, "0 to below 1")
    good = optim.encoder_lr_scale > 0
    require(good, "optim.encoder_lr_scale", optim.encoder_lr_scale, "a positive number")


def _check_trainer(trainer: TrainerConfig) -> None:
    one_of(trainer.precision, "trainer.precision", choices.PRECISIONS)
    one_of(trainer.monitor, "trainer.monitor", choices.MONITORS)
    one_of(trainer.accelerator, "trainer.accelerator", ("auto", "cpu", "cuda"))
    size = trainer.batch_size
    good = size == AUTO or (isinstance(size, int) and not isinstance(size, bool) and size >= 1)
    require(good, "trainer.batch_size", size, "a whole number (int) of at least 1, or auto")
    for key in ("eval_batch_size", "accumulate", "devices", "nodes"):
        value = getattr(trainer, key)
        require(value >= 1, f"trainer.{key}", value, "at least 1")
    require(trainer.workers >= 0, "trainer.workers", trainer.workers, "0 or more")
    what = "false where trainer.checkpointing is true: torch cannot compile blocks that are computed twice"
    require(not (trainer.compile and trainer.checkpointing), "trainer.compile", True, what)
    every = trainer.pictures_every
    require(every is None or every >= 1, "trainer.pictures_every", every, "null or a whole number of at least 1")
    clip = trainer.clip_grad_norm
    require(clip is None or clip > 0, "trainer.clip_grad_norm", clip, "null or a positive number")
    decay = trainer.ema_decay
    require(
        decay is None or 0 < decay < 1, "trainer.ema_decay", decay, "null or a number between 0 and 1, such as 0.99"
    )


def _check_keep(trainer: TrainerConfig, schedule: ScheduleConfig) -> None:
    one_of(trainer.keep, "trainer.keep", choices.KEEPS)
    one_of(trainer.soup_of, "trainer.soup_of", choices.SOUPS)
    require(trainer.soup_epochs >= 2, "trainer.soup_epochs", trainer.soup_epochs, "at least 2")
    for key in ("soup_epochs", "soup_of"):
        value, default = getattr(trainer, key), getattr(TrainerConfig(), key)
        good = trainer.keep == "average" or value == default
        require(
            good, f"trainer.{key}", value, f"{default!r} where trainer.keep is {trainer.keep}: only average reads it"
        )
    for name, phase in schedule.phases.items():
        good = trainer.keep == "best" or not phase.snapshots
        what = f"best where schedule.phases.{name}.snapshots is true: a fold predicts with the one or the other"
        require(good, "trainer.keep", trainer.keep, what)


def _check_inference(inference: InferenceConfig) -> None:
    require("identity" in inference.views, "inference.views", inference.views, "identity in it")
    for view in inference.views:
        parse_view(view)
    one_of(inference.mean, "inference.mean", choices.MEANS)
    one_of(inference.tune_for, "inference.tune_for", choices.MONITORS)
    good = bool(inference.thresholds) and all(0 < value < 1 for value in inference.thresholds)
    require(good, "inference.thresholds", inference.thresholds, "numbers between 0 and 1")
    good = bool(inference.min_areas) and all(value >= 0 for value in inference.min_areas)
    require(good, "inference.min_areas", inference.min_areas, "pixel counts of 0 or more")
    for key in ("fill_holes", "min_component", "largest"):
        candidates = getattr(inference.tune, key)
        good = bool(candidates) and all(value >= 0 for value in candidates)
        require(good, f"inference.tune.{key}", candidates, "whole numbers of 0 or more")
    for key in ("empty_gates", "presence_gates"):
        gates = getattr(inference, key)
        good = bool(gates) and all(0 <= value < 1 for value in gates)
        require(good, f"inference.{key}", gates, "numbers from 0 to below 1")
    require(inference.shard_mb >= 1, "inference.shard_mb", inference.shard_mb, "at least 1")
    most = inference.networks_at_once
    require(most is None or most >= 1, "inference.networks_at_once", most, "null or at least 1")


def check_lr(config: LrConfig) -> None:
    """Refuse a range test that shows nothing."""
    require(config.steps >= 20, "steps", config.steps, "at least 20, or there is no curve")
    require(config.low > 0, "low", config.low, "a positive number")
    require(config.low < config.high < math.inf, "high", config.high, f"a number above low={config.low}")
    if config.phase is not None:
        one_of(config.phase, "phase", list(config.schedule.phases))


def check_score(config: ScoreConfig) -> None:
    """Refuse what cannot be graded."""
    for key in ("submission", "truth"):
        require(bool(getattr(config, key)), key, getattr(config, key), "the path of a CSV")
    one_of(config.outside, "outside", ("error", "count"))
    check_submission(config.format, "format")


def check_seeds(config: SeedsConfig) -> None:
    """Refuse seeds that would train a run twice, or none."""
    seeds = config.seeds
    require(different_seeds(seeds), "seeds", seeds, "one or more different whole numbers from 0 on, such as [1,2,3]")
