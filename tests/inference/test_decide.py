"""The decision, by hand values and through its file."""

import json
from pathlib import Path

import numpy as np
import pytest

from saltern.errors import RunError
from saltern.inference.decide import NEUTRAL, Decision, decide, read_decision, write_decision

PROBS = np.array([[0.2, 0.5, 0.6], [0.9, 0.7, 0.1]], np.float32)


@pytest.mark.parametrize(
    ("decision", "expected"),
    [
        (NEUTRAL, [[0, 0, 1], [1, 1, 0]]),
        (Decision(0.65), [[0, 0, 0], [1, 1, 0]]),
        (Decision(0.65, min_area=2), [[0, 0, 0], [1, 1, 0]]),
        (Decision(0.65, min_area=3), [[0, 0, 0], [0, 0, 0]]),
        (Decision(0.65, empty_gate=0.9), [[0, 0, 0], [1, 1, 0]]),
        (Decision(0.65, empty_gate=0.91), [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_a_pixel_must_exceed_the_threshold_an_area_reach_the_minimum_a_peak_the_gate(
    decision: Decision, expected: list[list[int]]
) -> None:
    mask = decide(PROBS, decision)
    assert mask.dtype == np.uint8
    assert mask.tolist() == expected


@pytest.mark.parametrize(
    ("presence", "gate", "kept"),
    [(0.3, None, 3), (0.3, 0.0, 3), (0.3, 0.3, 3), (0.3, 0.31, 0), (0.0, 0.0, 3), (0.0, 0.1, 0), (None, 0.0, 3)],
)
def test_presence_must_reach_its_gate(presence: float | None, gate: float | None, kept: int) -> None:
    assert decide(PROBS, Decision(0.5, presence_gate=gate), presence).sum() == kept


def test_presence_compares_in_single_precision_as_it_is_stored() -> None:
    assert decide(PROBS, Decision(presence_gate=0.7), float(np.float32(0.7))).any()


def test_a_gate_for_presence_that_is_not_stored_is_refused() -> None:
    with pytest.raises(RunError, match=r"presence_gate=0\.2: .*this run stores none.*model\.heads\.empty"):
        decide(PROBS, Decision(presence_gate=0.2))


def test_thresholds_compare_alike_in_half_single_and_double_precision() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        assert decide(np.full((1, 1), 0.5, dtype), Decision(0.5)).tolist() == [[0]]
        assert decide(np.full((1, 1), 0.7002, dtype), Decision(0.7)).tolist() == [[1]]


@pytest.mark.parametrize("value", [np.nan, 1.5, -0.5])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(RunError, match="expected numbers from 0 to 1"):
        decide(np.array([[0.5, value]]), NEUTRAL)


def test_a_mean_that_rounds_past_one_is_a_probability() -> None:
    assert decide(np.array([[1 + 1e-6]]), NEUTRAL).tolist() == [[1]]


def test_a_decision_survives_its_file_and_no_gate_is_null(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    for decision in (Decision(0.42, 35, 0.9, 0.3), Decision(0.42, 35, 0.9, 0.0), Decision(0.42, 35, 0.9), NEUTRAL):
        write_decision(path, decision)
        assert read_decision(path) == decision
    assert json.loads(path.read_text()) == {"threshold": 0.5, "min_area": 0, "empty_gate": None}
    write_decision(path, Decision(presence_gate=0.0))
    assert json.loads(path.read_text()) == {
        "threshold": 0.5, "min_area": 0, "empty_gate": None, "presence_gate": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not readable as JSON"),
        ("[]", "expected an object with the keys empty_gate, min_area, threshold"),
        ('{"threshold": 0.5}', "expected an object with the keys"),
        (
            '{"threshold": 1.0, "min_area": 0, "empty_gate": null}',
            r"threshold=1\.0 .*expected a number from 0 to below 1",
        ),
        ('{"threshold": "a", "min_area": 0, "empty_gate": null}', "threshold='a'"),
        ('{"threshold": null, "min_area": 0, "empty_gate": null}', "threshold=None"),
        ('{"threshold": 0.5, "min_area": 2.5, "empty_gate": null}', r"min_area=2\.5 .*whole number"),
        ('{"threshold": 0.5, "min_area": -1, "empty_gate": null}', "min_area=-1"),
        ('{"threshold": 0.5, "min_area": 0, "empty_gate": true}', "empty_gate=True"),
        ('{"threshold": 0.5, "min_area": 0, "empty_gate": null, "presence_gate": 1}', "presence_gate=1 .*below 1"),
        ('{"threshold": 0.5, "min_area": 0, "empty_gate": null, "presence_gate": true}', "presence_gate=True"),
        ('{"threshold": 0.5, "min_area": 0, "presence_gate": 0.1}', "and presence_gate where presence is stored"),
        ('{"threshold": 0.5, "min_area": 0, "empty_gate": 0, "gate": 0}', "expected an object with the keys"),
    ],
)
def test_a_file_edited_into_nonsense_is_refused_with_its_path(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "decision.json"
    path.write_text(content)
    with pytest.raises(RunError, match=complaint) as caught:
        read_decision(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file"):
        read_decision(tmp_path / "decision.json")


def test_a_gate_for_presence_is_refused_where_the_decision_is_read_with_a_run_that_stores_none(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    write_decision(path, Decision(presence_gate=0.3))
    assert read_decision(path, presence=True) == read_decision(path) == Decision(presence_gate=0.3)
    with pytest.raises(RunError, match=r"decision\.json: presence_gate=0\.3: .*this run stores none"):
        read_decision(path, presence=False)
    write_decision(path, Decision(presence_gate=0.0))
    assert read_decision(path, presence=False).presence_gate == 0, "no gate asks for nothing"
