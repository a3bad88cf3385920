"""Archives made to do harm: an import ends with exactly their files below its root, or refuses them in words."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packing import Entry, content_of, tar_of, zip_by_hand, zip_of
from tries import Tally

from saltern.config import SampleConfig, TgsConfig
from saltern.data.archives.place import import_archive
from saltern.data.archives.replacing import MANIFEST
from saltern.data.layouts.opening import open_dataset

OPENED = Callable[[str], Tally]

BAD = [
    *("..", "...", ". .", " a", "a ", "a.", "\u00a0a", "CON", "nul.png", "COM1", "lpt9.txt", "com¹", "a\\b", "..\\b"),
    *(
        "C:",
        "C:b",
        "a:b",
        "a\0b",
        "a\x1fb",
        "a\nb",
        "\x7f",
        "\u2028",
        "x" * 256,
        "é" * 128,
        "\udc80",
        "a?",
        "a|b",
        "<b>",
    ),
]
"""Names that some system takes for something else than a file of that name."""
GOOD = [
    *("plain", "ümläut", "雪", "a b", ".hidden", "..a", "a..b", "CONSOLE", "com10", "x" * 200, "[red]", "{0}", "%s"),
    *("'", "~", "-rf", "$HOME", "&", "#", "a.b.c", "null", "🌊"),
]
TWINS = [
    *(("A.png", "a.png"), ("Ä", "ä"), ("é", "e\u0301"), ("É", "e\u0301"), ("a", "a/b"), ("a/b", "a"), ("a", "a")),
    *(("A/b", "a/c"), ("ß", "SS"), ("a/b/c", "a/B/d"), ("a", "A/b"), ("x/y", "x.zip"), ("X/y.bin", "x.zip")),
]
"""Two names that are one on some system; `x.zip` is an archive that holds `y`."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small data set in TGS layout."""
    root = tmp_path_factory.mktemp("drawn") / "sample"
    open_dataset(SampleConfig(root=str(root), train=3, test=2, side=8))
    return {name: content for name, content in content_of(root).items() if not name.startswith("sample.json")}


class Yard:
    """Where the imports of a family are tried, each in its own folder, of which nothing but the root may change."""

    def __init__(self, tally: Tally, folder: Path) -> None:
        self.tally, self.folder, self.count = tally, folder, 0

    def attempt(self, what: str, name: str, packed: bytes, right: Callable[[dict[str, bytes]], bool]) -> str:
        """Import the archive `packed`, called `name`; `right` judges what then lies in the root."""
        self.count += 1
        own = self.folder / str(self.count)
        source, root = own / "in", own / "deep" / "er" / "out" / "tgs"
        source.mkdir(parents=True)
        root.parent.mkdir(parents=True)
        (source / name).write_bytes(packed)
        before = content_of(own)

        def work() -> None:
            # a folder's hidden files are no part of a download
            import_archive(source / name if name.startswith(".") else source, TgsConfig(root=str(root)))
            found = content_of(root)
            assert found.pop(MANIFEST)
            assert right(found), sorted(found)

        outcome = self.tally.attempt(what, work)
        prefix = root.relative_to(own).as_posix() + "/"
        outside = {name: content for name, content in content_of(own).items() if not name.startswith(prefix)}
        assert outside == before, f"{what}: written outside of the root: {sorted(outside.keys() ^ before.keys())}"
        assert [path.name for path in root.parent.iterdir()] == ([root.name] if outcome == "right" else []), what
        return outcome


@pytest.fixture
def yard(tally: OPENED, tmp_path: Path) -> Callable[[str], Yard]:
    return lambda family: Yard(tally(family), tmp_path)


def nested(stem: str, inner: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes], str]]:
    """Archives called by `stem`, one to three deep: how, the file to add, the folder that it becomes."""
    for suffix, pack in ((".zip", zip_of), (".tar", tar_of), (".tar.gz", lambda held: tar_of(held, "w:gz"))):
        held, folder = {f"{stem}{suffix}": pack(inner)}, f"{stem}/"
        yield suffix, held, folder
    held = {f"{stem}.zip": zip_by_hand([Entry(f"{stem}.zip", zip_of(inner))])}
    yield "twice .zip", held, f"{stem}/{stem}/"


def test_names(yard: Callable[[str], Yard], files: dict[str, bytes]) -> None:
    mine = yard("archives (names)")
    evil = {"scripts/yaml.py": b"print('gone')"}
    for name in (*BAD, *GOOD):
        expected = "right" if name in GOOD else "refused"
        for place in (f"extra/{name}", f"{name}/x.bin", f"extra/{name}/x.bin"):
            wanted = files | {place: b"x"}
            for kind, packed in (
                ("zip", zip_by_hand(Entry(*item) for item in wanted.items())),
                ("tar", tar_of(wanted)),
            ):
                what = f"{place!a} in a {kind}"
                if kind == "zip" or "\0" not in name:  # which ends a name in a tar
                    assert mine.attempt(what, f"set.{kind}", packed, wanted.__eq__) == expected, what
        for how, held, folder in nested(name, evil):
            wanted = files | {folder + inner: content for inner, content in evil.items()}
            packed = zip_by_hand(Entry(*item) for item in (files | held).items())
            what = f"{name!a} as an inner {how}"
            assert mine.attempt(what, "set.zip", packed, wanted.__eq__) == expected, what


def test_names_of_the_archives_themselves(yard: Callable[[str], Yard], files: dict[str, bytes]) -> None:
    mine = yard("archives (names)")
    for name in (*BAD, *GOOD):
        if "\0" in name or "/" in name or len(name.encode(errors="surrogateescape")) > 248:
            continue  # no system lets the file be made
        for suffix, packed in ((".zip", zip_of(files)), (".tar", tar_of(files)), (".tar.xz", tar_of(files, "w:xz"))):
            outcome = mine.attempt(f"an archive called {name!a}{suffix}", name + suffix, packed, files.__eq__)
            assert outcome == ("right" if name in GOOD or name.startswith(".") else "refused"), name


def test_twins(yard: Callable[[str], Yard], files: dict[str, bytes]) -> None:
    mine = yard("archives (names)")
    for one, other in TWINS:
        for first, second in ((one, other), (other, one)):
            held = [Entry(name, zip_of({"y.bin": b"z"}) if name == "x.zip" else b"x") for name in (first, second)]
            packed = zip_by_hand([*(Entry(*item) for item in files.items()), *held])
            outcome = mine.attempt(
                f"{first!a} and {second!a}", "set.zip", packed, (files | {"x/y": b"x", "x/y.bin": b"z"}).__eq__
            )
            assert outcome == ("right" if "x/y" in (one, other) else "refused")


def test_random_names(yard: Callable[[str], Yard], scale: int, files: dict[str, bytes]) -> None:
    mine = yard("archives (names)")
    pieces = [
        *BAD[:-12],
        "/",
        "/",
        "..",
        ".",
        "\\",
        "a",
        "b",
        "~",
        "\u202e",
        "\ufeff",
        "%2e",
        "é",
        ".zip",
        ".tar.gz",
        " ",
    ]
    for seed in range(12 * scale):
        draw = random.Random(seed)
        name = "".join(draw.choices(pieces, k=draw.randint(1, 5)))
        content = draw.choice(
            [b"x", zip_of({"../x": b"x"}), zip_of({name.replace("\0", ""): b"x"}), tar_of({"y": b""})]
        )
        packed = (
            zip_by_hand(Entry(*item) for item in (files | {name: content}).items())
            if draw.random() < 0.6
            else tar_of(files | {name: content}, draw.choice(["w", "w:gz"]))
        )
        suffix = "zip" if packed.startswith(b"PK") else "tar"
        mine.attempt(f"seed {seed}: {name!a}", f"set.{suffix}", packed, lambda found: files.items() <= found.items())


def spoil(content: bytes, draw: random.Random) -> bytes:
    """`content` cut, with bytes changed, repeated, left out, put in or moved."""
    at, length = draw.randrange(len(content)), draw.choice([1, 1, 2, 8, 64, 512, 4096])
    if draw.random() < 0.3:  # where a zip has its table, and a tar its end
        at = max(0, len(content) - 1 - int(draw.expovariate(1 / 300)))
    head, middle, tail = content[:at], content[at : at + length], content[at + length :]
    other = draw.randrange(len(content))
    changed = [
        head,
        head + bytes(byte ^ (1 << draw.randrange(8)) for byte in middle) + tail,
        head + draw.randbytes(len(middle)) + tail,
        head + middle + middle + tail,
        head + tail,
        head + bytes(len(middle)) + tail,
        head + draw.randbytes(length) + middle + tail,
        head + content[other : other + len(middle)] + tail,
        tail,
    ]
    return draw.choice(changed)


def test_damaged(yard: Callable[[str], Yard], scale: int, files: dict[str, bytes]) -> None:
    mine = yard("archives (damaged)")
    parts = {
        part: {name.removeprefix(f"{part}/"): content for name, content in files.items() if name.startswith(part + "/")}
        for part in ("train", "test")
    }
    tables = {name: content for name, content in files.items() if "/" not in name}
    inner = tables | {f"{part}.zip": zip_of(held) for part, held in parts.items()}
    kinds = {
        "zip": zip_of(files),
        "tar": tar_of(files),
        "tar.gz": tar_of(files, "w:gz"),
        "tar.bz2": tar_of(files, "w:bz2"),
        "tar.xz": tar_of(files, "w:xz"),
        "nested.zip": zip_of(inner),
        "stored.zip": zip_by_hand(Entry(*item) for item in inner.items()),
    }
    for kind, whole in kinds.items():
        for seed in range(6 * scale):
            packed = spoil(whole, random.Random(f"{kind} {seed}"))

            def right(found: dict[str, bytes], kind: str = kind) -> bool:
                # a plain tar has no checksums of what it holds
                return found.keys() == files.keys() if kind == "tar" else found == files

            name = f"set.{kind}" if kind.startswith("tar") else "set.zip"
            mine.attempt(f"{kind}, seed {seed}", name, packed, right)
