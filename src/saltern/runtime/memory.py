"""How much memory there is, and the one sentence for where it runs out."""

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from saltern.errors import RunError, SalternError, TrainingError

MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")

_OUT = (
    "can't allocate memory",  # torch's allocator on a CPU
    "not enough memory",
    "out of memory",  # CUDA itself, and libraries beside torch's allocator
    "ALLOC_FAILED",  # cuBLAS, cuDNN
)
"""What a RuntimeError says where memory was short."""


@dataclass(frozen=True)
class Memory:
    """A device's memory, in bytes."""

    peak: int
    """The most that this process held: of tensors on a GPU, of everything on a CPU."""
    free: int
    """What may still be had."""
    total: int

    @classmethod
    def of(cls, device: torch.device) -> "Memory":
        """That of `device` now; what torch's allocator keeps on a GPU without using it counts as free."""
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return cls(torch.cuda.max_memory_allocated(device), free + kept, total)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        known = _meminfo()
        total = known.get("MemTotal", _pages("SC_PHYS_PAGES"))
        free = known.get("MemAvailable", _pages("SC_AVPHYS_PAGES"))
        limit = _container()
        return cls(peak, free, total) if limit is None else cls(peak, min(free, limit[0]), min(total, limit[1]))

    def __str__(self) -> str:
        return f"peak {self.peak >> 20:,} MiB, {self.free >> 20:,} of {self.total >> 20:,} MiB free"


@dataclass(frozen=True)
class Need:
    """What computes, and what its user may change where memory runs out."""

    error: type[SalternError]
    advice: str

    def short(self, device: torch.device, where: str, shape: Sequence[int]) -> SalternError:
        """The error for a batch of `shape` (B, 3, H, W) that `device` does not hold; `where` begins the sentence."""
        count, (height, width) = shape[0], shape[-2:]
        return self.error(
            f"{where}: the memory of {device} does not hold a batch of {count} images of {height} x {width} "
            f"({Memory.of(device)}). {self.advice}"
        )


TRAINING = Need(
    TrainingError,
    "Lower trainer.batch_size (with trainer.accumulate an optimizer step sees as many images), or dataset.train_crop; "
    "or set trainer.checkpointing=true or trainer.precision=bf16; trainer.batch_size=auto finds what fits. A run that "
    "has folds needs another name=… for a new size.",
)
EVALUATION = Need(
    RunError,
    "Lower trainer.eval_batch_size or inference.networks_at_once, which may change within a run; dataset.window cuts "
    "large images.",
)


@contextmanager
def enough_memory(need: Need, device: torch.device, where: str, shape: Sequence[int]) -> Iterator[None]:
    """Within it, memory that runs out is an error that says what there was and what to change.

    Args:
        need: What computes.
        device: On which.
        where: Beginning of the sentence, such as `fold_0, epoch 3`.
        shape: (B, 3, H, W) of the images.

    Raises:
        TrainingError, RunError: as `need` has it.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise need.short(device, where, shape) from error


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that memory was short."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT)


def _meminfo() -> dict[str, int]:
    """Linux's own account, in bytes; empty elsewhere."""
    if not MEMINFO.exists():
        return {}
    rows = (line.split() for line in MEMINFO.read_text(encoding="ascii").splitlines())
    return {row[0].rstrip(":"): int(row[1]) << 10 for row in rows if len(row) == 3}


def _pages(name: str) -> int:
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE") if name in os.sysconf_names else 0


def _container() -> tuple[int, int] | None:
    """(free, total) bytes of the container that this process runs in, where it has a limit (cgroup v2)."""
    limit, used = CGROUP / "memory.max", CGROUP / "memory.current"
    if not (limit.exists() and used.exists()):
        return None
    most = limit.read_text(encoding="ascii").strip()
    if most == "max":
        return None
    stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    cached = int(stat.get("inactive_file", 0))  # of files, which the kernel gives up when asked
    return max(0, int(most) - int(used.read_text(encoding="ascii")) + cached), int(most)
