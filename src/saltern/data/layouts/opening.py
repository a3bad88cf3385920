"""The layouts by name, and the one builder that reads them."""

from collections.abc import Callable
from typing import Any

from saltern.config import ConfigError, DatasetConfig
from saltern.data.layouts.folder import read_folder
from saltern.data.layouts.sample import read_sample
from saltern.data.layouts.tgs import read_tgs
from saltern.data.layouts.voc import read_voc
from saltern.data.source.dataset import Dataset
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
