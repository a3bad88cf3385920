"""`make bundle`: all that predicts without a network, in one folder and one zip."""

import logging
import platform
import shutil
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from saltern.config import CONFIG_DIR, BundleConfig
from saltern.files import atomic, atomic_folder, sha256, write_json
from saltern.inference.decide import decide
from saltern.inference.members import Members
from saltern.inference.predictions import Prediction
from saltern.job import Job
from saltern.models.trained import halve_weights
from saltern.pipeline.bundled import Bundle, BundleSeal, Compared, ids_of
from saltern.pipeline.chosen import alone, chosen_weights, some_images
from saltern.pipeline.networks import decision_of
from saltern.wheels import build_own_wheel, fetch_wheels

log = logging.getLogger(__name__)

PROJECT = CONFIG_DIR.parent
"""The checkout: what the wheel is built of, and the script that goes along."""
SCRIPT = PROJECT / "scripts" / "bundled" / "predict.py"


@dataclass(frozen=True)
class Bundled:
    """What `bundle_run` has written."""

    bundle: Bundle
    archive: Path
    seal: BundleSeal


def bundle_run(job: Job, asked: BundleConfig) -> Bundled:
    """Write `bundle/` and `bundle.zip` into the run folder, in place of what lay there.

    Raises:
        ConfigError: a member that the run does not have.
        RunError: a run that is not finished, or has changed; a wheel of Saltern that cannot be built.
        DataError: fp16 weights are to be compared, and the data set is not where it was.
    """
    run = job.run
    job = Job(alone(job.config), job.progress)
    with job.life.hold():
        decision_of(job)
        made_of = job.life.ingredients("predict")
        weights = chosen_weights(job, asked.members)
        bundle = Bundle(run.path / "bundle")
        with atomic_folder(bundle.path) as folder:
            new = Bundle(folder)
            members = _write_weights(new, weights, asked.weights)
            shutil.copyfile(run.config, new.config)
            shutil.copyfile(run.decision, new.decision)
            shutil.copyfile(SCRIPT, new.script)
            write_json(new.ids, ids_of(run.submission, job.config) if run.submission.is_file() else [])
            new.wheels.mkdir()
            with job.progress.track("wheels", 1 + len(asked.wheels)):
                build_own_wheel(PROJECT, new.wheels)
                lacking = fetch_wheels(asked.wheels, PROJECT / "requirements.txt", new.wheels)
            compared = _compare(job, weights, [folder / name for name in members], asked)
            seal = BundleSeal(
                saltern=version("saltern"),
                run=run.name,
                members=members,
                weights=asked.weights,
                python=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
                lacking=lacking,
                compared=compared,
                files={path.relative_to(folder).as_posix(): sha256(path) for path in _files(folder)},
                made_of=made_of,
            )
            write_json(new.seal, seal.model_dump())
        archive = run.path / "bundle.zip"
        _pack(bundle.path, archive)
    for name, why in lacking.items():
        log.warning("%s: the wheel of %s could not be had (%s)", bundle.wheels, name, why)
    return Bundled(bundle, archive, seal)


def _write_weights(bundle: Bundle, paths: list[Path], kind: str) -> list[str]:
    """Copy or halve the weights; gives their paths in the bundle."""
    members = [f"weights/{path.parent.name}/{path.name}" for path in paths]
    for path, name in zip(paths, members, strict=True):
        target = bundle.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "fp32":
            shutil.copyfile(path, target)
        elif large := halve_weights(path, target):
            log.warning(
                "%s: %d tensors are too large for fp16 and stay as they are, such as %s", path, len(large), large[0]
            )
    return members


def _compare(job: Job, trained: list[Path], bundled: list[Path], asked: BundleConfig) -> Compared | None:
    """Masks of halved weights beside those of the weights as trained; None where there is nothing to compare."""
    if asked.weights == "fp32":
        return None
    if asked.compare == 0:
        log.warning("compare=0: nobody knows how far the masks of fp16 weights are from those of the run")
        return None
    images, decision = some_images(job, asked.compare), decision_of(job)
    said: list[dict[int, Prediction]] = []
    for label, paths in (("as trained", trained), ("as bundled", bundled)):
        with job.progress.track(label, len(images.rows)):
            members = Members(job.runtime, job.config, paths)
            said.append(dict(members.image_predictions(images, job.progress)))
    differing, pixels, furthest = [], 0, 0.0
    for row in images.rows:
        one, other = said[0][row], said[1][row]
        masks = [decide(item.probs.astype(np.float16), decision, item.presence) for item in (one, other)]
        differing.append(int(np.count_nonzero(masks[0] != masks[1])))
        pixels += masks[0].size
        furthest = max(furthest, float(np.abs(one.probs - other.probs).max()))
    return Compared(
        images=len(images.rows), pixels=pixels, differing=sum(differing), most=max(differing), probability=furthest
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _pack(folder: Path, archive: Path) -> None:
    """The files of `folder` as a zip, stored, since weights and wheels do not shrink, and dated alike."""
    with atomic(archive) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as packed:
        for path in _files(folder):
            entry = zipfile.ZipInfo(f"bundle/{path.relative_to(folder).as_posix()}")
            entry.external_attr = 0o644 << 16
            with path.open("rb") as source, packed.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)
