import numpy as np
import pytest

from saltern.config import AugmentConfig, SampleConfig, TransformConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import LoaderSettings, train_loader
from saltern.data.loading.cache import open_source
from saltern.data.loading.preview import OUTLINE, VOID_OUTLINE, contact_sheet, outlined

SETTINGS = LoaderSettings(stride=32, batch_size=3, seed=4)


def test_outlines_run_along_the_inner_edge() -> None:
    mask = np.zeros((7, 8), np.uint8)
    mask[1:5, 1:5] = 1
    mask[5:, 5:] = 255
    drawn = outlined(np.zeros((7, 8, 3), np.uint8), mask)
    expected = np.zeros((7, 8, 3), np.uint8)
    expected[1:5, 1:5] = OUTLINE
    expected[2:4, 2:4] = 0
    expected[5:, 5:] = VOID_OUTLINE
    expected[6, 6:7] = VOID_OUTLINE  # a region two pixels high is all edge
    np.testing.assert_array_equal(drawn, expected)


def test_the_sheet_shows_what_batches_hold(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sheet")
    config = SampleConfig(root=str(folder / "sample"), train=3, test=2, side=40)
    dataset = open_dataset(config)
    source = open_source(dataset, dataset.train, config)
    augment = AugmentConfig(transforms=[TransformConfig(name="Affine", args={"rotate": [-30, 30], "p": 1.0})])
    sheet = contact_sheet(source, [2, 0], config, augment, SETTINGS, versions=2)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 68 + 4, 3 * 68 + 4, 3)
    loader = train_loader(source, range(3), config, augment, SETTINGS)
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        batch = next(iter(loader))
        for line, row in enumerate((2, 0)):
            index = batch.rows.tolist().index(row)
            tile = outlined(batch.images[index].permute(1, 2, 0).numpy(), batch.targets[index, 0].numpy())
            top, left = 4 + 68 * line, 4 + 68 * (1 + epoch)
            np.testing.assert_array_equal(sheet[top : top + 64, left : left + 64], tile)


def test_columns_are_mixed_as_batches_but_for_the_plain_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    config = SampleConfig(root=str(folder / "sample"), train=3, test=2, side=40)
    dataset = open_dataset(config)
    source = open_source(dataset, dataset.train, config)

    def swap(batch: tuple[np.ndarray, np.ndarray], epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of a column change places in epoch 1."""
        return (batch[0][::-1], batch[1][::-1]) if epoch == 1 else batch

    sheet = contact_sheet(source, [2, 0], config, AugmentConfig(), SETTINGS, versions=2, mix=swap)
    cells = [[sheet[4 + 68 * y : 68 + 68 * y, 4 + 68 * x : 68 + 68 * x] for x in range(3)] for y in range(2)]
    assert not np.array_equal(cells[0][0], cells[1][0])
    for y in range(2):
        np.testing.assert_array_equal(cells[y][1], cells[y][0])
        np.testing.assert_array_equal(cells[y][2], cells[1 - y][0])
