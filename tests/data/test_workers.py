import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from saltern.data.loading.workers import Arrays, Key, Workers
from saltern.errors import DataError, RunError

KEYS: list[Key] = [(0, (row, row + 100)) for row in range(20)]


def make(key: Key) -> Arrays:
    """The row number as pixels, a little later for the even rows; some rows fail."""
    epoch, rows = key
    if rows[0] % 2 == 0:
        time.sleep(0.002)
    if epoch == 1 and rows[0] == 7:
        raise DataError("row 7: damaged")
    if epoch == 2 and rows[0] == 7:
        raise ZeroDivisionError("row 7")
    if epoch == 3 and rows[0] == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    side = 9 if epoch == 4 else 4
    images = np.stack([np.full((side, side, 3), row, np.uint8) for row in rows])
    return images, images[..., 0] + np.uint8(1)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("count", [1, 2, 3])
def test_batches_come_in_order_and_stay_the_callers(count: int) -> None:
    workers = Workers(make, count, 2 * 4 * 4 * 4)
    for _ in range(2):
        batches = list(workers.batches(KEYS))
        assert len(batches) == 20
        for (_, rows), (images, targets) in zip(KEYS, batches, strict=True):
            assert images.shape == (2, 4, 4, 3)
            assert images[:, 0, 0, 0].tolist() == list(rows)
            assert (targets.numpy() == images.numpy()[..., 0] + 1).all()
    assert len(list(workers.batches(KEYS[:1]))) == 1
    assert list(workers.batches([])) == []
    workers.close()


def test_an_iteration_left_early_does_not_disturb_the_next() -> None:
    workers = Workers(make, 2, 2 * 4 * 4 * 4)
    for leave_after in (1, 5, 19):
        for number, _ in enumerate(workers.batches(KEYS), 1):
            if number == leave_after:
                break
        assert [int(images[0, 0, 0, 0]) for images, _ in workers.batches(KEYS)] == list(range(20))
    workers.close()


@pytest.mark.parametrize(
    ("epoch", "error", "text"),
    [
        (1, DataError, "row 7: damaged"),
        (2, RuntimeError, "ZeroDivisionError: row 7"),
        (3, RunError, r"exit code -9 \(killed; is memory short"),
        (4, RuntimeError, "larger than its slot of 128 bytes"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_told_here(epoch: int, error: type[Exception], text: str) -> None:
    workers = Workers(make, 2, 2 * 4 * 4 * 4)
    with pytest.raises(error, match=text):
        list(workers.batches([(epoch, rows) for _, rows in KEYS]))
    if epoch in (1, 2):
        assert len(list(workers.batches(KEYS))) == 20
    workers.close()


def test_workers_end_with_their_owner() -> None:
    workers = Workers(make, 2, 2 * 4 * 4 * 4)
    next(workers.batches(KEYS))
    pids = [process.pid for process in workers._processes]
    assert not any(gone(pid) for pid in pids)
    del workers
    gc.collect()
    assert all(gone(pid) for pid in pids)


def test_workers_do_not_outlive_a_parent_that_was_killed() -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import test_workers as t;"
        "w = t.Workers(t.make, 3, 128); next(w.batches(t.KEYS));"
        "print(*(p.pid for p in w._processes), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 3
    deadline = time.monotonic() + 10
    while not all(gone(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(gone(pid) for pid in pids)
