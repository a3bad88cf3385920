"""Does the test resemble the validation? What the decision paints on both, and what gates took, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field

from saltern.files import read_as
from saltern.inference.painted import LARGE, MEASURES
from saltern.runs import RunDir

Share = Annotated[float, Field(ge=0, le=1)]
NAMED = 12
"""Images that a sentence names."""


class _Measure(BaseModel):
    oof: Share
    test: Share
    chance: Share | None
    differs: bool


class _Pair(BaseModel):
    oof: int
    test: int


class _Taken(BaseModel):
    id: str
    share: Share


class _BothTaken(BaseModel):
    oof: list[_Taken]
    test: list[_Taken]


class _Resemblance(BaseModel):
    """What a page needs of `resemblance.json`."""

    images: _Pair
    empty: _Measure
    foreground: _Measure
    taken: _BothTaken


@dataclass(frozen=True)
class Line:
    """A row of the page's table."""

    what: str
    oof: str
    test: str
    chance: str


@dataclass(frozen=True)
class Resembling:
    """What a page says; empty where there are no test masks."""

    lines: tuple[Line, ...] = ()
    warnings: tuple[str, ...] = ()
    taken_of_test: str = ""
    """The test images that a gate emptied though large, in a sentence; empty where there are none."""


def read_resembling(run: RunDir) -> Resembling:
    """What `resemblance.json` says; nothing where a run has no test images, or an earlier version submitted it.

    Raises:
        RunError: the file is damaged.
    """
    if not run.resemblance.exists():
        return Resembling()
    found = read_as(run.resemblance, _Resemblance, "Run the stage `submit` again.").model_dump()
    lines = tuple(_line(words, found[measure]) for measure, words in MEASURES.items())
    return Resembling(lines, tuple(warnings_of(found)), _taken(found["taken"]["test"]))


def warnings_of(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each measure in which the test differs by more than chance; `found`: `resemblance.json`."""
    images = found["images"]
    return [
        f"The test masks do not resemble those out of fold. {words[0].upper()}{words[1:]}: "
        f"{_percent(found[measure]['test'])} over {images['test']:,} test images, {_percent(found[measure]['oof'])} "
        f"over {images['oof']:,} out of fold; chance does so {_often(found[measure]['chance'])}. Either the "
        "images differ, or the mean of the networks is another thing than the single ones the decision was tuned on."
        for measure, words in MEASURES.items()
        if found[measure]["differs"]
    ]


def taken_note() -> str:
    """What the images that a gate emptied have in common."""
    return f"at least {_percent(LARGE)} of the image is above the threshold, but its mask was emptied by a gate"


def _taken(images: list[dict[str, Any]]) -> str:
    if not images:
        return ""
    named = ", ".join(f"{image['id']} ({_percent(image['share'])})" for image in images[:NAMED])
    more = f" and {len(images) - NAMED:,} more" if len(images) > NAMED else ""
    return f"Test images of which {taken_note()}: {named}{more}."


def _line(words: str, measure: Mapping[str, Any]) -> Line:
    chance = measure["chance"]
    said = "cannot be said: a single image or group" if chance is None else _often(chance)
    return Line(words, _percent(measure["oof"]), _percent(measure["test"]), said)


def _often(chance: float) -> str:
    return "in less than 1 of 1,000 cases" if chance < 0.001 else f"in {100 * chance:.1f} % of all cases"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
