"""Sums of the training loss over an epoch, and the stop when it is not finite, without holding up the device."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save
from torch import Tensor

from saltern.errors import TrainingError
from saltern.files import atomic


class TrainBatch(Protocol):
    """What the loop needs of a batch."""

    @property
    def images(self) -> Tensor:
        """(B, 3, H, W) uint8."""

    @property
    def targets(self) -> Tensor:
        """(B, 1, H, W) uint8 in {0, 1, 255}."""

    @property
    def ids(self) -> Sequence[str]:
        """Of the B images."""


@dataclass(frozen=True)
class _Step:
    """A step whose loss may not have arrived yet."""

    number: int
    value: Tensor
    event: torch.cuda.Event | None
    terms: dict[str, Tensor]
    batch: TrainBatch


class LossMeter:
    """Image-weighted means of the loss and its terms over one epoch on this process.

    `add` looks at the loss of the step before, which the device has finished by then: on CUDA the value
    travels to pinned memory beside the running work, so no step waits for it.
    """

    def __init__(self, device: torch.device, where: str, dump: Path) -> None:
        """`where` names fold and epoch for messages; a batch whose loss is not finite is saved as `dump`."""
        self.where = where
        self.last = math.nan
        """The newest loss that has arrived."""
        self._dump = dump
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._images = 0
        self._steps = 0
        self._pending: _Step | None = None

    def add(self, total: Tensor, terms: dict[str, Tensor], batch: TrainBatch) -> None:
        """Take in the scalar loss of a step over `batch`, and its terms.

        Raises:
            TrainingError: the loss of the step before is not finite.
        """
        self._settle()
        total, terms = total.detach(), {name: value.detach() for name, value in terms.items()}
        self._steps += 1
        if self._device.type == "cuda":
            host = torch.empty((), dtype=total.dtype, pin_memory=True)
            host.copy_(total, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending = _Step(self._steps, host, event, terms, batch)
        else:
            self._pending = _Step(self._steps, total, None, terms, batch)
            self._settle()
        images = len(batch.images)
        for name, value in {"loss": total, **{f"loss_{name}": value for name, value in terms.items()}}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * images
        self._images += images

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """`loss` and `loss_<term>`, means over the images of the epoch; `reduce` sums a tensor over processes."""
        self._settle()
        sums = torch.stack([*self._sums.values(), torch.tensor(float(self._images), device=self._device)])
        *totals, images = reduce(sums.double()).tolist()
        return {name: total / images for name, total in zip(self._sums, totals, strict=True)}

    def _settle(self) -> None:
        step, self._pending = self._pending, None
        if step is None:
            return
        if step.event is not None:
            step.event.synchronize()
        self.last = float(step.value)
        if not math.isfinite(self.last):
            raise self._error(step)

    def _error(self, step: _Step) -> TrainingError:
        """Save the batch; the error names the step, the terms and the images."""
        terms = {name: float(value) for name, value in step.terms.items()}
        shown = ", ".join(f"{name} {value:g}" for name, value in terms.items())
        ids = list(step.batch.ids)
        tensors = {"images": step.batch.images, "targets": step.batch.targets}
        note = {"where": self.where, "step": str(step.number), "ids": json.dumps(ids), "terms": shown}
        with atomic(self._dump) as temporary:
            temporary.write_bytes(save({name: item.cpu().contiguous() for name, item in tensors.items()}, note))
        more = f" and {len(ids) - 8} more" if len(ids) > 8 else ""
        return TrainingError(
            f"{self.where}, step {step.number}: the loss is {self.last} ({shown}) for the images "
            f"{', '.join(ids[:8])}{more}; the batch is saved as {self._dump.name}. The last finished epoch is kept: go "
            "on from it with trainer.precision=fp32, or lower the phase's lr or trainer.clip_grad_norm under another "
            "name=…"
        )
