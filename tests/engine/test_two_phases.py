"""Over two processes a phase thaws what the one before it froze, and all have the same weights and the same average."""

import re
import subprocess
import sys
from pathlib import Path

import torch
from test_phases_freeze import ENCODER, coded

from saltern.engine.checkpoint import load_checkpoint
from saltern.runs import FoldDir

SCRIPT = Path(__file__).with_name("two_phases.py")


def test_two_processes_freeze_thaw_and_average_alike(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], check=False, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = dict(re.findall(r"rank (\d): (.*)", done.stdout))
    assert set(told) == {"0", "1"}
    assert told["0"] == told["1"]
    assert "True) [5, 6] []" in told["0"]
    _, parts = load_checkpoint(FoldDir(tmp_path).last)
    fresh = coded().state_dict()
    assert not any(torch.equal(parts["model"][name], fresh[name]) for name in ENCODER)
