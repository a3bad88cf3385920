"""The artifacts of a run folder as plain tables, checked for what a page needs of them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from saltern.errors import RunError
from saltern.files import read_as, read_json
from saltern.metrics.scores import PER_IMAGE
from saltern.runs import RunDir

OOF_COLUMNS = ("id", "fold", *PER_IMAGE)
_MEND = "Run the stage `tune` again."

Score = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[str, Field(pattern="^[0-9]{1,6}$")]
"""Of a fold, as a key of JSON."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True)


class _Summary(_Strict):
    iou_image: Score
    iou_dataset: Score
    dice_image: Score
    precision_tgs: Score


class _Part(_Strict):
    images: int
    neutral: _Summary = Field(alias="at_0.5")
    at_decision: _Summary
    presence_auc: Score | None = None


class _Nested(_Strict):
    by: Literal["fold", "half"]
    scores: _Summary


class _Decision(_Strict):
    threshold: float
    min_area: int
    empty_gate: float | None
    presence_gate: float | None = None
    fill_holes: int = 0
    min_component: int = 0
    largest: int = 0


class _Training(_Strict):
    monitor: str
    best_epoch: int
    phase_best: dict[str, float]


class _AllImages(_Strict):
    epochs: int
    note: str


class _Tuning(_Strict):
    gain: float
    standard_error: float | None
    decision: _Decision


class _Optimism(_Strict):
    tuning: float | None
    selection: float | None
    selection_note: str = ""


class _Again(_Strict):
    low: float
    high: float


class _Range(_Again):
    score: float
    images: int
    again: _Again | None = None


class _Forecast(_Range):
    public: _Range | None = None


class _Scores(_Strict):
    """What a page and the console need of `scores.json`."""

    tuned_for: Literal["precision_tgs", "iou_image", "iou_dataset", "dice_image"]
    decision: _Decision
    per_fold: dict[Number, _Part]
    pooled: _Part
    nested: _Nested | None
    curve: dict[str, list[float]]
    training: dict[Number, _Training] = {}
    all_images: _AllImages | None = None
    nested_reason: str = ""
    kept_neutral: bool = False
    tuning: _Tuning | None = None
    optimism: _Optimism | None = None
    estimate: float | None = None
    forecast: _Forecast | None = None
    forecast_reason: str = ""

    @model_validator(mode="after")
    def _curve_is_a_table(self) -> "_Scores":
        if {*_Summary.model_fields, "threshold"} - set(self.curve) or len({*map(len, self.curve.values())}) != 1:
            raise ValueError("the curve is no table of thresholds and scores")
        return self


def read_oof_scores(path: Path) -> pd.DataFrame:
    """`oof_scores.csv`: id (text), fold, iou, dice, precision_tgs; a row a labelled image.

    Raises:
        RunError: the file is missing, is no such table, or holds an id twice or a score outside [0, 1].
    """
    table = _read_table(
        path, dict.fromkeys(("iou", "dice", "precision_tgs"), "float64") | {"id": "str", "fold": "int64"}
    )
    missing = [name for name in OOF_COLUMNS if name not in table.columns]
    if missing:
        raise RunError(f"{path}: lacks the columns {', '.join(missing)}; run the stage `tune` again.")
    repeated = table["id"][table["id"].duplicated()].unique().tolist()
    if repeated:
        raise RunError(f"{path}: holds the id {repeated[0]!r} twice ({len(repeated)} such ids); run `tune` again.")
    scores = table[list(PER_IMAGE)]
    if not ((scores >= 0) & (scores <= 1)).all(axis=None):
        raise RunError(f"{path}: holds scores that are missing or outside [0, 1]; run the stage `tune` again.")
    return table


def read_metrics(run: RunDir) -> dict[int, pd.DataFrame]:
    """`metrics.csv` of every fold that has one: fold → epoch, phase, and a column a score. Empty for an ensemble.

    Raises:
        RunError: a file without the columns epoch and phase.
    """
    found: dict[int, pd.DataFrame] = {}
    for path in run.path.glob("fold_*/metrics.csv"):
        number = path.parent.name.removeprefix("fold_")
        if number.isdecimal():
            table = _read_table(path, {"phase": "str", "epoch": "int64"})
            if not {"epoch", "phase"} <= set(table.columns):
                raise RunError(f"{path}: lacks the columns epoch and phase; delete it to report without it.")
            found[int(number)] = table
    return dict(sorted(found.items()))


def read_scores(run: RunDir) -> dict[str, Any]:
    """`scores.json`, as written by the stage `tune`.

    Raises:
        RunError: the file is missing, is no JSON, or lacks a part or holds one of another shape.
    """
    read_as(run.scores, _Scores, _MEND)
    scores: dict[str, Any] = read_json(run.scores)
    return scores


def _read_table(path: Path, dtype: dict[str, str]) -> pd.DataFrame:
    try:
        return pd.read_csv(
            path, dtype=dtype, keep_default_na=False, na_values={name: [""] for name in _numeric(path, dtype)}
        )
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; run the stage `tune` first.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: not readable as a table ({str(error)[:200]}). {_MEND}") from None


def _numeric(path: Path, dtype: dict[str, str]) -> list[str]:
    """The columns of `path` that are no text, where alone an empty cell means a missing number."""
    columns = pd.read_csv(path, nrows=0).columns
    return [name for name in columns if dtype.get(name) != "str"]
