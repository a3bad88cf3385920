"""Weights of whole networks on disk, as safetensors."""

from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor, nn

from saltern.errors import RunError
from saltern.files import atomic


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the weights of `network` in one step.

    Raises:
        StorageError: the disk is full, and the like.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors))  # by Python, so that an error of the disk is an OSError


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors that `save_weights` wrote, by name, on the CPU.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises a class of its own
        raise RunError(f"{path}: cannot be read as weights ({error}).") from error


def load_weights(path: Path, network: nn.Module) -> None:
    """Load weights that `save_weights` wrote; every key must fit.

    Raises:
        RunError: the file is missing, damaged, or of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except Exception as error:  # safetensors raises a class of its own, torch RuntimeError
        raise RunError(f"{path}: not the weights of this network ({error}).") from error


def halve_weights(source: Path, target: Path) -> list[str]:
    """Write the weights at `source` to `target` in half precision; gives the names of those that are too large for it.

    These stay as they are, and so does what has one dimension or none: biases, norms and running statistics weigh
    little. `load_weights` brings all back to the precision of the network.

    Raises:
        RunError: see `read_weights`.
    """
    tensors, large = read_weights(source), list[str]()
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.ndim < 2:
            continue
        half = tensor.half()
        if half.isfinite().all():
            tensors[name] = half
        else:
            large.append(name)
    with atomic(target) as temporary:
        temporary.write_bytes(save(tensors))
    return large
