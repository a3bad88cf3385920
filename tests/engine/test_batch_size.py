"""`trainer.batch_size=auto`: the search is held against counting, trial steps against a network with a known limit."""

import math
from collections.abc import Callable

import pytest
import torch
from fold_runs import Net, phases, weights
from torch import Tensor, nn

from saltern import runtime
from saltern.config import OptimConfig, TrainerConfig
from saltern.engine import batch_size
from saltern.engine.batch_size import bytes_kept, find_batch_size, largest, rounded, trials
from saltern.engine.recipe import Recipe
from saltern.errors import TrainingError
from saltern.models import Outputs
from saltern.runtime.memory import Memory


def recipe(**settings: object) -> Recipe:
    config = TrainerConfig(accelerator="cpu", precision="fp32", **settings)  # type: ignore[arg-type]
    return Recipe(phases(), OptimConfig(name="adamw"), config)


def on_cpu() -> runtime.Runtime:
    return runtime.start(recipe().trainer)


def test_the_search_finds_what_counting_finds_in_few_trials() -> None:
    for most in range(1, 41):
        for limit in range(45):
            tried: list[int] = []

            def fits(number: int, limit: int = limit, tried: list[int] = tried) -> bool:
                tried.append(number)
                return number <= limit

            by_counting = max((number for number in range(1, most + 1) if number <= limit), default=0)
            assert largest(fits, most) == by_counting, (most, limit)
            assert all(1 <= number <= most for number in tried)
            assert len(set(tried)) == len(tried) <= 2 * math.ceil(math.log2(most + 1)) + 1


def test_from_sixteen_on_a_batch_is_a_multiple_of_eight() -> None:
    assert [rounded(images) for images in (2, 7, 15, 16, 17, 23, 24, 100)] == [2, 7, 15, 16, 16, 16, 24, 96]


class Limited(Net):
    """Trains on so many images and not one more; with a step that has the optimizer's state, on even fewer."""

    def __init__(self, limit: int, seen: list[int]) -> None:
        super().__init__()
        self.limit, self.seen = limit, seen

    def __deepcopy__(self, memo: dict[int, object]) -> "Limited":
        copy = Limited(self.limit, self.seen)
        copy.load_state_dict(self.state_dict())
        return copy

    def logits(self, image: Tensor) -> Tensor:
        self.seen.append(len(image))
        if len(image) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return super().logits(image)


@pytest.mark.parametrize("limit", [2, 3, 37, 64])
def test_trial_steps_find_the_limit_and_leave_network_and_random_numbers_alone(limit: int) -> None:
    network = Limited(limit, [])
    before, random = weights(network), torch.get_rng_state()
    fits = trials(network, (8, 8), recipe(), on_cpu())
    assert largest(fits, 100) == limit
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(*pair) for pair in zip(before, weights(network), strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())
    steps = network.seen.count(limit)
    assert steps == 3, "one for the optimizer's state, then the loss of each of two phases"


def test_an_error_that_is_not_of_memory_is_not_taken_for_one() -> None:
    class Wrong(Net):
        def logits(self, image: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        trials(Wrong(), (8, 8), recipe(), on_cpu())(4)


@pytest.mark.parametrize(
    ("limit", "most", "images", "bound"),
    [
        (100, 1000, 88, "of what passes trial steps on cuda:0, 8 x 8 pixels"),  # 90, down to a multiple of 8
        (100, 50, 48, "number of steps"),
        (100, 92, 88, "trial steps"),
        (3, 1000, 2, "trial steps"),
        (4, 0, 2, "number of steps"),
    ],
)
def test_a_gpu_is_not_filled_to_the_last_byte(
    limit: int, most: int, images: int, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = on_cpu()

    class Gpu(runtime.Runtime):
        device = torch.device("cuda:0")

    tried: list[int] = []

    def stand_in(*_: object) -> Callable[[int], bool]:
        return lambda number: tried.append(number) is None and number <= limit

    monkeypatch.setattr(batch_size, "trials", stand_in)
    found = find_batch_size(Net(), (8, 8), recipe(), Gpu(here.fabric, "fp32"), most)
    assert found.images == images
    assert bound in found.bound
    assert min(tried) >= 2


def test_where_two_images_do_not_fit_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "counted", lambda *_: lambda number: False)
    with pytest.raises(TrainingError, match=r"trainer\.batch_size=auto: the memory of cpu does not hold a batch"):
        find_batch_size(Net(), (8, 16), recipe(), on_cpu(), 100)


def test_what_a_step_keeps_is_counted_to_the_byte() -> None:
    """exp keeps its result, and its input's gradient needs nothing else; the sum keeps nothing."""
    network = nn.Linear(1000, 1, bias=False)
    assert bytes_kept(lambda: network.weight.exp().exp().sum(), network) == 2 * 4 * 1000
    kept = bytes_kept(lambda: network.weight.mul(network.weight).sum(), network)
    assert kept == 0, "weights are there anyway"


class Plain(nn.Module):
    """A chain of `layers` exponentials over one weight: keeps 4 bytes per layer, pixel and image."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weight, self.layers = nn.Parameter(torch.zeros(1)), layers

    def forward(self, image: Tensor) -> Outputs:
        seen = (image[:, :1].float() * 0.0).add(self.weight)
        for _ in range(self.layers):
            seen = seen.sub(1.0).exp()
        return Outputs(seen)


def test_on_a_cpu_half_of_the_free_memory_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 layers of 64 x 64 float32 are 1.6 MiB an image, beside which the losses keep little."""
    free = 2 * (100 << 20)
    monkeypatch.setattr(batch_size.Memory, "of", lambda device: Memory(0, free, free))
    found = find_batch_size(Plain(100), (64, 64), recipe(), on_cpu(), 1000)
    assert 48 <= found.images <= 64, "64 images of nothing but layers are exactly 100 MiB"
    assert "50% of the free memory on cpu, 64 x 64 pixels in fp32" in found.bound
    shared = find_batch_size(Plain(100), (64, 64), recipe(devices=2), on_cpu(), 1000)
    assert found.images // 2 - 8 <= shared.images <= found.images // 2


@pytest.mark.gpu
def test_what_is_found_on_a_gpu_trains_there_and_the_double_does_not() -> None:
    settings = TrainerConfig(accelerator="cuda", precision="fp32")
    here = runtime.start(settings)
    deep = here.place(Plain(600), channels_last=True)
    own = Recipe(phases(), OptimConfig(name="adamw"), settings)
    found = find_batch_size(deep, (1024, 1024), own, here, 10_000)
    fits = trials(deep, (1024, 1024), own, here)
    assert fits(found.images)
    assert not fits(2 * found.images)
