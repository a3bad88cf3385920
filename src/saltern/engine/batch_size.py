"""The largest batch whose training steps fit into memory: tried out on a GPU, counted on a CPU."""

import gc
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from saltern.engine.objective import Objective
from saltern.engine.optim import build_optimizer
from saltern.engine.recipe import Recipe
from saltern.engine.step import plain_step
from saltern.losses import build_loss
from saltern.runtime import Runtime
from saltern.runtime.memory import TRAINING, Memory, ran_out

LEAST = 2
"""Images of a batch: batch normalisation cannot train on one."""
MARGIN = 0.9
"""Of the images that fit on a GPU, since memory that is taken and given back in turns is not used to the last byte."""
SHARE_ON_CPU = 0.5
"""Of what a CPU's machine has free: a step also needs room for what it computes and does not keep."""


@dataclass(frozen=True)
class BatchSize:
    """A batch size, and what bounded it, in words."""

    images: int
    bound: str


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to `most` that `fits`; 0 where 1 does not.

    What is smaller than a number that fits must fit. Doubles until one does not, then halves what lies between.
    """
    good, bad = 0, most + 1
    while good + 1 < bad:
        tried = min(2 * good or 1, most) if bad > most else (good + bad) // 2
        if fits(tried):
            good = tried
        else:
            bad = tried
    return good


def rounded(images: int) -> int:
    """`images`, down to a multiple of 8 from 16 on."""
    return images - images % 8 if images >= 16 else images


def find_batch_size(
    network: nn.Module, size: tuple[int, int], recipe: Recipe, runtime: Runtime, most: int
) -> BatchSize:
    """The largest batch, up to `most` images, with which this process trains `network` on images of `size`.

    On a GPU MARGIN of what passes real steps; `network`, on its device, stands there for the average of its weights. On
    a CPU as many images as fit into SHARE_ON_CPU of the free memory, shared by the processes, by what a step keeps.

    Raises:
        TrainingError: not even LEAST images fit.
    """
    most, on_gpu = max(most, LEAST), runtime.device.type == "cuda"
    if on_gpu:
        fits, margin, how = trials(network, size, recipe, runtime), MARGIN, f"{MARGIN:.0%} of what passes trial steps"
    else:
        fits, margin, how = counted(network, size, recipe, runtime), 1.0, f"{SHARE_ON_CPU:.0%} of the free memory"
    fitting = largest(lambda images: fits(max(images, LEAST)), math.ceil(most / margin))
    if fitting == 0:
        raise TRAINING.short(runtime.device, "trainer.batch_size=auto", (LEAST, 3, *size))
    images = rounded(max(LEAST, min(most, int(fitting * margin))))
    if int(fitting * margin) >= most:
        return BatchSize(images, "an epoch's number of steps")
    return BatchSize(images, f"{how} on {runtime.device}, {size[0]} x {size[1]} pixels in {runtime.precision}")


def trials(network: nn.Module, size: tuple[int, int], recipe: Recipe, runtime: Runtime) -> Callable[[int], bool]:
    """Number of images → whether training steps on so many pass, on a copy and with its own random numbers.

    One step has to pass for the optimizer to have its state, then one with the loss of every phase. Several processes
    need room for what they exchange, as large as the gradients.
    """
    devices = [runtime.device] if runtime.device.type == "cuda" else []
    exchanged = sum(weight.nbytes for weight in network.parameters()) if runtime.world_size > 1 else 0

    def passes(images: int) -> bool:
        with torch.random.fork_rng(devices=devices):
            room = torch.empty(exchanged, dtype=torch.uint8, device=runtime.device)
            _steps(deepcopy(network).train(), _batch(images, size, recipe, runtime), recipe, runtime)
            del room
        return True

    def fits(images: int) -> bool:
        try:
            done = passes(images)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            done = False
        gc.collect()  # after the error is gone, which holds the step's tensors by its frames
        if devices:
            torch.cuda.empty_cache()
        return done

    return fits


def _batch(images: int, size: tuple[int, int], recipe: Recipe, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Grey images, half of whose pixels are foreground."""
    order = torch.channels_last if recipe.trainer.channels_last else torch.contiguous_format
    grey = torch.full((images, 3, *size), 128, dtype=torch.uint8, device=runtime.device)
    targets = torch.zeros((images, 1, *size), dtype=torch.uint8, device=runtime.device)
    targets[..., ::2] = 1
    return grey.contiguous(memory_format=order), targets


def _steps(trial: nn.Module, batch: tuple[Tensor, Tensor], recipe: Recipe, runtime: Runtime) -> None:
    optimizer = build_optimizer(trial, recipe.optim, lr=1e-6)
    for total in _objectives(recipe, runtime):
        plain_step(trial, total, optimizer, batch, runtime)


def _objectives(recipe: Recipe, runtime: Runtime) -> list[Objective]:
    """The first phase's, for a step after which the optimizer has its state; then that of every phase."""
    phases = list(recipe.schedule.phases.values())
    return [Objective(build_loss(phase.terms()), recipe.heads).to(runtime.device) for phase in (phases[0], *phases)]


def counted(network: nn.Module, size: tuple[int, int], recipe: Recipe, runtime: Runtime) -> Callable[[int], bool]:
    """Number of images → whether so many fit by what a step keeps, measured at two small numbers and linear in them."""
    trial = deepcopy(network).train()
    fixed = _fixed_bytes(trial, recipe)
    processes = recipe.trainer.devices
    free = SHARE_ON_CPU * Memory.of(runtime.device).free / processes

    def kept(images: int) -> int:
        batch = _batch(images, size, recipe, runtime)

        def step(total: Objective) -> Tensor:
            with runtime.autocast():
                outputs = trial(batch[0])
            return total(outputs, batch[1])[0]

        return max(bytes_kept(partial(step, total), trial) for total in _objectives(recipe, runtime)[1:])

    with torch.random.fork_rng(devices=[]):
        few, more = kept(LEAST), kept(2 * LEAST)
    each = (more - few) / LEAST
    return lambda images: fixed + few + each * (images - LEAST) <= free


def bytes_kept(forward: Callable[[], Tensor], network: nn.Module) -> int:
    """Bytes of all that autograd keeps of `forward` for its backward pass, besides the weights of `network`."""
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward()  # it holds what was kept, so that no address is used twice
    total = sum(size for address, size in found.items() if address not in own)
    del loss
    return total


def _fixed_bytes(trial: nn.Module, recipe: Recipe) -> int:
    """Bytes of weights, gradients, what the optimizer keeps, and the average of the weights."""
    weights = sum(tensor.nbytes for tensor in trial.state_dict().values())
    trained = [parameter for parameter in trial.parameters() if parameter.requires_grad]
    optimizer = build_optimizer(trial, recipe.optim, lr=1e-6)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = sum(item.nbytes for kept in optimizer.state.values() for item in kept.values() if isinstance(item, Tensor))
    gradients = sum(parameter.nbytes for parameter in trained)
    optimizer.zero_grad(set_to_none=True)
    return weights * (2 if recipe.trainer.ema_decay is not None else 1) + gradients + state
