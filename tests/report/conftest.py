"""Run folders with the artifacts that a real run leaves, made by the stages' own functions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saltern.config.schema import InferenceConfig
from saltern.files import write_json, write_text
from saltern.inference.decide import write_decision
from saltern.inference.estimate import nested_table, score_table, scores_json
from saltern.inference.tune import Sample as OutOfFold
from saltern.inference.tune import collect, tune
from saltern.report.pictures import Sample
from saltern.report.tracking import EpochLog
from saltern.runs import RunDir

CONFIG_TEXT = """
name: try<1>
dataset: {layout: tgs, root: data/<b>tgs</b>}
model: {kind: smp, architecture: unet, encoder: resnet34, encoder_weights: null, options: {}}
schedule: {phases: {warm_up: {epochs: 2, loss: {bce: 1.0}, lr: 0.001, lr_policy: cosine, start_from: last}}}
"""


class DrawnRun:
    """A finished run over drawn images; nothing in it needs a network."""

    def __init__(
        self, path: Path, images: int = 40, folds: int = 2, seed: int = 0, void: bool = False, presence: bool = False
    ) -> None:
        self.run = RunDir(path)
        rng = np.random.default_rng(seed)
        self.samples: dict[str, Sample] = {}
        for number in range(images):
            target = np.zeros((12, 10), np.uint8)
            if number % 3:
                target[: rng.integers(1, 12), : rng.integers(1, 10)] = 1
            probs = np.clip(0.2 + 0.5 * target + rng.normal(0, 0.2, target.shape), 0, 1).astype(np.float16)
            if void and number % 4 == 1:
                target[:, :2] = 255
            image = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            self.samples[f"00{number}<i>&"] = Sample(image, target, probs, rng.random() if presence else None)
        self.loaded: list[str] = []
        self.folds = {name: number % folds for number, name in enumerate(self.samples)}
        self._write(folds)

    def _write(self, folds: int) -> None:
        config = InferenceConfig()
        samples = (
            OutOfFold(name, sample.probs, sample.target, sample.presence) for name, sample in self.samples.items()
        )
        statistics = collect(samples, config.thresholds)
        decision = tune(statistics, config).decision
        write_text(self.run.config, CONFIG_TEXT)
        write_decision(self.run.decision, decision)
        training = {
            str(fold): {"monitor": "precision_tgs", "best_epoch": 2, "phase_best": {"warm_up": 0.4}}
            for fold in range(folds)
        }
        write_json(self.run.scores, {**scores_json(statistics, self.folds, decision, config), "training": training})
        score_table(statistics, self.folds, decision).to_csv(self.run.oof_scores, index=False)
        nested_table(statistics, self.folds, config).to_csv(self.run.oof_nested, index=False)
        for fold in range(folds):
            with EpochLog(self.run.fold(fold)) as log:
                log.log(1, "warm_up", {"loss": 0.5, "lr": 1e-3, "val_precision_tgs": 0.4, "val_iou_image": 0.5})
                log.log(2, "fine<b>$x$", {"loss": 0.9, "lr": 1e-4, "val_precision_tgs": 0.6, "val_iou_image": 0.7})

    @property
    def coverage(self) -> dict[str, float]:
        return {
            name: float((sample.target == 1).sum() / (sample.target != 255).sum())
            for name, sample in self.samples.items()
        }

    def load(self, name: str) -> Sample:
        self.loaded.append(name)
        return self.samples[name]


@pytest.fixture
def draw_run(tmp_path: Path) -> Callable[..., DrawnRun]:
    return lambda name="try1", **settings: DrawnRun(tmp_path / "outputs" / name, **settings)
