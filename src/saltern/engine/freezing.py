"""What of a network does not move in a phase: its encoder, its batch norm."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltern.config import PhaseConfig, ScheduleConfig
from saltern.errors import ConfigError


class Freezer:
    """Lets the parameters of one network move that a phase trains, and no others.

    What did not move to begin with (idle parameters, norms that are frozen by themselves) never does: a phase thaws
    only what a phase before it froze.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._free = _moving(network)

    def begin(self, phase: PhaseConfig) -> bool:
        """Freeze and thaw for `phase`; tells whether other parameters move than before."""
        before, moving = _moving(self._network), self._free - _stay(self._network, phase)
        for name, parameter in self._network.named_parameters():
            parameter.requires_grad_(name in moving)
        return moving != before


def hold_norms(network: nn.Module, phase: PhaseConfig) -> None:
    """Let the batch norm that `phase` freezes use and keep its statistics; to be called after `network.train()`."""
    for _, norm in _held(network, phase):
        norm.eval()


def refuse_still_phases(network: nn.Module, schedule: ScheduleConfig) -> None:
    """Make sure that every phase has something to train in `network`.

    Raises:
        ConfigError: names the phase in which nothing would move.
    """
    for name, phase in schedule.phases.items():
        if not _moving(network) - _stay(network, phase):
            asked = [key for key in ("freeze_encoder", "freeze_batchnorm") if getattr(phase, key)]
            raise ConfigError(
                f"schedule.phases.{name}: nothing is left to train in this network"
                f"{' with ' + ' and '.join(f'{key}=true' for key in asked) if asked else ''}; expected a phase in "
                "which some weights move. Set one of its freeze_… keys to false, or choose another model."
            )


def in_encoder(name: str) -> bool:
    """Whether `name`, of a parameter or of a module inside, is one of the encoder's."""
    return "encoder." in name


def _moving(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def _stay(network: nn.Module, phase: PhaseConfig) -> set[str]:
    """Names of the parameters that `phase` freezes."""
    encoder = {name for name, _ in network.named_parameters() if phase.freeze_encoder and in_encoder(name)}
    norms = _held(network, phase)
    return encoder | {f"{name}.{key}" for name, norm in norms for key, _ in norm.named_parameters(recurse=False)}


def _held(network: nn.Module, phase: PhaseConfig) -> Iterator[tuple[str, nn.Module]]:
    """Name and layer of the batch norm that `phase` freezes."""
    for name, module in network.named_modules():
        frozen = phase.freeze_batchnorm or (phase.freeze_encoder and in_encoder(name))
        if frozen and isinstance(module, _BatchNorm):
            yield name, module
