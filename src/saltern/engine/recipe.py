"""How a network is trained: the settings that the loop reads."""

from dataclasses import dataclass, field

from saltern.config import BatchMixConfig, HeadsConfig, OptimConfig, RunConfig, ScheduleConfig, TrainerConfig


@dataclass(frozen=True)
class Recipe:
    """The parts of a run's config that say how its networks are trained."""

    schedule: ScheduleConfig
    optim: OptimConfig
    trainer: TrainerConfig
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    mixing: BatchMixConfig = field(default_factory=BatchMixConfig)
    lengths: dict[str, int] = field(default_factory=dict)
    """Phase → the epochs it takes from the outset, where these are not those of the schedule."""

    @classmethod
    def of(cls, config: RunConfig, lengths: dict[str, int] | None = None) -> "Recipe":
        """Those of a run; `lengths` as below."""
        heads, mixing = config.model.heads, config.augment.batch
        return cls(config.schedule, config.optim, config.trainer, heads, mixing, lengths or {})
