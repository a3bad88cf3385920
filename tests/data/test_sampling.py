"""Which images an epoch shows: shares of empty images by epoch, fair draws, today's order where none is asked for."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from saltern.config import AugmentConfig, ConfigError, PhaseConfig, SampleConfig, ScheduleConfig, TransformConfig
from saltern.config.resolve import compose_config
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import LoaderSettings, Share, TrainLoader, train_loader
from saltern.data.loading.cache import ImageSource, open_source
from saltern.data.loading.sampling import drawn_order, require_kinds
from saltern.errors import DataError
from saltern.job import Job
from saltern.losses import Schedule
from saltern.pipeline.training import make_folds

PLAIN = AugmentConfig()
FLIPPED = AugmentConfig(transforms=[TransformConfig(name="Affine", args={"rotate": [-90, 90], "p": 1.0})])
TABLE = 100


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleConfig, ImageSource]:
    config = SampleConfig(root=str(tmp_path_factory.mktemp("data") / "sample"), train=23, test=4, side=32)
    dataset = open_dataset(config)
    return config, open_source(dataset, dataset.train, config)


def loader_of(sample: tuple[SampleConfig, ImageSource], augment: AugmentConfig = PLAIN, **settings: int) -> TrainLoader:
    config, source = sample
    share = Share(settings.pop("rank", 0), settings.pop("world_size", 1))
    return train_loader(
        source, range(23), config, augment, LoaderSettings(32, batch_size=5, seed=3, share=share, **settings)
    )


def rows_of(loader: TrainLoader) -> list[int]:
    return [row for batch in loader for row in batch.rows.tolist()]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_an_epoch_has_as_many_empty_images_as_the_share_says_and_is_fair_to_each(share: float) -> None:
    """12 images with foreground, 8 empty ones, by counting them one by one."""
    rows = np.arange(30, 50)
    empty = np.arange(20) % 5 < 2
    shown = drawn_order(rows, empty, share, TABLE, np.random.default_rng(0))
    assert len(shown) == 20
    counts = Counter((shown % TABLE).tolist())
    for kind, wanted in ((empty, round(20 * share)), (~empty, 20 - round(20 * share))):
        each = [counts[row] for row in rows[kind].tolist()]
        assert sum(each) == wanted
        assert max(each) - min(each) <= 1
    for row, count in counts.items():
        assert sorted(item // TABLE for item in shown.tolist() if item % TABLE == row) == list(range(count))


def test_who_is_drawn_and_when_changes_with_the_epoch_and_nobody_is_left_out_for_long() -> None:
    rows, empty = np.arange(20), np.arange(20) < 15
    seen: Counter[int] = Counter()
    places = []
    for epoch in range(400):
        shown = drawn_order(rows, empty, 0.25, TABLE, np.random.default_rng([0, epoch])) % TABLE
        seen.update(shown[shown < 15].tolist())
        places.append(np.flatnonzero(shown < 15).mean())
    assert set(seen) == set(range(15))
    assert min(seen.values()) > 90  # 133 expected, with a standard deviation of 9.4
    assert np.mean(places) == pytest.approx(9.5, abs=0.5), "the kinds are shuffled together"


def test_without_a_share_the_order_is_that_of_a_permutation_by_seed_and_epoch(sample: tuple) -> None:
    loader = loader_of(sample)
    for epoch in (0, 6):
        loader.set_epoch(epoch, None)
        assert rows_of(loader) == np.random.default_rng([3, 0, epoch]).permutation(np.arange(23)).tolist()


def test_batches_hold_the_share_whatever_the_workers_and_the_same_again(sample: tuple) -> None:
    empty = [(sample[1].mask(row) == 1).sum() == 0 for row in range(23)]
    assert 2 < sum(empty) < 21, "the sample has both kinds"
    runs = []
    for workers in (0, 2, 0):
        loader = loader_of(sample, FLIPPED, workers=workers)
        loader.set_epoch(4, 0.8)
        batches = list(loader)
        rows = [row for batch in batches for row in batch.rows.tolist()]
        assert [len(batch.ids) for batch in batches] == loader.sizes
        assert sum(empty[row] for row in rows) == round(0.8 * 23)
        ids = [name for batch in batches for name in batch.ids]
        assert ids == [sample[1].samples[row].id for row in rows]
        runs.append(torch.cat([batch.images for batch in batches]))
        loader.close()
    assert all(torch.equal(runs[0], other) for other in runs[1:])


def test_an_image_that_is_shown_again_is_augmented_anew_and_first_as_without_sampling(sample: tuple) -> None:
    loader = loader_of(sample, FLIPPED)
    loader.set_epoch(2)
    plain = {row: image for batch in loader for row, image in zip(batch.rows.tolist(), batch.images, strict=True)}
    loader.set_epoch(2, 1.0)
    again: dict[int, list[torch.Tensor]] = {}
    for batch in loader:
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
            again.setdefault(row, []).append(image)
    assert max(map(len, again.values())) > 1
    for row, images in again.items():
        assert any(torch.equal(plain[row], image) for image in images)
        assert len({image.numpy().tobytes() for image in images}) == len(images)


def test_ranks_share_the_drawn_order_in_equally_many_batches(sample: tuple) -> None:
    whole = loader_of(sample)
    whole.set_epoch(1, 0.5)
    seen = []
    for rank in range(2):
        loader = loader_of(sample, rank=rank, world_size=2)
        loader.set_epoch(1, 0.5)
        seen.append(rows_of(loader))
    assert len(seen[0]) == len(seen[1]) == 10  # 11 each, of which a last batch of one is left out
    assert [row for pair in zip(*seen, strict=True) for row in pair] == rows_of(whole)[:20]


def _phase(sampling: object, epochs: int = 4) -> Schedule:
    first = PhaseConfig(epochs=2, loss={"bce": 1.0}, lr=0.1)
    second = PhaseConfig(epochs=epochs, loss={"bce": 1.0}, lr=0.1, sampling=sampling)
    return Schedule(ScheduleConfig(phases={"first": first, "second": second}))


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [
        (None, [None] * 4),
        (0.3, [0.3] * 4),
        ([0.2, 0.8], [0.2, 0.4, 0.6, 0.8]),
        ([1, 0.1], [1.0, 0.7, 0.4, 0.1]),
    ],
)
def test_the_share_runs_straight_from_a_phases_first_epoch_to_its_last(sampling: object, shares: list) -> None:
    schedule = _phase(sampling)
    found = [schedule.at(epoch).sampling for epoch in range(6)]
    assert found == [None, None, *(share if share is None else pytest.approx(share) for share in shares)]
    if shares[0] is not None:
        assert (found[2], found[-1]) == (shares[0], shares[-1]), "the ends are exact, so never outside [0, 1]"


def test_a_phase_of_one_epoch_has_the_first_share() -> None:
    assert _phase([0.2, 0.8], epochs=1).at(2).sampling == 0.2


@pytest.mark.parametrize("value", ["1.1", "-0.1", "[0.2]", "[0.1,0.2,0.3]", "[0,2]", "true", "half", "[a,b]", "{a: 1}"])
def test_what_is_no_share_is_refused_by_its_key(value: str) -> None:
    with pytest.raises(ConfigError, match=r"schedule\.phases\.warm_up\.sampling.*from 0 to 1, or two of them"):
        compose_config("run", [f"schedule.phases.warm_up.sampling={value}"])


@pytest.mark.parametrize("value", ["null", "0", "1", "0.3", "[0.2,0.78]"])
def test_shares_come_through_the_command_line(value: str) -> None:
    phase = compose_config("run", [f"schedule.phases.warm_up.sampling={value}"]).schedule.phases["warm_up"]
    wanted = {"null": None, "0": (0, 0), "1": (1, 1), "0.3": (0.3, 0.3), "[0.2,0.78]": (0.2, 0.78)}[value]
    assert phase.shares() == wanted


@pytest.mark.parametrize(
    ("empties", "share", "message"),
    [(0, 0.1, "without foreground; of the 5 to train on, 0 are"), (5, 0.9, "with foreground; of the 5 .* 5 are")],
)
def test_a_share_of_images_that_are_not_there_is_refused(empties: int, share: float, message: str) -> None:
    empty = np.arange(5) < empties
    with pytest.raises(DataError, match=message):
        require_kinds(empty, [share], "fold 3")
    with pytest.raises(DataError, match=message):
        drawn_order(np.arange(5), empty, share, TABLE, np.random.default_rng(0))
    require_kinds(empty, [float(empties == 5)], "fold 3")


def test_a_fold_that_cannot_give_the_share_is_named_before_the_run_has_folds(sample: tuple, tmp_path: Path) -> None:
    """The empty images are validated in fold 0, so that its training images are all of the other kind."""
    config, source = sample
    folds = [f"{item.id},{0 if empty else 1}" for item, empty in zip(source.samples, source.empty, strict=True)]
    split = tmp_path / "split.csv"
    split.write_text("id,fold\n" + "\n".join(folds) + "\n")
    overrides = [
        f"dataset.root={config.root}",
        "dataset.train=23",
        "dataset.test=4",
        "dataset.side=32",
        "folds=file",
        f"folds.file={split}",
        f"outputs={tmp_path}/outputs",
        "trainer.accelerator=cpu",
        "name=a",
    ]
    asked = "schedule.phases.fine_tune.sampling=[0.2,0.8]"
    job = Job(compose_config("run", [*overrides, asked]))
    with pytest.raises(
        DataError, match=r"fold 0: schedule\.phases\.fine_tune\.sampling=\[0\.2, 0\.8\].*without.*0 are"
    ):
        make_folds(job)
    assert not job.run.folds.exists()
    assert len(make_folds(Job(compose_config("run", overrides)))) == 23
