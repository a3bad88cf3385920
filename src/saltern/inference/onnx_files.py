"""Networks as one ONNX graph: uint8 images in, probabilities and presence out, and the program that runs the file."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from saltern.errors import ConfigError, RunError
from saltern.inference.predict import over_views
from saltern.inference.predictions import BatchPrediction, Mean
from saltern.inference.tta import View
from saltern.models import SegmentationNet

NEEDED = ("onnx", "onnxruntime", "onnxscript")
IMAGE, PROBS, PRESENCE = "image", "probs", "presence"
"""The names of input and outputs."""


def require_onnx() -> None:
    """Raise a ConfigError with the line for pip where a package of the extra `export` is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"format=onnx: needs {', '.join(NEEDED)}; not installed: {', '.join(missing)}. In the checkout: "
            "pip install -e '.[export]'"
        )


class Exported(nn.Module):
    """The mean over networks, each the mean of its views, as a network of plain tensors; in evaluation mode."""

    def __init__(self, networks: Sequence[SegmentationNet], views: Sequence[View], mean: Mean) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._views = views
        self._mean = mean
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """`image` uint8 (B, 3, H, W), RGB → probs float32 (B, 1, H, W) and, with such a head, presence (B,)."""
        total: BatchPrediction | None = None
        for network in self.networks:
            said = self._mean.term(over_views(network, self._views, image))
            total = said if total is None else total + said
        assert total is not None
        said = self._mean.of(total, len(self.networks))
        return (said.probs,) if said.presence is None else (said.probs, said.presence)


def write_onnx(path: Path, network: Exported, facts: Mapping[str, str]) -> None:
    """Write `network` to `path`, one file with its weights; `facts` become its metadata.

    The batch is dynamic, and so are height and width, as multiples of the stride, unless the network takes one size
    alone.

    Raises:
        RunError: the exporter cannot; with its reason in one line.
    """
    first = network.networks[0]
    assert isinstance(first, SegmentationNet)
    sizes = first.sizes
    height, width = sizes.trial
    example = torch.randint(
        0, 256, (2, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    shape: dict[int, Any] = {0: Dim("batch")}
    if sizes.only is None:
        shape |= {2: sizes.stride * Dim("rows"), 3: sizes.stride * Dim("columns")}
    with_presence = first.heads is not None and first(example[:1]).presence is not None
    try:
        with _silent():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[IMAGE],
                output_names=[PROBS, PRESENCE] if with_presence else [PROBS],
                dynamic_shapes=(shape,),
            )
            assert program is not None
            program.model.metadata_props.update(facts)
            program.save(path, external_data=False)
    except Exception as error:  # the exporter, the tracer and protobuf have classes of their own
        raise RunError(f"{first.name}: cannot be exported: {reason_of(error)}") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Within it the exporter does not count its steps; what goes wrong in it is raised."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def reason_of(error: BaseException) -> str:
    """The first line that says something of what lies at the bottom of `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {(lines or ['no reason given'])[0][:300]}"


class OnnxNetwork:
    """The file at `path`, run by onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        """Load it.

        Raises:
            RunError: onnxruntime does not take the file.
        """
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has classes of its own
            raise RunError(f"{path.name}: onnxruntime cannot run what was exported: {reason_of(error)}") from error

    def __call__(self, images: NDArray[np.uint8]) -> BatchPrediction:
        """What it says of `images` (B, 3, H, W).

        Raises:
            RunError: onnxruntime does not take a batch of this shape.
        """
        try:
            probs, *presence = self._session.run(None, {IMAGE: np.ascontiguousarray(images)})
        except Exception as error:  # as above
            raise RunError(f"onnxruntime cannot run a batch of shape {images.shape}: {reason_of(error)}") from error
        return BatchPrediction(torch.from_numpy(probs), torch.from_numpy(presence[0]) if presence else None)
