"""What all pages are made of: templates that escape, figures at the head, groups of pictures with their words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from saltern.report.pictures import Picture


@dataclass(frozen=True)
class Card:
    """A figure at the head of the page."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Shot:
    """One image with its words."""

    id: str
    picture: Picture
    note: str
    score: str = ""
    """Stands out; empty for none."""
    caption: str = ""
    """Beside the score."""
    beside: Picture | None = None
    """The same image with something else drawn on it, shown to its right; None for none."""


@dataclass(frozen=True)
class Group:
    """Images under one title."""

    title: str
    note: str
    shots: list[Shot]
    anchor: str = ""
    """Where links on the page lead to; empty for none."""


def render(template: str, context: Mapping[str, Any]) -> str:
    """A page from `templates/`; everything but figures drawn here is escaped."""
    environment = Environment(
        loader=PackageLoader("saltern", "report/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(context)
