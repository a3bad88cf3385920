"""Sums of the training loss over an epoch, and the stop when it is not finite, without holding up the device."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from saltern.errors import TrainingError


class LossMeter:
    """Image-weighted means of the loss and its terms over one epoch on this process.

    `add` looks at the loss of the step before, which the device has finished by then: on CUDA the value
    travels to pinned memory beside the running work, so no step waits for it.
    """

    def __init__(self, device: torch.device, where: str) -> None:
        self.where = where
        self.last = math.nan
        """The newest loss that has arrived."""
        self._device = device
        self._cuda = device.type == "cuda"
        self._sums: dict[str, Tensor] = {}
        self._images = 0
        self._pending: tuple[Tensor, torch.cuda.Event | None] | None = None

    def add(self, total: Tensor, terms: dict[str, Tensor], images: int) -> None:
        """Take in the scalar loss of a step over `images` images, and its terms.

        Raises:
            TrainingError: the loss of the step before is not finite.
        """
        self._settle()
        total = total.detach()
        if self._cuda:
            host = torch.empty((), dtype=total.dtype, pin_memory=True)
            host.copy_(total, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending = (host, event)
        else:
            self._pending = (total, None)
            self._settle()
        for name, value in {"loss": total, **{f"loss_{name}": value for name, value in terms.items()}}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach() * images
        self._images += images

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """`loss` and `loss_<term>`, means over the images of the epoch; `reduce` sums a tensor over processes."""
        self._settle()
        sums = torch.stack([*self._sums.values(), torch.tensor(float(self._images), device=self._device)])
        *totals, images = reduce(sums.double()).tolist()
        return {name: total / images for name, total in zip(self._sums, totals, strict=True)}

    def _settle(self) -> None:
        if self._pending is None:
            return
        value, event = self._pending
        if event is not None:
            event.synchronize()
        self._pending = None
        self.last = float(value)
        if not math.isfinite(self.last):
            raise TrainingError(
                f"{self.where}: the loss is {self.last}. The last finished epoch is kept: go on from it with "
                "trainer.precision=fp32, or lower the phase's lr or trainer.clip_grad_norm under another name=…"
            )
