"""Two gloo processes train a frozen encoder, then all, and average the epochs; started by `test_two_phases.py`."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from fold_runs import Batch, data
from safetensors.torch import load_file
from test_phases_freeze import coded, schedule
from torch import nn

from saltern import runtime
from saltern.config import OptimConfig, TrainerConfig
from saltern.engine.keeper import Keeper
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.progress import Progress
from saltern.runs import FoldDir


class Silent:
    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        pass


def digest(network: nn.Module) -> str:
    found = sha256()
    for tensor in network.state_dict().values():
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def main() -> None:
    folder = Path(sys.argv[1])
    config = TrainerConfig(accelerator="cpu", precision="fp32", devices=2, keep="average", soup_epochs=2)
    started = runtime.start(config)
    whole = data()

    def batches(epoch: int, sampling: float | None = None) -> Iterator[Batch]:
        """Half of each batch for each process."""
        for batch in whole.batches(epoch):
            part = slice(2 * started.rank, 2 * started.rank + 2)
            yield Batch(batch.images[part], batch.targets[part], batch.ids[part])

    def validate(network: nn.Module) -> dict[str, float]:
        started.share_buffers(network)
        return whole.validate(network)

    share = replace(whole, batches=batches, sizes=[2] * len(whole.sizes), validate=validate)
    plan = schedule(decoder={"freeze_encoder": True}, all={}, settle={"freeze_batchnorm": True})
    recipe = Recipe(plan, OptimConfig(name="sgd"), config)
    model = coded()
    with started.group.together():
        state = Trainer(started, recipe, Keeper(FoldDir(folder)), Silent(), Progress()).fit(model, share, seed=3)
        soup = coded()
        soup.load_state_dict(load_file(FoldDir(folder).average))
        told = (digest(model), digest(soup), whole.validate(soup)["precision_tgs"] == state.average_score)
        sys.stdout.write(f"rank {started.rank}: {told} {state.average_epochs} {sorted(state.kept)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
