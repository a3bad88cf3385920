"""Two gloo processes of which one fails in the way that the first argument names; started by `test_group.py`."""

import errno
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch

from saltern import runtime
from saltern.config import TrainerConfig
from saltern.errors import DataError, SalternError
from saltern.files import atomic
from saltern.runtime.group import Group, exit_status


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def collective() -> None:
    """What waits for the other process, for half an hour if need be."""
    torch.distributed.all_reduce(torch.zeros(1))


def own_error(group: Group) -> None:
    """Rank 1 cannot read an image, while the main one waits for its gradients."""
    if group.rank == 1:
        raise DataError("image_7.png: cannot be decoded")
    collective()


def bug(group: Group) -> None:
    """An error of ours on the main process, while the other one waits for it."""
    if group.is_main:
        raise KeyError("a bug")
    group.barrier()


def full_disk(group: Group) -> None:
    """The main process cannot write, while the other one waits for it to have written."""

    def write() -> None:
        with atomic(Path(sys.argv[2]) / "last.ckpt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    group.on_main(write)


def killed(group: Group) -> None:
    """The system kills rank 1 (memory was short), while the main one waits for its gradients."""
    if group.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    collective()


def killed_main(group: Group) -> None:
    """The same with the main process, which holds the store."""
    if group.is_main:
        os.kill(os.getpid(), signal.SIGKILL)
    group.barrier()


def patience(group: Group) -> None:
    """Main-only work takes longer than a collective would wait (2 s here); all agree on values, or the least."""
    torch.distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=2))
    group.on_main(time.sleep, 4.0)
    collective()
    assert group.agree({"epoch": 3, "score": 0.5, "rank": group.rank}) == {"epoch": 3, "score": 0.5, "rank": 0}
    assert [group.smallest(5 - group.rank), group.smallest(3 + group.rank)] == [4, 3]


def different(group: Group) -> None:
    """The processes see different run folders."""
    group.require_equal("fold_0, finished epochs", 4 - group.rank)


CASES = {case.__name__: case for case in (own_error, bug, full_disk, killed, killed_main, patience, different)}


def main() -> None:
    group = runtime.start(TrainerConfig(accelerator="cpu", devices=2)).group
    try:
        with group.together():
            group.barrier()
            say(f"failing at {time.time()}")
            CASES[sys.argv[1]](group)
    except SalternError as error:
        say(f"rank {group.rank}: {error}")
        sys.exit(exit_status(error))
    say(f"rank {group.rank} is done")


if __name__ == "__main__":
    main()
