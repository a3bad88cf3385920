"""Damaged tables are read as they stand or refused, and names that a later stage cannot carry are refused at once."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from tries import Tally

from saltern.config import DatasetConfig, FolderConfig, TgsConfig, VocConfig
from saltern.data.check.examine import check_dataset
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.csvs import read_csv
from saltern.data.source.limits import MAX_CELL, MAX_CELLS
from saltern.errors import DataError

Random = np.random.Generator


def table(random: Random) -> bytes:
    """A CSV of ids and run lengths, now and then with a byte order mark, quotes, blank lines and other line ends."""
    end = str(random.choice(["\n", "\n", "\r\n"]))
    lines = ["id,rle_mask"]
    for number in range(int(random.integers(1, 60))):
        runs = " ".join(map(str, random.integers(1, 9999, 2 * int(random.integers(0, 9)))))
        lines.append(f'"{number:05d}","{runs}"' if random.random() < 0.2 else f"{number:05d},{runs}")
    lines += [""] * int(random.integers(0, 3))
    return (b"\xef\xbb\xbf" if random.random() < 0.3 else b"") + (end.join(lines) + end).encode()


def damaged(data: bytes, random: Random) -> tuple[str, bytes]:
    at, length = int(random.integers(len(data))), int(random.integers(1, 40))
    odd = [
        b"\0",
        b'"',
        b"\r",
        b",",
        b"\n\n",
        b"\xff",
        b"\xef\xbb\xbf",
        "é".encode("latin-1"),
        b"\x1b[2J",
        b"id,rle_mask\n",
    ]
    kinds = {
        "cut": data[:at],
        "zeroed": data[:at] + bytes(length) + data[at + length :],
        "random": data[:at] + random.bytes(length) + data[at + length :],
        "odd": data[:at] + odd[int(random.integers(len(odd)))] + data[at:],
        "left out": data[:at] + data[at + length :],
        "twice": data + data,
        "columns": data.replace(b"\n", b"," * 5_000 + b"\n"),
        "utf-16": data.decode("utf-8-sig").encode("utf-16"),
        "zip": b"PK\x03\x04" + data,
        "empty": b"",
        "whole": data,
    }
    name = str(random.choice(list(kinds)))
    return name, kinds[name]


def as_it_stands(data: bytes) -> list[list[str]]:
    """The rows of a CSV, blank lines left out, by its own text: split at commas where nothing is quoted."""
    text = data.decode("utf-8-sig")
    if '"' in text or "\r" in text.replace("\r\n", ""):
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    return [line.split(",") for line in text.replace("\r\n", "\n").split("\n") if line]


def test_damaged_tables_are_read_as_they_stand_or_refused(
    tally: Callable[[str], Tally], scale: int, tmp_path: Path
) -> None:
    mine, path = tally("csv"), tmp_path / "train.csv"
    for seed in range(60 * scale):
        random = np.random.default_rng([10, seed])
        how, data = damaged(table(random), random)
        path.write_bytes(data)

        def work(data: bytes = data) -> None:
            read = read_csv(path, ["id", "rle_mask"])
            assert [list(read.columns), *read.to_numpy().tolist()] == as_it_stands(data)

        mine.attempt(f"{seed}, {how}", work)
    assert mine.outcomes["right"] > 5 * scale
    assert mine.outcomes["refused"] > 5 * scale


def too_long(path: Path) -> None:
    path.write_bytes(b"id,rle_mask\n" + b"a,\n" * (MAX_CELLS // 2 + 1))


def too_wide(path: Path) -> None:
    path.write_bytes(b"id,rle_mask\na," + b"1" * (MAX_CELL + 1) + b"\n")


def too_large(path: Path) -> None:
    path.write_bytes(b"id,rle_mask\n")
    os.truncate(path, 5 << 30)  # a hole: no room on the disk


def blank(path: Path) -> None:
    path.write_bytes(b"id,rle_mask\n" + b"\n" * (MAX_CELLS + 1))


def ragged(path: Path) -> None:
    path.write_bytes(b"id,rle_mask\n" + b"a,b,c\n" * 1_000_000)


def header(path: Path) -> None:
    path.write_bytes(b"a," * 1_000_000)


def twins(path: Path) -> None:
    path.write_bytes(b"id,rle_mask,id\n")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("none.csv"))


@pytest.mark.parametrize(
    "make", [too_long, too_wide, too_large, blank, ragged, header, twins, device, nowhere, os.mkfifo, os.mkdir]
)
@pytest.mark.parametrize("name", ["train.csv", "depths.csv", "sample_submission.csv"])
def test_tables_without_bounds_are_refused(
    tally: Callable[[str], Tally], make: Callable[[Path], None], name: str, tgs: Path
) -> None:
    path = tgs / name
    path.unlink(missing_ok=True)
    make(path)
    what = f"{name}, {make.__name__}"
    assert tally("csv (bounds)").attempt(what, lambda: open_dataset(TgsConfig(root=str(tgs)))) == "refused"


@pytest.fixture
def tgs(tmp_path: Path) -> Path:
    write(tmp_path / "train" / "images" / "a.png", 90)
    write(tmp_path / "train" / "masks" / "a.png", 255)
    return tmp_path


def write(path: Path | bytes, value: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        Image.fromarray(np.full((9, 9), value, np.uint8)).save(stream, "PNG")


NAMES = [
    "a", "007", "NA", "1e5", "a b", " a", "é", "e\u0301", "日本", "😀", "=1+1", "-a", "a,b", 'a"b', "a'b", "a;b", "a%s",
    "{id}", "a.b", "__metadata__", "__metadata__2", "a\nb", "a\rb", "a\tb", "a\x1b[2Jb", "a\x7fb", "a\x85b",
    "a\u2028b", "a\udcffb", "\udce9", "a" * 190, "a" * 201, "é" * 120, "a" * 250, "\ufeffa", "a\u202eb", "a\\nb",
    "nul", "a\u00a0",
]  # fmt: skip


def named(root: Path, layout: str, name: str, value: int) -> DatasetConfig:
    """A data set of one labelled image, `name`, in one of the layouts."""
    base = os.fsencode(root)
    if layout == "tgs":
        write(base + b"/train/images/" + os.fsencode(name) + b".png", value)
        write(base + b"/train/masks/" + os.fsencode(name) + b".png", 255)
        return TgsConfig(root=str(root))
    if layout == "voc":
        write(base + b"/JPEGImages/" + os.fsencode(name) + b".png", value)
        write(base + b"/SegmentationClass/" + os.fsencode(name) + b".png", 1)
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        for part, content in (("train", name), ("val", "other")):
            (lists / f"{part}.txt").write_text(content + "\n", encoding="utf-8", errors="surrogateescape")
        write(base + b"/JPEGImages/other.png", 3)
        write(base + b"/SegmentationClass/other.png", 0)
        return VocConfig(root=str(root), foreground=["aeroplane"])
    write(base + b"/images/" + os.fsencode(name) + b".png", value)
    write(base + b"/masks/" + os.fsencode(name) + b".png", 255)
    return FolderConfig(root=str(root), images="images/{stem}.png", masks="masks/{stem}.png", id=layout)


def carried(ids: list[str], place: Path) -> None:
    """What later stages do with ids: a line of a CSV, a key in safetensors, the name of a file, text on a terminal."""
    place.mkdir()
    with (place / "x.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([name, "1 1"] for name in ids)
    assert (place / "x.csv").read_text(encoding="utf-8").count("\n") == len(ids)
    assert [row[0] for row in csv.reader((place / "x.csv").open(encoding="utf-8", newline=""))] == ids
    save_file({name: np.zeros(1, np.float16) for name in ids}, place / "x.safetensors")
    assert set(load_file(place / "x.safetensors")) == set(ids)
    for name in ids:
        (place / f".{name}.png.part").write_bytes(b"")
        assert name.isprintable() or not any(ord(character) < 32 for character in name)


def drawn(random: Random) -> str:
    """A name put together from what makes names difficult."""
    pool = [*"aZ0 .,;'\"-=_%{}~$\\", *NAMES[:-2], "\u200d", "\x01", "ß", "İ", "\ud7ff", "\U0001f9d1"]
    name = "".join(random.choice(pool, int(random.integers(1, 9))))
    return os.fsdecode(os.fsencode("x" + name)[:250])


@pytest.mark.parametrize("layout", ["tgs", "voc", "stem", "name"])
def test_names_are_carried_through_or_refused(
    tally: Callable[[str], Tally], scale: int, tmp_path: Path, layout: str
) -> None:
    mine, random = tally("names (ids)"), np.random.default_rng(11)
    for number, name in enumerate(NAMES if scale == 1 else [drawn(random) for _ in range(10 * scale)]):
        root = tmp_path / str(number)
        root.mkdir()
        config = named(root, layout, name, 50 + number % 200)

        def work(config: DatasetConfig = config, root: Path = root) -> None:
            carried(open_dataset(config).train["id"].tolist(), root / "later")

        outcome = mine.attempt(f"{layout}, {name!r}", work)
        report = check_dataset(config)[0]
        assert report.has_errors == (outcome == "refused")
        for finding in report.findings:
            finding.text.encode()  # can be printed, and is no surprise to a terminal
            assert "\x1b" not in finding.text
    assert mine.outcomes["refused"] >= 8


def test_all_names_are_told_at_once(tmp_path: Path) -> None:
    for name in ("__metadata__", "a" * 210, "b" * 220, "x\ny", "fine"):
        named(tmp_path, "tgs", name, len(name))
    with pytest.raises(DataError) as refusal:
        open_dataset(TgsConfig(root=str(tmp_path)))
    for part in ("'__metadata__' is a reserved word", "has 210 bytes", "has 220 bytes", r"control character '\n'"):
        assert part in str(refusal.value)
