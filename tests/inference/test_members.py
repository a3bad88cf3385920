"""Networks that take turns on the device give the very means of networks that are there together, in less room."""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch

from saltern.config import RunConfig, compose_config
from saltern.data.loading.batches import Share
from saltern.data.material import Loading, Material
from saltern.inference.members import Images, Members
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


@pytest.mark.parametrize("window", [None, 32])
def test_presence_is_the_mean_over_networks_and_views_and_the_highest_of_all_windows(
    window: int | None, paths: list[Path], tmp_path: Path
) -> None:
    config = compose_config("run", [*SMALL, f"dataset.root={tmp_path / 'sample'}"])
    store = stored(tmp_path, paths, f"dataset.window={window or 'null'}")
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
        found[name] = np.mean(said)
    assert found == pytest.approx({name: store.presence(name) for name in store}, abs=1e-6)
    assert len(set(found.values())) == 12


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
