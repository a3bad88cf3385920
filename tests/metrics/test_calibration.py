"""Reliability of probabilities, against a loop over pixels."""

import numpy as np
import pytest

from saltern.metrics.calibration import BINS, Reliability


def test_the_calibration_error_is_that_of_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(0)
    found, bins = Reliability(), [[] for _ in range(BINS)]  # type: ignore[var-annotated]
    for _ in range(3):
        probs = rng.random((9, 7)).round(2)
        target = np.where(rng.random((9, 7)) < probs**2, 1, 0).astype(np.uint8)
        target[0] = 255
        found.add(probs, target)
        for prob, truth in zip(probs[1:].ravel(), target[1:].ravel(), strict=True):
            bins[next(k for k in range(BINS) if prob <= (k + 1) / BINS)].append((prob, truth))
    total = sum(map(len, bins))
    gaps = [abs(sum(p for p, _ in held) - sum(int(t) for _, t in held)) for held in bins]
    expected = sum(gaps)
    assert found.pixels.tolist() == [len(held) for held in bins]
    assert found.ece == pytest.approx(expected / total)


def test_what_is_sure_and_right_is_calibrated_and_what_is_sure_and_wrong_is_not() -> None:
    target = np.array([[0, 1], [1, 255]], np.uint8)
    right, wrong = Reliability(), Reliability()
    right.add(np.array([[0.0, 1.0], [1.0, 0.0]]), target)
    wrong.add(np.array([[1.0, 0.0], [0.0, 0.0]]), target)
    assert (right.ece, wrong.ece) == (0.0, 1.0)
    assert right.plus(wrong).ece == pytest.approx((2 + 1) / 6)  # of three zeros two, of three ones one
    assert right.curve()[0].tolist() == [0.0, 1.0]
