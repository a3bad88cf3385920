"""Lightning Fabric set up from config: device, precision, strategy, ranks, seeding."""

import logging
import platform
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

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

    def place(self, network: nn.Module, *, channels_last: bool) -> Any:
        """`network` on this process's device, in the memory order asked for."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if channels_last else network

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision's forward context."""
        return self.fabric.autocast()

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.fabric.barrier()

    def sum_over_ranks(self, sums: Tensor) -> Tensor:
        """The sum of a tensor over all processes; every process must call."""
        if self.world_size == 1:
            return sums
        total = self.fabric.all_reduce(sums.to(self.device), reduce_op="sum")
        assert isinstance(total, Tensor)
        return total


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


def environment() -> dict[str, Any]:
    """Versions and hardware, for `environment.json`."""
    names = ("torch", "segmentation-models-pytorch", "albumentations", "opencv-python", "numpy", "pandas", "saltern")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in names},
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
    }
