"""Two processes: an error on one ends both within seconds, with its own message; no wait for a collective's timeout."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("two_ranks.py")


def ended(case: str, folder: Path) -> tuple[int, str, float]:
    """Exit status of the process that was started, what both said, and the seconds from the failure to the last end."""
    pipe = subprocess.Popen(
        [sys.executable, str(SCRIPT), case, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said, _ = pipe.communicate(timeout=200)  # until the last process has let go of the pipe
    now = time.time()
    failed = max(map(float, re.findall(r"failing at (\S+)", said)), default=now)
    return pipe.returncode, said, now - failed


ENDS = {
    "own_error": (
        2,
        "rank 1: image_7.png: cannot be decoded",
        "process 0 of 2 ends, since process 1 failed: image_7.png",
    ),
    "full_disk": (2, "last.ckpt: cannot be written: No space left", "process 1 of 2 ends, since process 0 failed: "),
    "killed": (1, "process 0 of 2 ends, since process 1 failed: process ", "was killed"),
    "killed_main": (-9, "process 1 of 2 ends, since process 0 failed: ", ""),
    "bug": (1, "KeyError: 'a bug'", "process 1 of 2 ends, since process 0 failed: KeyError"),
    "different": (2, "fold_0, finished epochs: 3 on process 1, 4 on the main one", "process 0 of 2 ends"),
}
"""Case of `two_ranks.py` → exit status, and what is said."""
RARE = ("killed_main", "bug", "different")


@pytest.mark.parametrize("case", [pytest.param(name, marks=pytest.mark.slow if name in RARE else ()) for name in ENDS])
def test_one_process_fails_and_both_end(case: str, tmp_path: Path) -> None:
    status, *told = ENDS[case]
    code, said, seconds = ended(case, tmp_path)
    assert code == status, said
    for text in told:
        assert text in said, said
    assert seconds < 15, f"{seconds:.1f} s until the last process had ended"


def test_the_main_processs_own_work_may_take_longer_than_a_collective_waits(tmp_path: Path) -> None:
    code, said, _ = ended("patience", tmp_path)
    assert code == 0, said
    assert "rank 0 is done" in said
    assert "rank 1 is done" in said
