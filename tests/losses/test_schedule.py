import pytest
import torch

from saltern.config import LOSS_PARAMS, ConfigError, LossTerm, PhaseConfig, ScheduleConfig
from saltern.config.losses import parse_loss
from saltern.losses import Schedule, bce, build_loss, lovasz_hinge


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 1, 6, 5, generator=generator)
    target = torch.randint(0, 2, (3, 6, 5), generator=generator)
    target[0, :2] = 255
    return logits, target


def test_the_sum_weights_its_terms_and_hands_out_each_by_name(batch):
    loss = build_loss(parse_loss({"lovasz_hinge": {"weight": 0.9, "activation": "elu1"}, "bce": 0.1}, "loss"))
    total, values = loss(*batch)
    hinge, entropy = lovasz_hinge(*batch, activation="elu1"), bce(*batch)
    assert list(values) == ["lovasz_hinge", "bce"]
    torch.testing.assert_close(total, 0.9 * hinge + 0.1 * entropy)
    torch.testing.assert_close(values["lovasz_hinge"], hinge)
    torch.testing.assert_close(values["bce"], entropy)


def test_the_sum_has_a_gradient_and_its_values_have_none(batch):
    logits = batch[0].requires_grad_()
    total, values = build_loss([LossTerm(name="bce", weight=2.0)])(logits, batch[1])
    total.backward()
    assert not values["bce"].requires_grad
    reference = batch[0].detach().clone().requires_grad_()
    (2 * bce(reference, batch[1])).backward()
    torch.testing.assert_close(logits.grad, reference.grad)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "at least one term"),
        ([LossTerm(name="lovas_hinge")], "Did you mean 'lovasz_hinge'"),
        ([LossTerm(name="bce"), LossTerm(name="bce")], "twice"),
        ([LossTerm(name="bce", params={"gamma": 2})], "gamma"),
        ([LossTerm(name="bce", params={"pos_weight": -1.0})], "bce.pos_weight=-1.0: expected a positive number"),
    ],
)
def test_a_sum_that_cannot_be_built_is_refused(terms, message):
    with pytest.raises(ConfigError, match=message):
        build_loss(terms)


def _schedule(**epochs: int) -> Schedule:
    phases = {name: PhaseConfig(epochs=count, loss={"bce": 1.0}, lr=0.1) for name, count in epochs.items()}
    return Schedule(ScheduleConfig(phases=phases))


def test_an_epoch_belongs_to_one_phase_and_knows_its_place_in_it():
    schedule = _schedule(warm_up=2, fine_tune=3)
    assert schedule.epochs == 5
    places = [(at.number, at.name, at.epoch) for at in (schedule.at(epoch, {}) for epoch in range(5))]
    assert places == [
        (0, "warm_up", 0),
        (0, "warm_up", 1),
        (1, "fine_tune", 0),
        (1, "fine_tune", 1),
        (1, "fine_tune", 2),
    ]
    assert schedule.at(4, {}).phase.epochs == 3


@pytest.mark.parametrize("epoch", [-1, 5])
def test_an_epoch_outside_the_schedule_is_refused(epoch):
    with pytest.raises(IndexError, match=f"epoch {epoch} .* expected 0 to 4"):
        _schedule(warm_up=2, fine_tune=3).at(epoch, {})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"lovasz_hinge": {"activation": "elu"}}, r"loss.lovasz_hinge.activation='elu': expected relu or elu1"),
        ({"bce": {"label_smoothing": 1}}, r"loss.bce.label_smoothing=1: expected a number from 0 to below 1"),
        ({"focal": {"alpha": 2}}, r"loss.focal.alpha=2: expected null or from 0 to 1"),
        ({"dice": {"smooth": float("nan")}}, r"loss.dice.smooth=nan: expected a number of at least 0"),
        ({"dice": {"squared": 1}}, r"loss.dice.squared=1: expected true or false"),
        ({"lovasz_softmax": {"classes": [0, 0]}}, r"expected present, all, or a list of different class numbers"),
    ],
)
def test_a_parameter_out_of_range_is_answered_with_its_key(raw, message):
    with pytest.raises(ConfigError, match=message):
        parse_loss(raw, "loss")


def test_every_configured_loss_has_parameter_rules():
    for name, params in LOSS_PARAMS.items():
        assert parse_loss({name: params}, "loss")[0].params == params
