"""What `make bundle` and `make export` take beside the settings of their run."""

import re
from dataclasses import dataclass, field
from typing import Any

from saltern.config.answers import one_of, require
from saltern.config.choices import EXPORT_FORMATS, EXPORT_NETWORKS, WEIGHTS
from saltern.config.schema import RunConfig
from saltern.config.training import ALL_IMAGES

LACKING = (
    "segmentation-models-pytorch",
    "hydra-core",
    "omegaconf",
    "antlr4-python3-runtime",
    "lightning-fabric",
    "lightning-utilities",
    "simplejpeg",
    "filelock",
)
"""What Saltern needs to predict and a machine for data science that has torch, timm and pandas tends to lack."""


@dataclass(kw_only=True)
class BundleConfig(RunConfig):
    """A finished run as a folder and a zip that predict without a network; its other settings are the frozen ones."""

    members: Any = ALL_IMAGES
    """The networks that go along: `all` that predict the test images, or a list such as [0,2]; `all` in a list is the
    network of all images."""
    weights: Any = "fp32"  # no str, or the numbers of an ensemble's `weights` would be read as text too
    """One of WEIGHTS: fp32 as trained, fp16 in half the space, with the pixels that differ counted."""
    wheels: list[str] = field(default_factory=lambda: list(LACKING))
    """Packages that the other machine lacks, at the versions of requirements.txt; Saltern's own wheel always goes
    along."""
    compare: int = 64
    """Test images (labelled ones where there are none) on which masks of fp16 weights are compared with those of the
    weights as trained; 0: none."""


@dataclass(kw_only=True)
class ExportConfig(RunConfig):
    """A finished run's networks for other programs; its other settings are the frozen ones."""

    format: str = "onnx"
    """One of EXPORT_FORMATS."""
    members: Any = ALL_IMAGES
    """The networks that are exported; see `make bundle`."""
    networks: str = "members"
    """One of EXPORT_NETWORKS: a file for each member, or one file that gives their mean as the run takes it."""
    compare: int = 16
    """Test images (labelled ones where there are none) on which a file must say what torch says; at least 1."""
    most_pixels: int = 0
    """Pixels of the masks of all compared images that may differ: those whose probability all but is the threshold."""


def check_bundle(config: BundleConfig) -> None:
    """Refuse a bundle that cannot be.

    Raises:
        ConfigError: names the key.
    """
    _check_members(config.members)
    one_of(str(config.weights), "weights", WEIGHTS)
    for name in config.wheels:
        good = re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", name)
        require(bool(good), "wheels", name, "names of packages, without versions: requirements.txt has them")
    require(config.compare >= 0, "compare", config.compare, "0 or more")


def check_export(config: ExportConfig) -> None:
    """Refuse an export that cannot be.

    Raises:
        ConfigError: names the key.
    """
    one_of(config.format, "format", EXPORT_FORMATS)
    _check_members(config.members)
    one_of(config.networks, "networks", EXPORT_NETWORKS)
    require(config.compare >= 1, "compare", config.compare, "at least 1: a file that nobody compared is not written")
    require(config.most_pixels >= 0, "most_pixels", config.most_pixels, "0 or more")


def _check_members(members: Any) -> None:
    listed = members if isinstance(members, list) else []
    each = all(item == ALL_IMAGES or (type(item) is int and item >= 0) for item in listed)
    good = members == ALL_IMAGES or (bool(listed) and each and len(set(listed)) == len(listed))
    require(good, "members", members, "all, or a list of different folds such as [0,2] or [0,all]")
