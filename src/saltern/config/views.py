"""How a test-time view is written: a symmetry by name, and after an @ the scale at which the image is seen."""

from saltern.config import choices
from saltern.errors import ConfigError, unknown

LEAST_SCALE, LARGEST_SCALE = 0.25, 4.0


def parse_view(text: str, key: str = "inference.views") -> tuple[str, float]:
    """(symmetry, scale) of a view such as `hflip`, whose scale is 1, or `hflip@0.75`.

    Raises:
        ConfigError: an unknown symmetry; a scale that is no number, is 1, or lies outside of 0.25 to 4.
    """
    name, at, written = text.partition("@")
    if name not in choices.VIEWS:
        raise ConfigError(f"{key}: {unknown('view', name, choices.VIEWS)}")
    if not at:
        return name, 1.0
    try:
        scale = float(written)
    except ValueError:
        scale = float("nan")
    if not LEAST_SCALE <= scale <= LARGEST_SCALE or scale == 1:
        raise ConfigError(
            f"{key}: {text!r} has the scale {written!r}; expected a number from {LEAST_SCALE} to {LARGEST_SCALE:g}, "
            f"not 1, such as {name}@0.75. Without a scale, {name} sees the image as it is."
        )
    return name, scale
