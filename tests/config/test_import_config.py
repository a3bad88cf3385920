"""The entries `import` and `download`."""

import pytest

from saltern.config import DownloadConfig, ImportConfig, TgsConfig, compose_config
from saltern.errors import ConfigError


def test_import_takes_an_archive_and_any_dataset() -> None:
    config = compose_config("import", ["archive=a.zip", "dataset=tgs", "dataset.root=here"])
    assert isinstance(config, ImportConfig)
    assert isinstance(config.dataset, TgsConfig)
    assert (config.archive, config.dataset.root) == ("a.zip", "here")
    for dataset in ("sample", "folder", "voc"):
        more = ["dataset.foreground=[car]"] if dataset == "voc" else []
        assert compose_config("import", ["archive=a", f"dataset={dataset}", *more]).dataset.layout == dataset


def test_an_archive_must_be_named_and_datasets_are_checked() -> None:
    with pytest.raises(ConfigError, match="archive"):
        compose_config("import", ["dataset=tgs"])
    with pytest.raises(ConfigError, match=r"dataset\.pad"):
        compose_config("import", ["archive=a", "dataset=tgs", "dataset.pad=wrap"])


def test_download_takes_a_competition() -> None:
    assert compose_config("download", ["competition=tgs"]) == DownloadConfig(competition="tgs")
