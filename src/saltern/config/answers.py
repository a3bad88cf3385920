"""How a key that cannot be is answered: with the key, the value, and what was expected."""

from collections.abc import Sequence

from saltern.errors import ConfigError, unknown


def require(good: bool, key: str, value: object, expected: str) -> None:
    """Raise a ConfigError unless `good`."""
    if not good:
        raise ConfigError(f"{key}={value!r}: expected {expected}.")


def one_of(value: str, key: str, known: Sequence[str]) -> None:
    """Raise a ConfigError with the nearest name unless `value` is `known`."""
    if value not in known:
        raise ConfigError(f"{key}: {unknown('value', value, known)}")


def require_size(value: list[int] | None, key: str) -> None:
    """Raise a ConfigError unless `value` is null or [height, width]."""
    good = value is None or (len(value) == 2 and all(side > 0 for side in value))
    require(good, key, value, "null or [height, width], both positive")


def different_seeds(seeds: Sequence[int]) -> bool:
    """Whether these are one or more, none of them twice or below 0."""
    return bool(seeds) and len(set(seeds)) == len(seeds) and min(seeds) >= 0
