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
from saltern.models.trained import save_weights
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


def stored(folder: Path, paths: list[Path], *overrides: str) -> dict[str, np.ndarray]:
    config: RunConfig = compose_config("run", [*SMALL, f"dataset.root={folder / 'sample'}", *overrides])
    material = Material(config.dataset, config.augment)
    images = Images(
        material, material.labelled, list(range(12)), Loading.of(config.trainer, Share(), torch.device("cpu"))
    )
    name = "-".join(overrides).replace("=", "_") or "plain"
    shards = Members(start(config.trainer), config, paths).store(images, folder / name / "p_", Progress())
    assert shards == sorted((folder / name).iterdir())
    store = ProbStore(folder / name)
    return {key: store[key] for key in store}


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize("window", ["null", "32"])
def test_taking_turns_gives_the_same_bits(at_once: int, window: str, paths: list[Path], tmp_path: Path) -> None:
    together = stored(tmp_path, paths, f"dataset.window={window}")
    in_turn = stored(tmp_path, paths, f"dataset.window={window}", f"inference.networks_at_once={at_once}")
    assert set(together) == set(in_turn)
    assert len(together) == 12
    assert all(np.array_equal(together[name], in_turn[name]) for name in together)
    alone = stored(tmp_path, paths[:1], f"dataset.window={window}", "inference.shard_mb=2")
    assert any(not np.array_equal(together[name], alone[name]) for name in together)


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
