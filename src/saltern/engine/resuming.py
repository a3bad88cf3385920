"""Going on from a checkpoint: its parts must fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saltern.errors import RunError
from saltern.runtime import Runtime


@contextmanager
def fitting(checkpoint: Path) -> Iterator[None]:
    """Raise a RunError where a part of `checkpoint` is not there, or is that of another network or optimizer."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError, IndexError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(
            f"{checkpoint}: is not the checkpoint of this network and optimizer ({said.strip()[:200]}). Put "
            "back the one that this run wrote, or delete the fold's folder to train it again."
        ) from error


def restore_precision(runtime: Runtime, state: dict[str, Any]) -> None:
    """Give the loss scaler its `state`, where the run had one then and has one now."""
    plugin = runtime.fabric.strategy.precision
    if state and plugin.state_dict():
        plugin.load_state_dict(state)
