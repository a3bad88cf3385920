"""What a run of groups and seeds keeps, damaged in many ways, before `tune` and `compare` read it: right, or refused.

The files are truth.csv, groups.csv, val_counts.safetensors, seeds.json and its seal. Right means the scores that the
run had without the damage.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from served import Served
from small_runs import TINY, answer, refuse_chaos, refuse_litter
from tries import Tally

pytestmark = pytest.mark.timeout(7200)

SECONDS = 120.0
GROUPED = [*TINY, "dataset.train=12", "folds=group", "folds.n=2", "folds.regex=(.)$"]
TEXTS = {"empty": b"", "null": b"null", "nan": b"NaN", "bytes": b"\xff\xfe\x00" * 50, "wide": b"x" * 3_000_000}


def cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(1, path.stat().st_size)])


def not_utf8(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] = 0xFF
    path.write_bytes(content)


def cell(path: Path, rng: random.Random) -> None:
    """A foreign id, an id twice, an empty cell or NaN in a table."""
    lines = path.read_text().splitlines()
    row = rng.randrange(1, len(lines))
    cells = lines[row].split(",")
    kind = rng.choice(("foreign", "twice", "empty", "nan", "fewer"))
    if kind == "foreign":
        cells[0] = "stranger"
    elif kind == "twice":
        cells[0] = lines[1 + row % (len(lines) - 1)].split(",")[0]
    elif kind == "fewer":
        cells.pop()
    else:
        cells[rng.randrange(1, len(cells))] = "" if kind == "empty" else "NaN"
    path.write_text("\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :]]) + "\n")


def value(path: Path, rng: random.Random) -> None:
    """Another value, of another type or impossible, somewhere in a JSON file."""
    content = json.loads(path.read_text())
    holder = rng.choice([content, *(part for part in content.get("columns", {}).values())])
    key = rng.choice(list(holder))
    holder[key] = rng.choice((None, "y", [], {}, -1, float("nan"), 1e400, 0.123, ["../b", "c"]))
    path.write_text(json.dumps(content))


def counts(path: Path, rng: random.Random) -> None:
    """Whole counts of epochs that are those of other images, of another number, or impossible."""
    with safe_open(path, framework="numpy") as file:
        found, ids = file.get_tensor("counts"), json.loads(file.metadata()["ids"])
    kind = rng.choice(("foreign", "fewer", "float", "negative", "no ids"))
    if kind == "foreign":
        ids[0] = "stranger"
    elif kind == "fewer":
        found = found[:, 1:]
    elif kind == "float":
        found = np.full(found.shape, np.nan, np.float32)
    elif kind == "negative":
        found = np.full_like(found, -7)
    save_file({"counts": np.ascontiguousarray(found)}, path, None if kind == "no ids" else {"ids": json.dumps(ids)})


FAMILIES: dict[str, Callable[[Path, random.Random], None]] = {
    "truth.csv": cell,
    "groups.csv": cell,
    "fold_0/val_counts.safetensors": counts,
    "seeds.json": value,
    "done/seeds.json": value,
}
"""Artifact → what is done to it beside the damage that any file can have."""
READERS = {"tune": ("name=g",), "compare": ("name=v", "runs=[g,g_seed1]")}


@pytest.fixture(scope="module")
def grouped(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `g`, whose images come in groups, and its seed 1."""
    folder = tmp_path_factory.mktemp("grouped")
    served.succeed("train", "name=g", *GROUPED, cwd=folder)
    served.succeed("seeds", "name=g", "seeds=[1]", cwd=folder)
    return folder


def harm(path: Path, kind: str, rng: random.Random) -> None:
    if kind == "gone":
        path.unlink()
    elif kind in TEXTS:
        path.write_bytes(TEXTS[kind])
    else:
        {"cut": cut, "bytes in it": not_utf8}[kind](path, rng)


def test_what_a_run_of_groups_and_seeds_keeps_is_right_or_named(
    scale: int, grouped: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    artifacts = tally("artifacts, new", SECONDS)
    rng = random.Random(scale)
    right = {stage: scores_after(served, grouped, tmp_path, stage) for stage in READERS}

    def attempt(name: str, kind: str, stage: str, seed: int) -> None:
        what = f"{name} {kind} ({seed}), {stage}"
        place = renewed(grouped, tmp_path)
        path = place / "outputs/g" / name
        if kind == "own":
            FAMILIES[name](path, random.Random(seed))
        else:
            harm(path, kind, random.Random(seed))
        done = served.run(stage, *READERS[stage], cwd=place)
        refuse_chaos(done, what)
        refuse_litter(place, what)
        if done.status == 0 and not (name == "seeds.json" and kind == "gone"):  # then the default stands, and is said
            assert outcome_of(place, stage) == right[stage], what
        answer(done)

    for name in FAMILIES:
        kinds = rng.sample(["gone", "cut", "bytes in it", *TEXTS], 2 * scale if scale < 4 else 8) + ["own"] * (
            2 + scale
        )
        for kind in kinds:
            case = (name, kind, rng.choice(list(READERS)), rng.randrange(10**6))
            artifacts.attempt(" ".join(map(str, case)), lambda case=case: attempt(*case))


def renewed(grouped: Path, place: Path) -> Path:
    for folder in ("outputs", "data"):
        shutil.rmtree(place / folder, ignore_errors=True)
        shutil.copytree(grouped / folder, place / folder)
    return place


def outcome_of(place: Path, stage: str) -> str:
    """The scores that a stage leaves, or what its page says of the seeds."""
    if stage == "tune":
        return (place / "outputs/g/scores.json").read_text()
    page = (place / "outputs/compare/v/report.html").read_text()
    return "as the seeds of g show" if "as the seeds of g show" in page else page


def scores_after(served: Served, grouped: Path, place: Path, stage: str) -> str:
    served.succeed(stage, *READERS[stage], cwd=renewed(grouped, place))
    return outcome_of(place, stage)
