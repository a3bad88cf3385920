"""Lightning Fabric set up from config: device, precision, strategy, ranks, seeding."""

import logging
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from saltern.config import TrainerConfig
from saltern.errors import ConfigError

log = logging.getLogger(__name__)

FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Our name → Fabric's. `fp16` brings loss scaling with it."""


@dataclass(frozen=True)
class Runtime:
    """One process's view of the hardware: its Fabric, its rank, its precision (fp32, bf16 or fp16)."""

    fabric: Fabric
    precision: str

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return int(self.fabric.global_rank)

    @property
    def world_size(self) -> int:
        """Number of processes."""
        return int(self.fabric.world_size)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files that all share."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision's forward context."""
        return self.fabric.autocast()

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.fabric.barrier()

    def gather_rows(self, rows: Tensor) -> Tensor:
        """Rows (N_rank, …) of every process, one below the other; every process may hold another number."""
        if self.world_size == 1:
            return rows
        sizes = self.fabric.all_gather(torch.tensor(len(rows), device=self.device)).reshape(-1).tolist()
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = self.fabric.all_gather(padded.to(self.device)).reshape(len(sizes), max(sizes), *rows.shape[1:])
        parts = [part[:size] for part, size in zip(gathered, sizes, strict=True)]
        return torch.cat(parts).to(rows.device)


def start(config: TrainerConfig) -> Runtime:
    """Set up Fabric for `config`, with the precision that the hardware is made for where it says `auto`.

    Raises:
        ConfigError: the accelerator, or a precision asked for by name, is not to be had here.
    """
    cuda = torch.cuda.is_available()
    if config.accelerator == "cuda" and not cuda:
        raise ConfigError("trainer.accelerator=cuda: torch sees no CUDA device here; expected auto or cpu.")
    use_cuda = cuda and config.accelerator != "cpu"
    if use_cuda and config.devices * config.nodes > torch.cuda.device_count() * config.nodes:
        raise ConfigError(
            f"trainer.devices={config.devices}: this machine has {torch.cuda.device_count()} CUDA devices."
        )
    precision = config.precision if config.precision != "auto" else _best_precision(use_cuda)
    if precision == "fp16" and not use_cuda:
        raise ConfigError("trainer.precision=fp16: needs a CUDA device; on a CPU use auto, fp32 or bf16.")
    torch.use_deterministic_algorithms(config.deterministic, warn_only=False)
    if use_cuda:
        torch.set_float32_matmul_precision("highest" if config.deterministic else "high")
        torch.backends.cudnn.benchmark = not config.deterministic
    several = config.devices * config.nodes > 1
    fabric = Fabric(
        accelerator="cuda" if use_cuda else "cpu",
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if several else "auto",
        precision=FABRIC_PRECISION[precision],
    )
    if several:
        fabric.launch()
    return Runtime(fabric, precision)


def _best_precision(use_cuda: bool) -> str:
    if use_cuda:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:
        log.info("this torch does not tell what the CPU can do: precision auto is fp32")
        return "fp32"
    found = capabilities()
    # Without these instructions bf16 is emulated, and slower than fp32.
    return "bf16" if any(found.get(key) for key in ("avx512_bf16", "amx_bf16", "bf16")) else "fp32"


def seed_all(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed % 2**63)
