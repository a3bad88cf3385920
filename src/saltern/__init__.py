"""Saltern: binary image segmentation, Kaggle style, end to end.

`saltern.load("outputs/try1")` gives a finished run; see `saltern.api`. Torch is imported when these are named.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saltern.api import Run, load

__all__ = ["Run", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load` and `Run`, which bring torch along, when they are first named."""
    if name not in __all__:
        raise AttributeError(f"module 'saltern' has no attribute {name!r}")
    from saltern import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
