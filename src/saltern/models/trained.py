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
