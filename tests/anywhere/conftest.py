"""One finished run for all tests of this folder; they only read it, or a copy."""

from pathlib import Path

import pytest
from anywhere_runs import train


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `outputs/a` and `data`."""
    folder = tmp_path_factory.mktemp("place")
    train(folder, "a")
    return folder
