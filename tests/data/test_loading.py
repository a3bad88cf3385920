from collections.abc import Iterable

import numpy as np
import pytest
import torch

from saltern.config import AugmentConfig, DatasetConfig, SampleConfig, TransformConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import Batch, LoaderSettings, Share, random_crop, train_loader
from saltern.data.loading.cache import ImageSource, open_source
from saltern.data.loading.evaluation import eval_batches
from saltern.data.loading.geometry import fit_image, fit_mask, plan_fit, unfit_probs
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError

PLAIN = AugmentConfig()
LIVELY = AugmentConfig(
    transforms=[
        TransformConfig(name="HorizontalFlip"),
        TransformConfig(name="RandomBrightnessContrast"),
        TransformConfig(name="Affine", args={"rotate": [-20, 20]}),
    ]
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleConfig, Dataset, ImageSource]:
    config = SampleConfig(root=str(tmp_path_factory.mktemp("data") / "sample"), train=23, test=4, side=37)
    dataset = open_dataset(config)
    return config, dataset, open_source(dataset, dataset.train, config)


def same(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    def equal(a: Batch, b: Batch) -> bool:
        return all(torch.equal(getattr(a, key), getattr(b, key)) for key in ("images", "targets", "rows"))

    return all(equal(a, b) for a, b in zip(first, second, strict=True))


def test_any_number_of_workers_gives_the_same_batches(sample: tuple) -> None:
    config, _, source = sample
    runs = []
    for workers in (0, 1, 2):
        settings = LoaderSettings(stride=32, batch_size=5, workers=workers, seed=3)
        loader = train_loader(source, range(23), config, LIVELY, settings)
        epochs = []
        for epoch in (0, 4, 0):
            loader.set_epoch(epoch)
            epochs.append(list(loader))
        assert same(epochs[0], epochs[2])
        assert not same(epochs[0], epochs[1])
        runs.append(epochs)
    for other in runs[1:]:
        assert all(same(first, second) for first, second in zip(runs[0], other, strict=True))


def test_the_seed_changes_order_and_augmentation(sample: tuple) -> None:
    config, _, source = sample
    first, second = (
        next(iter(train_loader(source, range(23), config, LIVELY, LoaderSettings(32, batch_size=23, seed=seed))))
        for seed in (0, 1)
    )
    assert sorted(first.rows.tolist()) == sorted(second.rows.tolist()) == list(range(23))
    assert first.rows.tolist() != second.rows.tolist()
    for row in range(23):
        if not torch.equal(first.images[first.rows == row], second.images[second.rows == row]):
            break
    else:
        pytest.fail("the augmentation is the same with both seeds")


def test_without_augmentation_a_batch_holds_the_fitted_pixels(sample: tuple) -> None:
    config, dataset, source = sample
    rows = list(dataset.train.itertuples())
    fit = plan_fit((37, 37), 32, config)
    seen = []
    for batch in train_loader(source, range(23), config, PLAIN, LoaderSettings(stride=32, batch_size=4)):
        assert batch.images.dtype == batch.targets.dtype == torch.uint8
        assert batch.images.shape[1:] == (3, 64, 64)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        for index, row in enumerate(batch.rows.tolist()):
            image, mask = fit_image(dataset.read_image(rows[row]), fit), fit_mask(dataset.read_mask(rows[row]), fit)
            np.testing.assert_array_equal(batch.images[index].permute(1, 2, 0).numpy(), image)
            np.testing.assert_array_equal(batch.targets[index, 0].numpy(), mask)
        seen += batch.rows.tolist()
    assert sorted(seen) == list(range(23))


@pytest.mark.parametrize(
    ("rows", "batch_size", "sizes"),
    [(8, 4, [4, 4]), (9, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 4, [3]), (2, 2, [2]), (3, 2, [2]), (2, 8, [2])],
)
def test_no_batch_has_a_single_image(sample: tuple, rows: int, batch_size: int, sizes: list[int]) -> None:
    config, _, source = sample
    loader = train_loader(source, range(rows), config, PLAIN, LoaderSettings(stride=32, batch_size=batch_size))
    assert len(loader) == len(sizes)
    assert [len(batch.rows) for batch in loader] == sizes


def test_who_sits_out_changes_from_epoch_to_epoch(sample: tuple) -> None:
    config, _, source = sample
    loader = train_loader(source, range(9), config, PLAIN, LoaderSettings(stride=32, batch_size=4))
    out = set()
    for epoch in range(30):
        loader.set_epoch(epoch)
        out |= set(range(9)) - {row for batch in loader for row in batch.rows.tolist()}
    assert len(out) > 5


def test_one_image_is_too_few(sample: tuple) -> None:
    config, _, source = sample
    with pytest.raises(DataError, match="expected at least 2"):
        train_loader(source, [0], config, PLAIN, LoaderSettings(stride=32, batch_size=4))
    with pytest.raises(DataError, match="expected at least 2"):
        train_loader(source, range(3), config, PLAIN, LoaderSettings(stride=32, batch_size=4, share=Share(0, 2)))


def test_ranks_share_an_epoch_without_overlap_in_equally_many_batches(sample: tuple) -> None:
    config, _, source = sample
    settings = [LoaderSettings(stride=32, batch_size=4, share=Share(rank, 3)) for rank in range(3)]
    seen = []
    for item in settings:
        loader = train_loader(source, range(23), config, PLAIN, item)
        seen.append([batch.rows.tolist() for batch in loader])
    assert len({len(batches) for batches in seen}) == 1
    rows = [row for batches in seen for batch in batches for row in batch]
    assert len(rows) == len(set(rows)) == 21


def test_test_images_cannot_be_trained_on(sample: tuple) -> None:
    config, dataset, _ = sample
    source = open_source(dataset, dataset.test, config)
    with pytest.raises(DataError, match="no mask is known for 4"):
        train_loader(source, range(4), config, PLAIN, LoaderSettings(stride=32, batch_size=4))


class Mixed(ImageSource):
    """Eight images of three sizes, row number as grey value, without files."""

    sizes = ((20, 30), (20, 30), (70, 33), (31, 32), (20, 30), (64, 64), (70, 33), (20, 30))

    def __init__(self) -> None:
        sample = type("Sample", (), {"labelled": True, "id": "x"})
        self.samples = [sample] * 8  # type: ignore[list-item]
        self.native = self.scaled = list(self.sizes)

    def image(self, row: int) -> np.ndarray:
        return np.full((*self.sizes[row], 3), 10 * row, np.uint8)

    def mask(self, row: int) -> np.ndarray:
        return np.full(self.sizes[row], row % 2, np.uint8)


MIXED = DatasetConfig(layout="tgs", root=".", pad="constant")


@pytest.mark.parametrize("world", [1, 2, 3, 9])
def test_every_row_is_predicted_once_in_batches_of_one_size(world: int) -> None:
    seen = []
    for rank in range(world):
        for batch in eval_batches(Mixed(), range(8), MIXED, LoaderSettings(32, 2, share=Share(rank, world))):
            assert 1 <= len(batch.rows) == len(batch.fits) == len(batch.images) <= 2
            for image, row, fit in zip(batch.images, batch.rows, batch.fits, strict=True):
                assert tuple(image.shape[-2:]) == fit.padded
                assert fit.native == Mixed.sizes[row]
                assert (unfit_probs(image[:1].float(), fit) == 10 * row).all()
            seen += batch.rows
    assert sorted(seen) == list(range(8))


def test_images_of_different_sizes_are_refused_before_training_unless_cropped() -> None:
    settings = LoaderSettings(stride=32, batch_size=4)
    with pytest.raises(DataError, match=r"different sizes .* set dataset\.train_crop"):
        train_loader(Mixed(), range(8), MIXED, PLAIN, settings)
    cropped = DatasetConfig(layout="tgs", root=".", train_crop=[40, 48], pad="constant")
    for batch in train_loader(Mixed(), range(8), cropped, PLAIN, settings):
        assert batch.images.shape[-2:] == (64, 64)
        for image, target, row in zip(batch.images, batch.targets, batch.rows.tolist(), strict=True):
            inside = target[0] != 255
            assert (image[:, inside] == 10 * row).all()
            height, width = (min(a, b) for a, b in zip(Mixed.sizes[row], (40, 48), strict=True))
            assert inside.sum() == height * width
    by_user = AugmentConfig(transforms=[TransformConfig(name="Resize", args={"height": 32, "width": 32})])
    assert len(list(train_loader(Mixed(), range(8), MIXED, by_user, settings))) == 2


def test_random_crops_reach_every_place_and_keep_image_and_mask_together() -> None:
    mask = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
    image = np.dstack([mask] * 3)
    corners = set()
    for seed in range(300):
        part, part_mask = random_crop(image, mask, (9, 9), "reflect", np.random.default_rng(seed))
        np.testing.assert_array_equal(part[..., 1], part_mask)
        corners.add(int(part_mask[0, 0]))
    assert corners == {0, 1, 10, 11, 20, 21, 30, 31}


def test_batches_lie_in_channels_last_order(sample: tuple) -> None:
    config, _, source = sample
    batch = next(iter(train_loader(source, range(4), config, PLAIN, LoaderSettings(stride=32, batch_size=4))))
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert list(batch.ids) == [source.samples[row].id for row in batch.rows.tolist()]
