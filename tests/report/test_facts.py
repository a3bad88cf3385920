"""The readable lines of a configuration."""

import pytest

from saltern.report.facts import Fact, ensemble_facts, facts_of


def test_the_lines_of_a_run() -> None:
    text = """
dataset: {layout: voc, root: data/voc, foreground: [car, bus], resize: null}
model: {kind: smp, architecture: unet, encoder: resnet34, encoder_weights: null, options: {a: 1}}
schedule:
  phases:
    one: {epochs: 3, loss: {bce: 1.0, tversky: {weight: 0.5, alpha: 0.3}}, lr: 0.001, lr_policy: poly, start_from: last}
    two: {freeze_encoder: true, epochs: 2, loss: 0.9*lovasz, lr: 0.1, lr_policy: cosine, start_from: best}
augment: {transforms: [{name: HorizontalFlip}, {name: Blur}]}
trainer: {batch_size: 16, monitor: iou_image, keep: average}
inference: {views: [identity, hflip], tune_for: iou_image}
seed: 0
"""
    assert facts_of(text) == [
        Fact("data", "voc · data/voc · foreground car, bus"),
        Fact("model", "unet · resnet34 · smp · options a 1"),
        Fact("phase one", "3 epochs of 1.0 bce + 0.5 tversky (alpha 0.3) · lr 0.001 poly"),
        Fact("phase two", "2 epochs of 0.9*lovasz · lr 0.1 cosine · from the best weights so far · frozen encoder"),
        Fact("augmentation", "HorizontalFlip, Blur"),
        Fact("training", "batch_size 16 · monitor iou_image · keep average"),
        Fact("inference", "views identity, hflip · tune_for iou_image"),
        Fact("seed", "0"),
    ]


def test_the_members_of_an_ensemble() -> None:
    assert ensemble_facts({"runs": ["a", "b"], "weights": [1.0, 2.5], "folds": [0]}) == [
        Fact("mean of", "a (weight 1), b (weight 2.5)"),
        Fact("settings below", "those of a"),
    ]


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "a: 1", "schedule: 3\nmodel: [1]\naugment: {transforms: 5}"])
def test_other_text_has_no_lines(text: str) -> None:
    assert facts_of(text) == []
