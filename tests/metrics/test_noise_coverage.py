"""A small run of `benchmarks/honesty.py`: the intervals hold, and no term of the model can be left out."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

COUNT = 300
LOW, HIGH = 0.91, 0.99
"""Of 95 %, at COUNT competitions: three standard deviations of 1.26 points, and a little."""
ALARMS = 0.09
"""The most false alarms likewise."""


@pytest.fixture(scope="module")
def honesty() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "honesty.py"
    spec = importlib.util.spec_from_file_location("honesty", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["honesty"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("images", "group", "folds", "seeds"),
    [(20, 1.0, 1, 1), (60, 3.0, 1, 1), (400, 8.0, 5, 1), (1200, 1.0, 1, 1), (400, 1.0, 1, 3)],
)
def test_intervals_hold_and_alarms_are_few(
    honesty: ModuleType, images: int, group: float, folds: int, seeds: int
) -> None:
    found = honesty.rates(honesty.Setting(images, group, folds, seeds), COUNT)
    assert LOW <= found["estimate"] <= HIGH
    assert LOW <= found["difference"] <= HIGH
    for forecast in honesty.FORECASTS:
        assert LOW <= found[forecast] <= HIGH, forecast
    assert found["false alarm"] <= ALARMS


def test_no_term_can_be_left_out(honesty: ModuleType) -> None:
    many = honesty.rates(honesty.Setting(1200), COUNT)
    assert many["no retrain"] > 0.2 > 2 * many["false alarm"]
    alike = honesty.rates(honesty.Setting(400, 8.0, 5), COUNT)
    assert alike["no clusters"] > 1.5 * alike["false alarm"]
    assert alike["images alone"] > 0.12


def test_several_equal_runs_on_one_page_raise_no_more_alarms_than_one(honesty: ModuleType) -> None:
    wide, narrow = honesty.families(honesty.Setting(100), 9, 60)
    assert wide <= 0.15 < narrow
