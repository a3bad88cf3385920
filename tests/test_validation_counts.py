"""What validation counts after every epoch: alone and over two processes, against the scores that it gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltern.inference.epoch_counts import EpochCounts
from saltern.metrics.scores import summarise
from saltern.runs import RunDir

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = [
    "dataset.train=10",
    "dataset.test=2",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=2",
    "trainer.eval_batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.folds=[0]",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
    "name=k",
]


def trained(place: Path, *overrides: str, processes: int = 1) -> RunDir:
    place.mkdir()
    call = [str(SCRIPTS / "train.py"), *TINY, *overrides]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        call = [*launcher, *call, f"trainer.devices={processes}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *call], check=False, capture_output=True, text=True, cwd=place, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return RunDir(place / "outputs" / "k")


@pytest.mark.parametrize("processes", [1, 2])
def test_the_counts_of_an_epoch_give_its_scores_whoever_counted_them(processes: int, tmp_path: Path) -> None:
    """Five images in batches of two: with two processes one counts three of them, the other two."""
    run = trained(tmp_path / "place", processes=processes)
    found = EpochCounts.read(run.fold(0).val_counts)
    folds = pd.read_csv(run.folds, dtype={"id": str})
    assert list(found.ids) == folds["id"][folds["fold"] == 0].tolist()
    rows = pd.read_csv(run.fold(0).metrics)
    assert found.counts.shape == (len(rows), len(found.ids), 3) == (2, 5, 3)
    for counts, (_, row) in zip(found.counts, rows.iterrows(), strict=True):
        for name, score in summarise(counts.astype(np.int64)).items():
            assert row[f"val_{name}"] == pytest.approx(score)
    assert "fold_0/val_counts.safetensors" in run.fold(0).done.read_text(), "sealed with the fold"
