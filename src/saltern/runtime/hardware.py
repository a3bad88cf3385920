"""Lightning Fabric set up from config: device, precision, strategy, ranks, seeding."""

import ctypes
import logging
import os
import platform
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from saltern.config import TrainerConfig
from saltern.errors import ConfigError
from saltern.runtime.group import Group, meet

log = logging.getLogger(__name__)

FABRIC_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Our name → Fabric's. `fp16` brings loss scaling with it."""

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of mallopt, from glibc's malloc.h."""


@dataclass(frozen=True)
class Runtime:
    """One process's view of the hardware: its Fabric, its rank, its precision (fp32, bf16 or fp16)."""

    fabric: Fabric
    precision: str
    group: Group = field(default_factory=Group)
    """The processes of this run, which agree, wait for each other and end together."""

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

    def place(self, network: nn.Module, *, channels_last: bool) -> Any:
        """`network` on this process's device, in the memory order asked for."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if channels_last else network

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision's forward context."""
        return self.fabric.autocast()

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the main one's running statistics, so that all score the weights that are saved."""
        if self.world_size > 1:
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def fresh_scaler(self) -> None:
        """Forget the loss scale of an earlier fold; only fp16 has one."""
        plugin = self.fabric.strategy.precision
        if getattr(plugin, "scaler", None) is not None:
            plugin.scaler = torch.amp.GradScaler(self.device.type)

    def step(self, optimizer: Any) -> bool:
        """Let `optimizer` step; tells whether it did: fp16's scaler skips a step whose gradients overflowed."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        if scaler is None:
            optimizer.step()
            return True
        before = scaler.get_scale()
        optimizer.step()
        return bool(scaler.get_scale() >= before)

    def fuses(self, *, clips: bool) -> bool:
        """Whether optimizers may be the fused ones: Fabric cannot clip gradients that these unscale themselves."""
        return not (clips and getattr(self.fabric.strategy.precision, "scaler", None) is not None)

    @contextmanager
    def evaluating(self, *, sizes_vary: bool) -> Iterator[None]:
        """Within it cuDNN does not try its algorithms out where every batch may have another size."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = before and not sizes_vary
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

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
    if not use_cuda:
        keep_freed_memory()
    precision = config.precision if config.precision != "auto" else _best_precision(use_cuda)
    if precision == "fp16" and not use_cuda:
        raise ConfigError("trainer.precision=fp16: needs a CUDA device; on a CPU use auto, fp32 or bf16.")
    if precision == "bf16" and use_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError("trainer.precision=bf16: this GPU has no bf16; expected auto, fp16 or fp32.")
    _check_processes(config.devices * config.nodes)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(config.deterministic, warn_only=False)
    if use_cuda:
        choose_kernels(precision, deterministic=config.deterministic)
    several = config.devices * config.nodes > 1
    fabric = Fabric(
        accelerator="cuda" if use_cuda else "cpu",
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if several else "auto",  # plain: `freeze_idle` leaves no parameter without a gradient
        precision=FABRIC_PRECISION[precision],
    )
    if not several:
        return Runtime(fabric, precision)
    fabric.launch()
    return Runtime(fabric, precision, meet(fabric))


def choose_kernels(precision: str, *, deterministic: bool) -> None:
    """What CUDA's libraries may do: fp32 means fp32; beside bf16 and fp16 the rest may be rounded to TF32."""
    rounded = "ieee" if precision == "fp32" or deterministic else "tf32"
    torch.backends.cuda.matmul.fp32_precision = rounded
    torch.backends.cudnn.fp32_precision = rounded
    torch.backends.cudnn.benchmark = not deterministic


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library is glibc.

    glibc asks the kernel anew for every block over 32 MiB and gives it back when freed, so each training step on a CPU
    faults in its activations page by page; `benchmarks/training.py` shows what that costs. The process then keeps its
    peak until it ends.
    """
    if platform.libc_ver()[0] != "glibc":
        log.info("not glibc: training on this CPU asks for its memory anew in every step")
        return
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1)):
        log.warning("glibc refuses to keep freed memory: every training step on this CPU asks for it anew")


def _check_processes(expected: int) -> None:
    """Refuse a launcher that started another number of processes than the config says: each would be the main one."""
    started = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if started != expected and "LOCAL_RANK" in os.environ:
        raise ConfigError(
            f"{started} processes were started, but trainer.devices times trainer.nodes is {expected}; "
            f"set trainer.devices to the processes of one machine and trainer.nodes to the number of machines."
        )


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


def environment(config: TrainerConfig) -> dict[str, Any]:
    """Versions and hardware, for `environment.json`; a run on the CPU does not touch the GPUs, nor name them."""
    gpus = torch.cuda.device_count() if config.accelerator != "cpu" else 0
    names = ("torch", "segmentation-models-pytorch", "albumentations", "opencv-python", "numpy", "pandas", "saltern")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in names},
        "cpu_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(gpus)],
    }
