"""CutMix and copy-paste against loops over pixels; their draws; a training with them that was interrupted."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fold_runs import IMAGES, Batch, Killed, Net, data, fresh, trainer, weights
from safetensors.torch import load_file
from torch import Tensor

from saltern.config import BatchMixConfig, ConfigError
from saltern.config.resolve import compose_config
from saltern.engine.fold_data import FoldData
from saltern.engine.mixing import COPY_PASTE, CUTMIX, NOTHING, draw_plan, mix, mixed, pixel_mixer
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.errors import TrainingError
from saltern.runs import FoldDir

BOTH = BatchMixConfig(cutmix=0.5, copy_paste=0.4)
CPU = torch.device("cpu")


def batch_of(count: int, seed: int = 0, height: int = 7, width: int = 9) -> tuple[Tensor, Tensor]:
    """Noise in channels_last order, and targets of all three values."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, height, width, 3), np.uint8)
    targets = random.choice(np.array([0, 1, 255], np.uint8), (count, 1, height, width))
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(targets)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("config", [BOTH, BatchMixConfig(cutmix=1.0), BatchMixConfig(copy_paste=1.0)])
def test_every_pixel_is_what_a_loop_over_pixels_gives(config: BatchMixConfig, seed: int) -> None:
    images, targets = batch_of(6, seed)
    plan = draw_plan(config, images.shape, np.random.default_rng(seed))
    expected, truth = images.numpy().copy(), targets.numpy().copy()
    for index in range(6):
        source = plan.sources[index]
        top, bottom, left, right = plan.boxes[index]
        for y in range(7):
            for x in range(9):
                pasted = plan.kinds[index] == COPY_PASTE and targets[source, 0, y, x] == 1
                cut = plan.kinds[index] == CUTMIX and top <= y < bottom and left <= x < right
                if pasted or cut:
                    expected[index, :, y, x] = images[source, :, y, x]
                    truth[index, 0, y, x] = targets[source, 0, y, x]
    before = images.clone(), targets.clone()
    new, new_targets = mix(images, targets, plan)
    np.testing.assert_array_equal(new.numpy(), expected)
    np.testing.assert_array_equal(new_targets.numpy(), truth)
    assert plan.kinds.any()
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])


@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_type_shape_memory_order_and_values_stay(order: torch.memory_format) -> None:
    images, targets = batch_of(8)
    images = images.contiguous(memory_format=order)
    new, new_targets = mix(images, targets, draw_plan(BOTH, images.shape, np.random.default_rng(3)))
    assert new.dtype == new_targets.dtype == torch.uint8
    assert new.shape == images.shape
    assert new_targets.shape == targets.shape
    assert new.is_contiguous(memory_format=order)
    assert set(new_targets.unique().tolist()) == {0, 1, 255}


def test_pasted_pixels_become_foreground_even_on_void_and_void_is_not_pasted() -> None:
    """Two images: one all void, one with a foreground pixel, a void one and background."""
    images, targets = batch_of(2, height=1, width=3)
    targets[0], targets[1] = 255, torch.tensor([[1, 255, 0]], dtype=torch.uint8)
    plan = draw_plan(BatchMixConfig(copy_paste=1.0), images.shape, np.random.default_rng(0))
    new, new_targets = mix(images, targets, plan)
    assert new_targets[0].flatten().tolist() == [1, 255, 255]
    assert new_targets[1].flatten().tolist() == [1, 255, 0], "an image without foreground gives nothing"
    assert torch.equal(new[1], images[1])
    assert torch.equal(new[0, :, :, 0], images[1, :, :, 0])
    assert torch.equal(new[0, :, :, 1:], images[0, :, :, 1:])


@pytest.mark.parametrize("count", [2, 3, 16])
def test_no_image_is_its_own_source_and_each_is_a_source_once(count: int) -> None:
    seen = set()
    for seed in range(100):
        sources = draw_plan(BOTH, (count, 3, 5, 5), np.random.default_rng(seed)).sources.tolist()
        assert sorted(sources) == list(range(count))
        assert all(source != index for index, source in enumerate(sources))
        seen.add(sources[0])
    assert seen == set(range(1, count)), "any other image may be the source"


def test_images_are_mixed_as_often_as_the_probabilities_say() -> None:
    kinds = np.concatenate([draw_plan(BOTH, (50, 3, 5, 5), np.random.default_rng(seed)).kinds for seed in range(400)])
    shares = [float((kinds == kind).mean()) for kind in (NOTHING, COPY_PASTE, CUTMIX)]
    assert shares == pytest.approx([0.1, 0.4, 0.5], abs=0.015)  # standard deviation at most 0.0036


def test_rectangles_lie_inside_and_cover_what_the_paper_implies() -> None:
    """Sides s = √(1 - λ) cut off at the border cover (s - s²/4)² on average over centres; over λ that is 0.3208.

    ∫ 2s (s - s²/4)² ds from 0 to 1 = 2 (1/4 - 1/10 + 1/96).
    """
    plans = [draw_plan(BOTH, (64, 3, 300, 200), np.random.default_rng(seed)) for seed in range(300)]
    top, bottom, left, right = np.concatenate([plan.boxes for plan in plans]).T
    assert top.min() == left.min() == 0
    assert (bottom.max(), right.max()) == (300, 200)
    assert ((top <= bottom) & (left <= right)).all()
    covered = (bottom - top) * (right - left) / 60_000
    assert covered.mean() == pytest.approx(2 * (1 / 4 - 1 / 10 + 1 / 96), abs=0.006)


def test_a_batch_of_one_image_stays_as_it_is() -> None:
    images, targets = batch_of(1)
    new, new_targets = mix(
        images, targets, draw_plan(BatchMixConfig(cutmix=1.0), images.shape, np.random.default_rng(0))
    )
    assert torch.equal(new, images)
    assert torch.equal(new_targets, targets)


def test_draws_depend_on_seed_epoch_batch_and_rank_and_on_nothing_else() -> None:
    def pixels(seed: int, rank: int, epoch: int) -> list[Tensor]:
        same = batch_of(6)

        def batches(epoch: int, sampling: float | None) -> Iterator[Batch]:
            return (Batch(*same, tuple("abcdef")) for _ in range(2))

        whole = FoldData(batches, [6, 6], lambda network: {})
        return [batch.images for batch in mixed(whole, BOTH, CPU, seed, rank).batches(epoch, None)]

    runs = [pixels(*place) for place in ((0, 0, 0), (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    assert all(torch.equal(*pair) for pair in zip(runs[0], runs[1], strict=True))
    different = [runs[0][0], runs[0][1], *(run[0] for run in runs[2:])]
    assert len({image.numpy().tobytes() for image in different}) == len(different)


def test_without_mixing_nothing_is_put_between_loader_and_network() -> None:
    whole = data()
    assert mixed(whole, BatchMixConfig(), CPU, 0, 0) is whole
    assert pixel_mixer(BatchMixConfig(), 0) is None


def mixing_trainer(folder: Path, config: BatchMixConfig = BOTH) -> Trainer:
    engine, _ = trainer(folder, accumulate=2)
    engine.recipe = replace(engine.recipe, mixing=config)
    return engine


def test_the_network_trains_on_each_accumulated_batch_mixed_by_its_own_draws(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Spy(Net):
        def logits(self, image: Tensor) -> Tensor:
            if self.training:
                seen.append(image.clone())
            return super().logits(image)

    mixing_trainer(tmp_path).fit(Spy(), data(), seed=5)
    assert len(seen) == 5 * 3
    for epoch in range(5):
        for number, batch in enumerate(data().batches(epoch, None)):
            random = np.random.default_rng([5, 2, epoch, number, 0])
            images, _ = mix(batch.images, batch.targets, draw_plan(BOTH, batch.images.shape, random))
            assert torch.equal(seen[3 * epoch + number], images)


@pytest.mark.parametrize("die_in", [1, 4])
def test_interrupted_and_continued_equals_straight_through_with_mixing(die_in: int, tmp_path: Path) -> None:
    straight, plain, continued = fresh(), fresh(), fresh()
    mixing_trainer(tmp_path / "a").fit(straight, data(), seed=7)
    mixing_trainer(tmp_path / "b", BatchMixConfig()).fit(plain, data(), seed=7)
    with pytest.raises(Killed):
        mixing_trainer(tmp_path / "c").fit(fresh(), data(die_in=die_in), seed=7)
    mixing_trainer(tmp_path / "c").fit(continued, data(), seed=7)
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(weights(straight), weights(plain), strict=True))


def test_a_batch_whose_loss_is_not_finite_is_kept_as_the_network_saw_it(tmp_path: Path) -> None:
    class Overflows(Net):
        def logits(self, image: Tensor) -> Tensor:
            return super().logits(image) * (torch.inf if self.training else 1.0)

    with pytest.raises(TrainingError, match="for the images 0, 1, 2, 3;"):
        mixing_trainer(tmp_path).fit(Overflows(), data(), seed=5)
    kept = load_file(FoldDir(tmp_path).broken_batch(0))
    batch = next(iter(data().batches(0, None)))
    plan = draw_plan(BOTH, batch.images.shape, np.random.default_rng([5, 2, 0, 0, 0]))
    images, targets = mix(batch.images, batch.targets, plan)
    assert torch.equal(kept["images"], images)
    assert torch.equal(kept["targets"], targets)
    assert not torch.equal(images, batch.images)


def test_pictures_are_mixed_as_batches_are() -> None:
    images, targets = batch_of(IMAGES)
    mixer = pixel_mixer(BOTH, 3)
    assert mixer is not None
    new, masks = mixer((images.permute(0, 2, 3, 1).numpy(), targets[:, 0].numpy()), 1)
    plan = draw_plan(BOTH, images.shape, np.random.default_rng([3, 2, 1]))
    expected, truth = mix(images, targets, plan)
    np.testing.assert_array_equal(new, expected.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(masks, truth[:, 0].numpy())


def test_the_settings_reach_the_recipe_from_the_command_line() -> None:
    assert Recipe.of(compose_config("run", [])).mixing == BatchMixConfig()
    asked = ["augment=light", "augment.batch.cutmix=0.5", "augment.batch.copy_paste=0.25"]
    config = compose_config("run", asked)
    assert Recipe.of(config).mixing == BatchMixConfig(cutmix=0.5, copy_paste=0.25)
    assert len(config.augment.transforms) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["augment.batch.cutmix=1.5"], r"augment\.batch\.cutmix=1\.5: expected a probability from 0 to 1"),
        (["augment.batch.copy_paste=-0.1"], r"augment\.batch\.copy_paste=-0\.1: expected a probability"),
        (
            ["augment.batch.cutmix=0.6", "augment.batch.copy_paste=0.5"],
            r"augment\.batch\.cutmix=0\.6: expected at most 1 together with",
        ),
        (["augment.batch.cutmix=0.5", "trainer.batch_size=1"], r"cutmix=0\.5: expected 0 where trainer\.batch_size"),
    ],
)
def test_what_is_no_probability_is_refused_by_its_key(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compose_config("run", overrides)


@pytest.mark.gpu
def test_a_gpu_mixes_as_the_cpu_does() -> None:
    images, targets = batch_of(8)
    plan = draw_plan(BOTH, images.shape, np.random.default_rng(0))
    new, new_targets = mix(images.cuda(), targets.cuda(), plan)
    expected, truth = mix(images, targets, plan)
    assert new.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(new.cpu(), expected)
    assert torch.equal(new_targets.cpu(), truth)
