"""The folder that predictions of any images go to: what lies where, what it was begun with, and which parts hold."""

import csv
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from saltern.data.source.found import Part
from saltern.errors import RunError
from saltern.files import atomic, read_as, sha256, write_json
from saltern.runs.seals import Digests, Seal, changed_files

log = logging.getLogger(__name__)

COLUMNS = ("id", "height", "width", "foreground", "max_probability", "presence", "emptied")
"""Of predictions.csv: share of foreground pixels in the mask; the highest probability; that of any foreground at all,
empty where no network says it; whether the decision took all foreground away."""


class Begun(BaseModel):
    """What a target was begun with; all of it decides what is written there, but for the run's name."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    run: str
    made_of: Digests
    """The seals of the run's folds, and the settings."""
    decision: dict[str, Any]
    listing: str
    """SHA-256 of the list of images."""
    probs: bool
    overlays: bool
    part_mb: int
    """Megabytes of decoded images of a part."""


@dataclass(frozen=True)
class Target:
    """`target=`: masks/, predictions.csv, and on request probs/ and overlays/."""

    path: Path

    @property
    def begun(self) -> Path:
        """What it was begun with."""
        return self.path / "begun.json"

    @property
    def listing(self) -> Path:
        """The images: path below their folder, height, width."""
        return self.path / "images.csv"

    @property
    def predictions(self) -> Path:
        """One row an image; written last, so that where it lies everything does."""
        return self.path / "predictions.csv"

    @property
    def probs(self) -> Path:
        """The folder of stored probabilities."""
        return self.path / "probs"

    @property
    def parts(self) -> Path:
        """The folder of what each part has to say, and of its seal."""
        return self.path / "parts"

    @property
    def mark(self) -> Path:
        """By which one process holds the target."""
        return self.path / ".held" / "target"

    def mask(self, id: str) -> Path:
        """The mask of an image, 0 and 255."""
        return self.path / "masks" / f"{id}.png"

    def overlay(self, id: str) -> Path:
        """An image with its mask outlined."""
        return self.path / "overlays" / f"{id}.png"

    def rows(self, part: Part) -> Path:
        """The rows of predictions.csv of a part."""
        return self.parts / f"{part.name}.csv"

    def seal(self, part: Part) -> Path:
        """Written last of a part: its files, and the state of its images."""
        return self.parts / f"{part.name}.json"

    def refuse_strangers(self) -> None:
        """Raise a RunError where the folder holds files, but none that says how it was begun."""
        mine = {self.listing, self.mark.parent}
        items = list(self.path.iterdir()) if self.path.exists() else []
        if any(item not in mine and item.suffix != ".tmp" for item in items):
            raise RunError(
                f"{self.path}: holds files but no {self.begun.name}, so no prediction was begun there. "
                "Choose another target=FOLDER."
            )

    def refuse_others(self, asked: Begun) -> Begun:
        """What it was begun with, where that is what is `asked` for.

        Raises:
            RunError: says in what it differs.
        """
        mend = "Choose another target=FOLDER."
        begun = read_as(self.begun, Begun, mend)
        differing = [
            f"{name.removeprefix('../')} of the run changed since, or is another run's"
            for name in sorted({**begun.made_of, **asked.made_of})
            if begun.made_of.get(name) != asked.made_of.get(name)
        ]
        for key in ("decision", "probs", "overlays"):
            old, new = getattr(begun, key), getattr(asked, key)
            if old != new:
                differing.append(f"{key} was {old}, now {new}")
        if differing:
            shown = "; ".join(differing[:4]) + (f"; and {len(differing) - 4} more" if len(differing) > 4 else "")
            raise RunError(f"{self.path}: was begun with the run {begun.run} otherwise: {shown}. {mend}")
        if not self.listing.is_file() or sha256(self.listing) != begun.listing:
            raise RunError(f"{self.listing}: is gone or was changed by another hand, and all rests on it. {mend}")
        if begun.part_mb != asked.part_mb:
            log.warning("%s: was begun in parts of %d MB, and goes on so", self.path, begun.part_mb)
        return begun

    def close(self, part: Part, state: str, rows: Sequence[Sequence[Any]], files: Iterable[Path]) -> None:
        """A part is done: write its `rows`, then its seal over them and `files`; `state` is that of its images."""
        with atomic(self.rows(part)) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(rows)
        digests = {path.relative_to(self.path).as_posix(): sha256(path) for path in (self.rows(part), *files)}
        write_json(self.seal(part), Seal(files=digests, made_of={"images": state}).model_dump())

    def faults(self, part: Part) -> list[str]:
        """Why a part does not hold: one sentence for each file that changed; none where it does."""
        if not self.seal(part).exists():
            return [f"{self.seal(part).name} is not there"]
        try:
            seal = read_as(self.seal(part), Seal)
        except RunError as error:
            return [str(error)]
        found = [] if seal.made_of.get("images") == part.state() else ["images of it were exchanged since"]
        return [*found, *changed_files(seal.files, self.path)]

    def merge(self, parts: Iterable[Part]) -> dict[str, int]:
        """Write predictions.csv from the rows of all parts, one at a time; gives what it counts on the way.

        Raises:
            RunError: rows that are missing.
        """
        counts = {"images": 0, "with_foreground": 0, "emptied": 0}
        with atomic(self.predictions) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(COLUMNS)
            for part in parts:
                with self.rows(part).open(encoding="utf-8", newline="") as rows:
                    content = list(csv.reader(rows, strict=True))
                if [row[0] for row in content] != [entry.id for entry in part.entries]:
                    raise RunError(f"{self.rows(part)}: does not have the images of its part; delete it and go on.")
                writer.writerows(content)
                counts["images"] += len(content)
                counts["with_foreground"] += sum(float(row[3]) > 0 for row in content)
                counts["emptied"] += sum(row[6] == "True" for row in content)
        return counts
