"""A loss of the laboratory as a recipe: epochs, rates, and losses with parameters as text."""

import pytest

from saltern.config import PhaseConfig, ScheduleConfig, compose_config
from saltern.config.laboratory import COLUMNS
from saltern.config.loss_recipe import Budget, lengths, of_the_recipe, overrides_of, run_overrides
from saltern.config.losses import parse_loss
from saltern.metrics.scores import PER_IMAGE

SCHEDULE = ScheduleConfig(
    phases={
        "a": PhaseConfig(epochs=6, lr=0.01, loss="bce", warmup_epochs=3.0),
        "b": PhaseConfig(epochs=3, lr=0.001, loss="dice"),
        "c": PhaseConfig(epochs=1, lr=0.001, loss="dice"),
    }
)


def test_every_loss_gets_all_epochs() -> None:
    assert [lengths(SCHEDULE, count) for count in (1, 2, 3)] == [[10], [6, 4], [6, 3, 1]]


def test_a_budget_is_shared_as_the_phases_are_and_leaves_none_empty() -> None:
    assert lengths(SCHEDULE, 2, 5) == [3, 2]
    assert lengths(SCHEDULE, 3, 3) == [1, 1, 1]
    for epochs in range(3, 11):
        found = lengths(SCHEDULE, 3, epochs)
        assert sum(found) == epochs
        assert min(found) >= 1


def test_a_loss_becomes_overrides() -> None:
    assert overrides_of(SCHEDULE, ["dice"], Budget(3.0, 5)) == [
        "schedule.phases.a.epochs=5",
        "schedule.phases.a.lr=0.03",
        "schedule.phases.a.loss=dice",
        "schedule.phases.a.warmup_epochs=2.5",
        "~schedule.phases.b",
        "~schedule.phases.c",
    ]


def test_the_recipe_is_kept_and_what_the_laboratory_sets_is_not() -> None:
    given = ["only=[a]", "losses.x=bce", "search.rates=[1]", "seeds=[1]", "dataset.side=32", "~augment.batch", "name=l"]
    assert of_the_recipe(given) == ["dataset.side=32", "~augment.batch"]


@pytest.mark.parametrize("text", ["tversky(alpha=0.3,beta=0.7)", "0.5*lovasz_hinge(per_image=false)+0.5*bce"])
def test_the_run_trains_with_the_loss_that_was_meant(text: str) -> None:
    base = compose_config("run", [])
    recipe = ["schedule.phases.fine_tune.epochs=2", "schedule.phases.warm_up.epochs=4"]
    own = overrides_of(compose_config("run", recipe).schedule, [text], Budget())
    phases = compose_config("run", run_overrides(recipe, own)).schedule.phases
    assert list(phases) == ["warm_up"]
    assert phases["warm_up"].epochs == 6
    assert phases["warm_up"].lr == base.schedule.phases["warm_up"].lr
    assert phases["warm_up"].terms() == parse_loss(text, "loss")


def test_parameters_in_text_are_those_of_the_mapping() -> None:
    text = "0.9*lovasz_hinge(symmetric=true, activation=elu1) + 1e-1*focal(alpha=null)"
    mapping = {"lovasz_hinge": {"weight": 0.9, "symmetric": True, "activation": "elu1"}, "focal": {"weight": 0.1}}
    assert parse_loss(text, "loss") == parse_loss(mapping, "loss")


def test_scores_to_compare_by_are_those_of_the_metrics() -> None:
    assert tuple(PER_IMAGE) == COLUMNS
