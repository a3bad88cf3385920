"""A folder of images becomes a list: every image once, ids that can be told apart, parts that need no memory."""

import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern.data.source import found
from saltern.data.source.found import find_images, listed, parts_of, write_listing
from saltern.errors import DataError, RunError
from saltern.progress import Progress


def draw(*paths: Path, size: tuple[int, int] = (4, 6)) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros(size, np.uint8)).save(path)


def test_images_of_all_folders_are_found_and_sorted_by_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw(tmp_path / "b.png", tmp_path / "a" / "z.JPG", tmp_path / "a" / "a.b.tif", tmp_path / ".git" / "x.png")
    draw(tmp_path / ".thumb.png", tmp_path / "elsewhere" / "c.png")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "Makefile").write_text("")
    with caplog.at_level(logging.INFO):
        assert find_images(tmp_path) == ["a/a.b.tif", "a/z.JPG", "b.png", "elsewhere/c.png", "linked/c.png"]
    assert "2 files without the suffix of an image are left out" in caplog.text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.png", "a.jpg"], r"a.png: has the id 'a', as a.jpg has"),
        (["s/a.png", "s/a.bmp", "b.png"], r"the id 's/a'"),
        (["a.jpg", "a.png/b.png"], r"its mask would be a.png, which is the name of a folder"),
        ([], r"no image in it or below"),
    ],
)
def test_ids_that_cannot_be_told_apart_are_refused(names: list[str], said: str, tmp_path: Path) -> None:
    draw(*(tmp_path / name for name in names))
    with pytest.raises(DataError, match=said):
        find_images(tmp_path)


def test_a_missing_folder_and_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder.*images=FOLDER"):
        find_images(tmp_path / "no")
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"in/out: a link to .*, in which it lies"):
        find_images(tmp_path)


def test_the_list_has_every_size_and_names_every_broken_file(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    draw(folder / "a.png", folder / "b.png", size=(3, 5))
    draw(folder / "sub" / "c.bmp", size=(7, 2))
    images = find_images(folder)
    write_listing(tmp_path / "l.csv", folder, images, Progress())
    assert (tmp_path / "l.csv").read_text().split() == ["image,height,width", "a.png,3,5", "b.png,3,5", "sub/c.bmp,7,2"]
    assert list(listed(tmp_path / "l.csv")) == images
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        write_listing(tmp_path / "m.csv", folder, images, Progress())
    assert all(f"{folder / name}" in str(caught.value) for name in ("a.png", "b.png"))
    assert not (tmp_path / "m.csv").exists()


def test_parts_hold_all_images_in_order_and_no_more_than_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"i{number:04d}.png,{512 if number < 4 else 8},512" for number in range(10)]
    (tmp_path / "l.csv").write_text("\n".join(["image,height,width", *rows]) + "\n")
    monkeypatch.setattr(found, "MOST_IMAGES", 4)
    parts = list(parts_of(tmp_path / "l.csv", Path("f"), 1))  # 512 x 512 x 3 bytes are three quarters of a megabyte
    assert [len(part.entries) for part in parts] == [2, 2, 4, 2]
    assert [part.name for part in parts] == [f"part_{number:05d}" for number in range(4)]
    ids = [entry.id for part in parts for entry in part.entries]
    assert ids == [f"i{number:04d}" for number in range(10)]
    assert parts[0].entries[0].image == "f/i0000.png"


def test_only_one_part_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0
    entries = found._entries

    def counted(path: Path, folder: Path) -> Iterator[object]:
        nonlocal read
        for entry in entries(path, folder):
            read += 1
            yield entry

    monkeypatch.setattr(found, "_entries", counted)
    monkeypatch.setattr(found, "MOST_IMAGES", 5)
    (tmp_path / "l.csv").write_text("image,height,width\n" + "".join(f"{number}.png,1,1\n" for number in range(99)))
    assert len(list(islice(parts_of(tmp_path / "l.csv", tmp_path, 64), 2))) == 2
    assert read == 10


def test_a_list_that_is_none_is_refused(tmp_path: Path) -> None:
    for text in ("", "a,b\n", "image,height,width\na.png,x,2\n", "image,height,width\na.png,2\n"):
        (tmp_path / "l.csv").write_text(text)
        with pytest.raises(RunError, match=r"l.csv: not readable as a list of images"):
            list(parts_of(tmp_path / "l.csv", tmp_path, 1))


def test_the_state_of_a_part_follows_its_files(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "a.png")
    write_listing(tmp_path / "l.csv", tmp_path / "images", ["a.png"], Progress())
    (part,) = parts_of(tmp_path / "l.csv", tmp_path / "images", 1)
    before = part.state()
    assert part.state() == before
    os.utime(tmp_path / "images" / "a.png", (1, 1))
    assert part.state() != before
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a.png: cannot be read"):
        part.state()
