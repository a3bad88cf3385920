"""The learning-rate range test, held against a quadratic on which plain gradient descent can be calculated."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from fold_runs import Net, data, phases, weights

from saltern import runtime
from saltern.config import OptimConfig, PhaseConfig, TrainerConfig
from saltern.engine.lr_range import BELOW, RangeTest, growing_rates, observe, range_test
from saltern.engine.recipe import Recipe
from saltern.errors import TrainingError
from saltern.progress import Progress
from saltern.report.lr_curve import draw_range


def quadratic(curvature: float, floor: float, steps: int) -> RangeTest:
    """Gradient descent on `floor + curvature w²/2` from w = 1."""
    place = 1.0

    def step(rate: float) -> float:
        nonlocal place
        loss = floor + curvature * place**2 / 2
        place -= rate * curvature * place
        return loss

    return observe(growing_rates(1e-6, 100.0, steps), step)


@pytest.mark.parametrize("curvature", [0.5, 1.0, 20.0, 300.0])
@pytest.mark.parametrize("steps", [100, 300])
def test_on_a_quadratic_the_rate_is_that_of_the_calculation(curvature: float, steps: int) -> None:
    """Rates r, rg, rg², … up to R shrink w by about exp(-aR / ln g) while aR is small, so the loss by its square.

    That falls most steeply by ln R where 2aR / ln g = 1. It grows again where a step more than mirrors: aR > 2.
    """
    test = quadratic(curvature, curvature, steps)
    growth = math.log(1e8) / (steps - 1)
    assert test.suggestion == pytest.approx(growth / (2 * curvature), rel=0.3), "between two rates of the window"
    assert test.diverged_at is not None
    assert 2 / curvature < test.diverged_at < 40 / curvature
    assert len(test.rates) < steps, "the rest is not tried"


def test_it_keeps_away_from_where_the_loss_diverged() -> None:
    rates = growing_rates(1e-4, 1.0, 81)
    losses = np.where(rates < 0.05, 1.0, np.where(rates < 0.2, 0.1, 50.0))
    values = iter(losses.tolist())
    test = observe(rates, lambda _: next(values))
    assert test.diverged_at == pytest.approx(rates[rates >= 0.2][0])
    assert test.suggestion == pytest.approx(test.diverged_at / BELOW), "the fall itself is at 0.05"


def test_a_loss_that_is_no_number_ends_it_and_is_not_drawn() -> None:
    rates = growing_rates(1e-3, 1.0, 40)
    values = iter([*np.linspace(1.0, 0.5, 30).tolist(), math.nan])
    test = observe(rates, lambda _: next(values))
    assert len(test.losses) == len(test.rates) == 30
    assert test.diverged_at == rates[29]
    assert np.isfinite(test.smoothed).all()


def test_a_loss_that_does_not_fall_speaks_for_no_rate() -> None:
    rates = growing_rates(1e-3, 1.0, 40)
    rising = iter(np.linspace(1.0, 1.5, 40).tolist())
    test = observe(rates, lambda _: next(rising))
    assert test.suggestion is None
    assert test.diverged_at is None


def test_a_loss_that_diverges_at_once_asks_for_a_lower_start() -> None:
    values = iter([1.0, 1.0, math.inf])
    with pytest.raises(TrainingError, match=r"diverged at 0\.0012, after 2 steps\. Begin with a smaller low="):
        observe(growing_rates(1e-3, 1.0, 40), lambda _: next(values))


def test_smoothing_keeps_a_straight_line() -> None:
    rates = growing_rates(1e-3, 1.0, 60)
    line = np.linspace(3.0, 1.0, 60)
    np.testing.assert_allclose(RangeTest(rates, line, None).smoothed, line)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_network_is_stepped_as_the_trainer_steps(accumulate: int) -> None:
    """The same weights as plain torch gives them: SGD without momentum on the mean loss of `accumulate` batches."""
    config = TrainerConfig(accelerator="cpu", precision="fp32", accumulate=accumulate, clip_grad_norm=0.2)
    recipe = Recipe(phases(), OptimConfig(name="sgd", momentum=0.0), config)
    phase, rates = PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=1.0), growing_rates(0.01, 1.0, 20)
    torch.manual_seed(0)
    network, own = Net(), Net()
    network.drop.p = own.drop.p = 0.0
    own.load_state_dict(network.state_dict())
    test = range_test(network, data().batches, recipe, phase, rates, runtime=runtime.start(config), progress=Progress())

    batches = [batch for epoch in range(20 * accumulate // 3 + 1) for batch in data().batches(epoch)]
    for number, rate in enumerate(rates):
        part = batches[number * accumulate : (number + 1) * accumulate]
        losses = [
            torch.nn.functional.binary_cross_entropy_with_logits(own(batch.images).logits, batch.targets.float())
            for batch in part
        ]
        loss = torch.stack(losses).mean()
        assert test.losses[number] == pytest.approx(float(loss.detach()), rel=1e-4)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own.parameters(), 0.2)
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.sub_(rate * parameter.grad)
                parameter.grad = None
    for mine, theirs in zip(weights(network), weights(own), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_the_picture_is_a_png_with_its_marks(tmp_path: Path) -> None:
    test = quadratic(1.0, 0.1, 100)
    curve = {"lr": test.rates, "loss": test.losses, "smoothed": test.smoothed}
    draw_range(tmp_path / "a.png", "loss", curve, {"steepest descent": 0.1})
    plain = (tmp_path / "a.png").read_bytes()
    assert plain.startswith(b"\x89PNG\r\n\x1a\n")
    draw_range(tmp_path / "b.png", "loss", curve, {"steepest descent": 0.1, "diverged": 2.0})
    assert (tmp_path / "b.png").read_bytes() != plain
