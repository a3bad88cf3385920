"""Networks that take turns on the device give the very means of networks that are there together, in less room."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

from saltern.config import RunConfig, compose_config
from saltern.data.loading.batches import Share
from saltern.data.material import Loading, Material
from saltern.errors import ConfigError
from saltern.inference.members import Images, Members
from saltern.inference.predictions import BatchPrediction, build_mean
from saltern.inference.store import ProbStore
from saltern.models import SegmentationNet, build_model
from saltern.models.trained import load_weights, save_weights
from saltern.progress import Progress
from saltern.runtime import start

SMALL = [
    "model=unet_small",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "dataset.train=12",
    "dataset.test=2",
    "dataset.side=40",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.eval_batch_size=5",
    "inference.views=[identity,hflip]",
    "model.heads.empty=0.1",
]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Weights of three networks."""
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        found.append(tmp_path / f"{seed}.safetensors")
        save_weights(found[-1], build_model(compose_config("run", SMALL).model))
    return found


def stored(folder: Path, paths: list[Path], *overrides: str) -> ProbStore:
    config: RunConfig = compose_config("run", [*SMALL, f"dataset.root={folder / 'sample'}", *overrides])
    material = Material(config.dataset, config.augment)
    images = Images(
        material, material.labelled, list(range(12)), Loading.of(config.trainer, Share(), torch.device("cpu"))
    )
    name = "-".join(overrides).replace("=", "_") or "plain"
    shards = Members(start(config.trainer), config, paths).store(images, folder / name / "p_", Progress())
    assert shards == sorted((folder / name).iterdir())
    return ProbStore(folder / name)


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("window", ["null", "32"])
def test_taking_turns_gives_the_same_bits(at_once: int, window: str, paths: list[Path], tmp_path: Path) -> None:
    together = stored(tmp_path, paths, f"dataset.window={window}")
    in_turn = stored(tmp_path, paths, f"dataset.window={window}", f"inference.networks_at_once={at_once}")
    assert set(together) == set(in_turn)
    assert len(together) == 12
    assert all(np.array_equal(together[name], in_turn[name]) for name in together)
    assert all(together.presence(name) == in_turn.presence(name) for name in together)
    alone = stored(tmp_path, paths[:1], f"dataset.window={window}", "inference.shard_mb=2")
    assert any(not np.array_equal(together[name], alone[name]) for name in together)


@pytest.mark.parametrize(("window", "mean"), [(None, "logits"), (32, "probs")])
def test_presence_is_the_mean_over_networks_and_views_and_the_highest_of_all_windows(
    window: int | None, mean: str, paths: list[Path], tmp_path: Path
) -> None:
    config = compose_config("run", [*SMALL, f"dataset.root={tmp_path / 'sample'}"])
    store = stored(tmp_path, paths, f"dataset.window={window or 'null'}", f"inference.mean={mean}")
    material = Material(config.dataset, config.augment)
    parts = [(0, 0), (0, 8), (8, 0), (8, 8)] if window else [(0, 0)]
    side = window or 40
    found = {}
    for name in store:
        image = torch.from_numpy(material.pixels_of(name)[0].transpose(2, 0, 1).copy())[None]
        said = []
        for path in paths:
            network = build_model(config.model).eval()
            load_weights(path, network)
            seen = [image[..., top : top + side, left : left + side] for top, left in parts]
            with torch.no_grad():
                logits = [[network(view).presence.item() for view in (part, part.flip(-1))] for part in seen]
            said.append((1 / (1 + np.exp(-np.array(logits)))).mean(axis=1).max())
        odds = np.array(said) / (1 - np.array(said))
        product = np.prod(odds) ** (1 / len(odds))
        found[name] = np.mean(said) if mean == "probs" else product / (1 + product)
    assert found == pytest.approx({name: store.presence(name) for name in store}, abs=1e-6)
    assert len(set(found.values())) == 12


def test_the_mean_of_networks_is_that_of_their_odds_or_of_their_probabilities(
    paths: list[Path], tmp_path: Path
) -> None:
    """Of odds the geometric one, by hand; and one network alone is what it says under either name, bit for bit."""
    alone = [stored(tmp_path / path.stem, [path]) for path in paths]
    plain = stored(tmp_path / "plain", paths[:1], "inference.mean=probs")
    assert all(np.array_equal(alone[0][name], plain[name]) for name in plain)
    together = {mean: stored(tmp_path, paths, f"inference.mean={mean}") for mean in ("probs", "logits")}
    apart = 0.0
    for name in together["probs"]:
        each = np.stack([store[name] for store in alone]).astype(np.float64)
        product = np.prod(each / (1 - each), axis=0) ** (1 / 3)
        expected = {"probs": each.mean(axis=0), "logits": product / (1 + product)}
        for mean, store in together.items():
            np.testing.assert_allclose(store[name].astype(np.float64), expected[mean], atol=1e-3)
        apart = max(apart, float(np.abs(expected["probs"] - expected["logits"]).max()))
    assert apart > 1e-4


def test_no_network_outvotes_the_others_without_limit_and_sure_ones_stay_sure() -> None:
    mean = build_mean("logits", 3)
    said = [BatchPrediction(torch.full((1, 1, 1, 1), value), torch.tensor([value])) for value in (0.0, 0.5, 0.5)]
    sure = BatchPrediction(torch.ones(1, 1, 1, 1), torch.tensor([0.0]))
    mixed = mean.of(mean.term(said[0]) + mean.term(said[1]) + mean.term(said[2]), 3)
    odds = (1e-4 / (1 - 1e-4)) ** (1 / 3)
    assert mixed.probs.item() == pytest.approx(odds / (1 + odds), rel=1e-3)
    assert np.float16(mean.of(mean.term(sure), 1).probs.item()) == 1
    with pytest.raises(ConfigError, match=r"inference.mean: unknown mean 'odds'.*probs, logits"):
        build_mean("odds", 2)


def test_networks_without_the_head_store_no_presence(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, build_model(compose_config("run", [*SMALL, "model.heads.empty=null"]).model))
    for at_once in (1, 2):
        store = stored(tmp_path, [path] * 2, "model.heads.empty=null", f"inference.networks_at_once={at_once}")
        assert not store.has_presence


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (3, 3)])
def test_no_more_networks_live_than_are_asked_for(
    at_once: int, most: int, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Besides the blank one, which only knows the stride."""
    gc.collect()
    before = sum(isinstance(item, SegmentationNet) for item in gc.get_objects())
    peak = 0
    loaded = Members._loaded

    def counted(self: Members, path: Path) -> SegmentationNet:
        nonlocal peak
        network = loaded(self, path)
        gc.collect()
        peak = max(peak, sum(isinstance(item, SegmentationNet) for item in gc.get_objects()) - before - 1)
        return network

    monkeypatch.setattr(Members, "_loaded", counted)
    stored(tmp_path, paths, f"inference.networks_at_once={at_once}")
    assert peak == most
