"""`make export`: a run's networks for programs without torch, each file compared with torch before it is written."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from saltern.config import ConfigError, ExportConfig
from saltern.data.loading.evaluation import EvalBatch
from saltern.errors import RunError
from saltern.files import atomic_folder, sha256, write_json
from saltern.inference.decide import Decision, decide
from saltern.inference.members import Images, seeing
from saltern.inference.onnx_files import Exported, OnnxNetwork, require_onnx, write_onnx
from saltern.inference.predict import Predictor, native
from saltern.inference.predictions import BatchPrediction, build_mean
from saltern.inference.tta import build_views
from saltern.job import Job
from saltern.models import SegmentationNet, build_model
from saltern.models.sizes import Sizes
from saltern.models.trained import load_weights
from saltern.pipeline.chosen import alone, chosen_weights, some_images
from saltern.pipeline.networks import decision_of

log = logging.getLogger(__name__)

FURTHEST = 1e-4
"""How far a probability may be from the one that torch gives."""


@dataclass
class Parity:
    """A file beside torch, both in float32 on the CPU."""

    images: int = 0
    probability: float = 0.0
    """The largest difference between two probabilities, presence too, at network size."""
    pixels: int = 0
    """Of all masks at native size."""
    differing: int = 0
    """Pixels that are foreground by one of the two alone."""

    def add(self, one: BatchPrediction, other: BatchPrediction) -> None:
        """Take the probabilities of two into account."""
        for mine, theirs in ((one.probs, other.probs), (one.presence, other.presence)):
            assert (mine is None) == (theirs is None), "presence by one of the two alone"
            if mine is not None and theirs is not None:
                assert mine.shape == theirs.shape, f"{mine.shape} beside {theirs.shape}"
                self.probability = max(self.probability, float((mine - theirs).abs().nan_to_num(torch.inf).max()))

    def add_masks(self, batch: EvalBatch, said: tuple[BatchPrediction, BatchPrediction], decision: Decision) -> None:
        """Take the masks of two into account."""
        for (_, one), (_, other) in zip(native(batch, said[0]), native(batch, said[1]), strict=True):
            masks = [decide(item.probs, decision, item.presence) for item in (one, other)]
            self.images += 1
            self.pixels += masks[0].size
            self.differing += int(np.count_nonzero(masks[0] != masks[1]))


@dataclass(frozen=True)
class ExportedFile:
    """One file that was written, and how it compares."""

    path: Path
    networks: int
    parity: Parity


def export_run(job: Job, asked: ExportConfig) -> list[ExportedFile]:
    """Write `export/` into the run folder, in place of what lay there.

    Raises:
        ConfigError: packages that are missing, a member that the run does not have, views at a scale.
        RunError: a run that is not finished; a network that cannot be exported, or whose file says something else.
        DataError: the data set is not where it was.
    """
    require_onnx()
    job = Job(alone(job.config, accelerator="cpu", precision="fp32"), job.progress)
    scaled = [name for name in job.config.inference.views if "@" in name]
    if scaled:
        raise ConfigError(
            f"inference.views={scaled}: a view at a scale is rounded to whole strides, which a graph for any size "
            "cannot do. `make predict` and `make bundle` take such a run; an export needs one without such views."
        )
    with job.life.hold():
        weights = chosen_weights(job, asked.members)
        files = {"mean": weights} if asked.networks == "mean" else {_name(path): [path] for path in weights}
        comparison = Comparison(job, some_images(job, asked.compare), decision_of(job))
        target, done = job.run.path / "export", list[ExportedFile]()
        with atomic_folder(target) as folder, job.progress.track("export", len(files)):
            table = {}
            for name, paths in files.items():
                new = folder / f"{name}.onnx"
                parity = comparison.export(paths, new)
                _refuse(job, new.name, parity, asked.most_pixels)
                done.append(ExportedFile(target / new.name, len(paths), parity))
                table[new.name] = {"networks": len(paths), "sha256": sha256(new), **asdict(parity)}
                job.progress.advance(1)
            content = {**comparison.facts, "decision": comparison.decision.to_json(), "files": table}
            write_json(folder / "export.json", content)
    if job.config.dataset.window is not None:
        log.warning("%s: its files see an image whole, where the run sees large ones in windows", target)
    return done


def _name(path: Path) -> str:
    return f"{path.parent.name}_{path.stem}"


def _refuse(job: Job, name: str, parity: Parity, most_pixels: int) -> None:
    """Raise a RunError with the figures where a file says something else than torch."""
    figures = (
        f"{job.run.path}: {name} is not written, since it does not say what torch says: on {parity.images} images "
        f"probabilities differ by up to {parity.probability:.2g} (at most {FURTHEST:g} is let through) and "
        f"{parity.differing} of {parity.pixels} pixels of the masks (at most most_pixels={most_pixels})."
    )
    if not parity.probability <= FURTHEST:
        raise RunError(f"{figures} The exporter translates an operation of this network wrongly; use `make bundle`.")
    if parity.differing > most_pixels:
        raise RunError(f"{figures} Where so few pixels lie at the threshold, most_pixels={parity.differing} allows it.")


@dataclass
class Comparison:
    """Exports networks of one run, and compares each file with torch on the same images."""

    job: Job
    images: Images
    decision: Decision

    @cached_property
    def sizes(self) -> Sizes:
        """The images that the run's networks take."""
        return build_model(self.job.config.model, pretrained=False).sizes

    @cached_property
    def facts(self) -> dict[str, str]:
        """What whoever calls a file needs to know."""
        only, inference = self.sizes.only, self.job.config.inference
        return {
            "run": self.job.run.name,
            "stride": str(self.sizes.stride),
            "sizes": "any multiples of the stride" if only is None else f"{only[0]} x {only[1]} alone",
            "views": " ".join(inference.views),
            "mean": inference.mean,
        }

    def export(self, paths: list[Path], target: Path) -> Parity:
        """Write the mean of the networks whose weights lie at `paths` to `target`; gives how the file compares.

        Raises:
            RunError: it cannot be exported, or the file not be run.
        """
        config, networks = self.job.config, list[SegmentationNet]()
        for path in paths:
            networks.append(build_model(config.model, pretrained=False))
            load_weights(path, networks[-1])
        mean, views = build_mean(config.inference.mean, len(paths)), config.inference.views
        facts = {**self.facts, "decision": json.dumps(self.decision.to_json())}
        write_onnx(target, Exported(networks, build_views(views), mean), facts)
        look = replace(seeing(config, views, self.sizes.stride), window=None)
        return self._compare(Predictor(self.job.runtime, networks, look, mean), OnnxNetwork(target))

    def _compare(self, trained: Predictor, exported: OnnxNetwork) -> Parity:
        parity, stride = Parity(), self.sizes.stride
        for number, batch in enumerate(self.images.batches(stride)(self.images.rows)):
            said = trained(batch.images), exported(batch.images.numpy())
            parity.add(*said)
            parity.add_masks(batch, said, self.decision)
            if number == 0:
                other = batch.images[:1]  # a batch of another shape
                if self.sizes.only is None:
                    other = torch.cat([other, other[:, :, :stride]], dim=2)
                parity.add(trained(other), exported(other.numpy()))
        return parity
