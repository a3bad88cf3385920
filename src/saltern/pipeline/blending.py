"""What the mean of several runs is made with: given, or fitted out of fold, and what it is worth."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern.config import EnsembleConfig
from saltern.config.blending import EQUAL, FITTED
from saltern.data.folds.membership import read_groups
from saltern.errors import RunError
from saltern.inference.blending import fit
from saltern.inference.calibrate import Platt
from saltern.inference.decide import decision_of
from saltern.inference.ensemble import Recipe, side_by_side
from saltern.inference.estimate import held_out_in_turn
from saltern.inference.judging import Bench, Ground, look
from saltern.inference.predictions import Prediction
from saltern.inference.store import ProbStore
from saltern.job import Job
from saltern.runs.seals import EnsembleSeal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Blend:
    """How out-of-fold probabilities of several runs become those of their mean."""

    recipe_of: Callable[[str], Recipe]
    """Id → the recipe that was fitted without the image."""
    facts: dict[str, Any]
    """What `ensemble.json` says of it."""


def asked_of(config: EnsembleConfig) -> dict[str, Any]:
    """What the user wants, as `ensemble.json` keeps it."""
    return {"how": config.how, "asked": {"weights": config.weights, "calibrate": config.calibrate}}


def begun_as(config: EnsembleConfig) -> dict[str, Any]:
    """The same as `environment.json` keeps it, in which an earlier version said `runs` and `weights` alone."""
    others = {"how": (config.how, "probs"), "calibrate": (config.calibrate, "none")}
    weights = config.weights if config.weights == FITTED else _numbers(config)
    return {
        "runs": list(config.runs),
        "weights": weights,
        **{key: value for key, (value, usual) in others.items() if value != usual},
    }


def refuse_seen(members: Sequence[Job]) -> None:
    """Make sure that every image was out of fold in each run, before anything is fitted on what they say.

    That is known from each run's own `folds.csv`, which its folds' seals rest on: the fold of an image is there, is not
    -1 (always trained on), and is trained, so that what is stored of it comes from networks which have not seen it.

    Raises:
        RunError: an image for which it is not so, by run.
    """
    for member in members:
        fold_of = member.fold_of
        seen = [name for name in ProbStore(member.run.oof) if name not in fold_of]
        if seen:
            raise RunError(
                f"{member.run.folds}: {len(seen)} of the images in {member.run.oof} are in none of the trained folds "
                f"{member.trained_folds}, such as {seen[0]!r}, so its networks may have trained on them, and nothing "
                "can be fitted on what they say. Give weights=equal, or weights of your own, without calibrate=auto."
            )


def blend(job: Job, config: EnsembleConfig, members: Sequence[Job], stores: Sequence[ProbStore]) -> Blend:
    """Choose weights, maps and votes; judge them on images that they were fitted without.

    Raises:
        RunError: something is to be fitted, but an image was seen by a run, or nothing can be held out.
    """
    fitted = config.weights == FITTED or config.calibrate == "auto"
    if fitted:
        refuse_seen(members)
    given = None if config.weights == FITTED else _numbers(config)
    first = members[0]
    fold_of = first.fold_of
    groups = read_groups(first.run)
    ids = tuple(name for name in stores[0] if name in fold_of)
    parts, by, reason = held_out_in_turn(ids, fold_of, groups)
    if reason and (fitted or config.how == "vote"):
        raise RunError(
            f"{job.run.path}: nothing can be fitted on these runs: {reason}. Give weights=equal, or weights of your "
            "own, with how=probs or how=logits and calibrate=none."
        )
    if reason:
        assert given is not None, "fitted, but nothing to hold out"
        alone = Recipe(tuple(given), config.how)
        return Blend(lambda _: alone, {"weights": given, "nested": None, "nested_reason": reason})
    folds = np.array([fold_of[name] for name in ids])
    ground = Ground(ids, parts, by, folds, job.config.inference, groups)
    source = _source(job, stores, set(ids))
    bench = Bench(source, ground, config.how, look(source, ground, len(members)))
    for member, judged in zip(members, bench.alone.judged, strict=True):
        log.info("%s: nested %s %.4f", member.run.name, ground.config.tune_for, judged.nested(ground.config.tune_for))
    found = fit(bench, config.runs, given, calibrate=config.calibrate == "auto")
    recipes = {part: bench.recipe(candidate, part) for part, candidate in found.of_part.items()}
    final = bench.recipe(found.candidate, None)
    part_of = dict(zip(ids, parts.tolist(), strict=True))
    _warn(found.facts["nested"], fitted=config.weights == FITTED)
    return Blend(lambda id: recipes[part_of[id]] if id in part_of else final, {**_said_of(final), **found.facts})


def recipe_in(seal: EnsembleSeal) -> Recipe:
    """The recipe for images that are new, such as those of the test."""
    maps = tuple(Platt(**each) if each else None for each in seal.calibration or [])
    return Recipe(tuple(seal.weights), seal.how, maps, tuple(decision_of(each) for each in seal.votes or []))


def _said_of(recipe: Recipe) -> dict[str, Any]:
    maps = [None if each is None else each.to_json() for each in recipe.maps]
    votes = [each.to_json() for each in recipe.decisions]
    return {"weights": list(recipe.weights), "calibration": maps or None, "votes": votes or None}


def _numbers(config: EnsembleConfig) -> list[float]:
    return [1.0] * len(config.runs) if config.weights == EQUAL else list(config.weights)


def _source(
    job: Job, stores: Sequence[ProbStore], counted: set[str]
) -> Callable[[], Iterator[tuple[str, list[Prediction], NDArray[np.uint8]]]]:
    """Begins a pass over the counted images: what each run says of one, and its truth."""

    def images() -> Iterator[tuple[str, list[Prediction], NDArray[np.uint8]]]:
        with job.progress.track("blend", len(counted)):
            for name, said in side_by_side(stores):
                if name in counted:
                    yield name, said, job.material.truth_of(name)
                    job.progress.advance(1)

    return images


def _warn(nested: dict[str, Any], *, fitted: bool) -> None:
    score = nested["scores"][nested["tuned_for"]]
    if fitted and score < nested["equal"]:
        log.warning(
            "fitted weights score %.4f on images that they were fitted without, equal weights %.4f: weights=equal is "
            "the better choice here", score, nested["equal"],
        )  # fmt: skip
    best, value = max(nested["singles"].items(), key=lambda item: item[1])
    if score < value:
        log.warning(
            "the mean scores %.4f nested, %s alone %.4f: the others cost more than they bring", score, best, value
        )
