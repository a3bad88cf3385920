"""Batches in which an image has a part of another one: CutMix and copy-paste, image and target alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from saltern.config import BatchMixConfig
from saltern.engine.fold_data import FoldData
from saltern.engine.meter import TrainBatch

NOTHING, COPY_PASTE, CUTMIX = 0, 1, 2
"""What an image has of its source."""
_STREAM = 2
"""Keeps these draws apart from those of order and augmentation, which have the same seed."""


@dataclass(frozen=True)
class Plan:
    """What becomes of the B images of a batch, drawn before anything is done to one."""

    kinds: np.ndarray
    """int64 (B,): NOTHING, COPY_PASTE or CUTMIX."""
    sources: np.ndarray
    """int64 (B,): the image that the part comes from, a permutation in which none is its own source."""
    boxes: np.ndarray
    """int64 (B, 4): top, bottom, left, right of CutMix's rectangle, pixels; bottom and right are the first outside."""


@dataclass(frozen=True)
class MixedBatch:
    """A batch after mixing, on the device; see `TrainBatch`."""

    images: Tensor
    targets: Tensor
    ids: Sequence[str]


def mixed(data: FoldData, config: BatchMixConfig, device: torch.device, seed: int, rank: int) -> FoldData:
    """`data` with batches that lie on `device`, mixed as `config` says; `data` itself where that is not at all.

    What is drawn depends on (seed, epoch, number of the batch, rank) alone, by numpy on the CPU: a resumed run goes on
    as if it had not stopped, and no draw waits for a GPU. A batch of one image stays as it is.
    """
    if _is_off(config):
        return data

    def batches(epoch: int, sampling: float | None) -> Iterator[TrainBatch]:
        for number, batch in enumerate(data.batches(epoch, sampling)):
            random = np.random.default_rng([seed, _STREAM, epoch, number, rank])
            images = batch.images.to(device, non_blocking=True)
            targets = batch.targets.to(device, non_blocking=True)
            yield MixedBatch(*mix(images, targets, draw_plan(config, images.shape, random)), batch.ids)

    return replace(data, batches=batches)


def draw_plan(config: BatchMixConfig, shape: Sequence[int], random: np.random.Generator) -> Plan:
    """What to do to a batch of `shape` (B, 3, H, W).

    An image has copy-paste with the probability `copy_paste`, CutMix with the probability `cutmix`, never both. The
    sources go around one random cycle through all images. The rectangle has H and W times √(1 - λ), rounded down, with
    λ uniform in [0, 1], which is Beta(1, 1), and a uniform centre; what stands out of the image is cut off.
    """
    count, height, width = shape[0], shape[-2], shape[-1]
    cycle = random.permutation(count)
    sources = np.empty(count, np.int64)
    sources[cycle] = np.roll(cycle, 1)
    chance = random.random(count)
    pasted, either = chance < config.copy_paste, chance < config.copy_paste + config.cutmix
    kinds = np.select([pasted, either], [COPY_PASTE, CUTMIX], NOTHING) if count > 1 else np.zeros(1, np.int64)
    side = np.sqrt(1 - random.random(count))
    return Plan(kinds, sources, np.column_stack([*_span(height, side, random), *_span(width, side, random)]))


def _span(length: int, share: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of `share` (B,) of `length` pixels around a uniform centre, cut off at the ends."""
    size = (share * length).astype(np.int64)
    start = random.integers(length, size=len(share)) - size // 2
    return start.clip(0, length), (start + size).clip(0, length)


def mix(images: Tensor, targets: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """`images` (B, 3, H, W) and `targets` (B, 1, H, W) in {0, 1, 255}, mixed; type, memory order and device stay.

    CutMix takes the rectangle of the source, its target with it, void too (Yun et al., arXiv 1905.04899). Copy-paste
    takes the source's foreground, where the target becomes 1, and neither its void nor anything else (Ghiasi et al.,
    arXiv 2012.07177, without their rescaling); an empty source gives nothing. Sources are the images before mixing.
    """
    if not plan.kinds.any():
        return images, targets
    order = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    table = torch.from_numpy(np.column_stack([plan.sources, plan.kinds, plan.boxes]))
    if images.is_cuda:
        table = table.pin_memory()  # its transfer waits for nothing
    table = table.to(images.device, non_blocking=True)
    kinds, top, bottom, left, right = table[:, 1:, None, None, None].unbind(1)
    y = torch.arange(images.shape[-2], device=images.device)[:, None]
    x = torch.arange(images.shape[-1], device=images.device)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    others = targets[table[:, 0]]
    taken = torch.where(kinds == COPY_PASTE, others == 1, inside & (kinds == CUTMIX))
    new = torch.where(taken, images[table[:, 0]], images).contiguous(memory_format=order)
    return new, torch.where(taken, others, targets)


def pixel_mixer(
    config: BatchMixConfig, seed: int
) -> Callable[[tuple[np.ndarray, np.ndarray], int], tuple[np.ndarray, np.ndarray]] | None:
    """For pictures: (images uint8 (B, H, W, 3), targets uint8 (B, H, W)), epoch → the same, mixed; None: no mixing."""
    if _is_off(config):
        return None

    def mixer(batch: tuple[np.ndarray, np.ndarray], epoch: int) -> tuple[np.ndarray, np.ndarray]:
        images, targets = torch.from_numpy(batch[0]).permute(0, 3, 1, 2), torch.from_numpy(batch[1])[:, None]
        plan = draw_plan(config, images.shape, np.random.default_rng([seed, _STREAM, epoch]))
        images, targets = mix(images, targets, plan)
        return images.permute(0, 2, 3, 1).numpy(), targets[:, 0].numpy()

    return mixer


def _is_off(config: BatchMixConfig) -> bool:
    return config.cutmix == config.copy_paste == 0
