"""The layouts by name, and the one builder that reads them."""

from collections.abc import Callable
from typing import Any

from saltern.config import ConfigError, DatasetConfig
from saltern.data.dataset import Dataset
from saltern.data.layout_folder import read_folder
from saltern.data.layout_tgs import read_tgs
from saltern.data.layout_voc import read_voc
from saltern.data.sample import read_sample
from saltern.errors import unknown

LAYOUTS: dict[str, Callable[[Any], Dataset]] = {
    "sample": read_sample,
    "tgs": read_tgs,
    "voc": read_voc,
    "folder": read_folder,
}


def open_dataset(config: DatasetConfig) -> Dataset:
    """The data set that `config` describes, with every file of it opened once.

    Raises:
        DataError: the folder does not keep the layout's promises; the text lists all problems.
        ConfigError: an unknown layout.
    """
    if config.layout not in LAYOUTS:
        raise ConfigError(f"dataset.layout: {unknown('layout', config.layout, list(LAYOUTS))}")
    return LAYOUTS[config.layout](config)
