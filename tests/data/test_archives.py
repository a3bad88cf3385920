"""Archives are unpacked into a layout whole and checked, or not at all."""

import io
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saltern.config import DatasetConfig, SampleConfig, TgsConfig, VocConfig
from saltern.data.archives import budget
from saltern.data.archives.place import import_archive
from saltern.data.archives.replacing import MANIFEST
from saltern.data.layouts.opening import open_dataset
from saltern.errors import DataError


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("drawn") / "sample"
    open_dataset(SampleConfig(root=str(root), train=6, test=3, side=16))
    return root


def zip_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def content_of(folder: Path, prefix: str = "") -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {prefix + path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def kaggle_files(drawn: Path) -> dict[str, bytes]:
    tables = {name: (drawn / name).read_bytes() for name in ("train.csv", "depths.csv", "sample_submission.csv")}
    return tables | {f"{part}.zip": zip_of(content_of(drawn / part)) for part in ("train", "test")}


@pytest.fixture
def target(tmp_path: Path) -> TgsConfig:
    return TgsConfig(root=str(tmp_path / "out" / "tgs"))


def assert_imported(config: DatasetConfig, drawn: Path) -> None:
    root = Path(config.root)
    for part in ("train", "test"):
        assert content_of(root / part) == content_of(drawn / part)
    assert sorted(path.name for path in root.parent.iterdir()) == [root.name], "something was left behind"
    assert not list(root.rglob("*.zip"))


def test_the_competitions_archive_with_archives_inside(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    (tmp_path / "tgs.zip").write_bytes(zip_of(kaggle_files(drawn) | {"__MACOSX/._train.csv": b"junk"}))
    imported = import_archive(tmp_path / "tgs.zip", target)
    assert (len(imported.dataset.train), len(imported.dataset.test)) == (6, 3)
    assert_imported(target, drawn)


def test_a_folder_of_archives_and_tables(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name, content in kaggle_files(drawn).items():
        (folder / name).write_bytes(content)
    import_archive(folder, target)
    assert_imported(target, drawn)


def test_one_wrapping_folder_is_taken_away(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    files = {f"salt/{name}": content for name, content in kaggle_files(drawn).items()}
    files["salt/train.zip"] = zip_of(content_of(drawn / "train", "train/"))
    (tmp_path / "all.zip").write_bytes(zip_of(files))
    import_archive(tmp_path / "all.zip", target)
    assert_imported(target, drawn)


def test_a_tar_of_voc(tmp_path: Path) -> None:
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for number, name in enumerate(("a_1", "a_2")):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 14, 3), np.uint8)
        mask = Image.fromarray((pixels[..., 0] > 99).astype(np.uint8) * 7)
        for folder, image in (("JPEGImages", Image.fromarray(pixels)), ("SegmentationClass", mask)):
            (base / folder).mkdir(parents=True, exist_ok=True)
            image.save(base / folder / (f"{name}.jpg" if folder == "JPEGImages" else f"{name}.png"))
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a_1\n")
    (lists / "val.txt").write_text("a_2\n")
    with tarfile.open(tmp_path / "VOCtrainval.tar", "w") as archive:
        archive.add(tmp_path / "VOCdevkit", "VOCdevkit")
    config = VocConfig(root=str(tmp_path / "out" / "voc"), foreground=["car"])
    assert len(import_archive(tmp_path / "VOCtrainval.tar", config).dataset.train) == 2


def test_the_same_again_changes_nothing_and_another_replaces(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    (tmp_path / "tgs.zip").write_bytes(zip_of(kaggle_files(drawn)))
    assert not import_archive(tmp_path / "tgs.zip", target).again
    before = (Path(target.root) / MANIFEST).stat().st_mtime_ns
    assert import_archive(tmp_path / "tgs.zip", target).again
    assert (Path(target.root) / MANIFEST).stat().st_mtime_ns == before
    files = kaggle_files(drawn)
    del files["depths.csv"]
    (tmp_path / "tgs.zip").write_bytes(zip_of(files))
    assert not import_archive(tmp_path / "tgs.zip", target).again
    assert not (Path(target.root) / "depths.csv").exists()
    assert_imported(target, drawn)


def test_an_import_that_lost_a_file_is_unpacked_anew(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    (tmp_path / "tgs.zip").write_bytes(zip_of(kaggle_files(drawn)))
    import_archive(tmp_path / "tgs.zip", target)
    next((Path(target.root) / "train" / "images").iterdir()).unlink()
    assert not import_archive(tmp_path / "tgs.zip", target).again
    assert_imported(target, drawn)


def test_a_tar_that_ends_early_is_refused(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    """Cut between two files, within a header, or with a header damaged: tarfile itself takes each for the end."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(drawn, ".")
    content = packed.getvalue()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        last = archive.getmembers()[-1].offset
    damaged = bytearray(content)
    damaged[last] ^= 0xFF
    for data in (content[:last], content[: last + 100], bytes(damaged)):
        (tmp_path / "set.tar").write_bytes(data)
        with pytest.raises(DataError, match=f"cut or damaged at byte {last:,}"):
            import_archive(tmp_path / "set.tar", target)
    (tmp_path / "set.tar").write_bytes(content)
    assert not import_archive(tmp_path / "set.tar", target).again


def test_a_folder_of_other_origin_is_left_alone(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    (tmp_path / "tgs.zip").write_bytes(zip_of(kaggle_files(drawn)))
    Path(target.root).mkdir(parents=True)
    (Path(target.root) / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="left alone"):
        import_archive(tmp_path / "tgs.zip", target)
    assert (Path(target.root) / "mine.txt").read_text() == "precious"


def test_a_failed_import_keeps_the_earlier_one(drawn: Path, tmp_path: Path, target: TgsConfig) -> None:
    (tmp_path / "tgs.zip").write_bytes(zip_of(kaggle_files(drawn)))
    import_archive(tmp_path / "tgs.zip", target)
    files = kaggle_files(drawn)
    files["train.csv"] = b"id,rle_mask\nstranger,1 1\n"
    (tmp_path / "tgs.zip").write_bytes(zip_of(files))
    with pytest.raises(DataError, match="stranger") as caught:
        import_archive(tmp_path / "tgs.zip", target)
    assert ".tmp" not in str(caught.value)
    assert_imported(target, drawn)


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil", "train/../../x"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_leave_the_target_are_refused(tmp_path: Path, target: TgsConfig, name: str, kind: str) -> None:
    path = tmp_path / f"evil.{kind}"
    if kind == "zip":
        path.write_bytes(zip_of({name: b"x"}))
    else:
        with tarfile.open(path, "w") as archive:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match="no plain path below the target folder"):
        import_archive(path, target)
    assert sorted(item.name for item in tmp_path.rglob("*")) == sorted([path.name, "out"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, target: TgsConfig, kind: bytes) -> None:
    entry = tarfile.TarInfo("train")
    entry.type, entry.linkname = kind, "/etc"
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.addfile(entry)
    with pytest.raises(DataError, match="link or a device"):
        import_archive(tmp_path / "evil.tar", target)


def test_links_in_a_zip_are_refused(tmp_path: Path, target: TgsConfig) -> None:
    entry = zipfile.ZipInfo("train")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(entry, "/etc")
    with pytest.raises(DataError, match="link or a device"):
        import_archive(tmp_path / "evil.zip", target)


def test_bombs_are_refused_by_what_they_declare_and_by_what_they_hold(
    tmp_path: Path, target: TgsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "RATIO_FROM", 1 << 20)
    (tmp_path / "bomb.zip").write_bytes(zip_of({"a.bmp": bytes(8 << 20)}))
    with pytest.raises(DataError, match="refused as a bomb"):
        import_archive(tmp_path / "bomb.zip", target)
    inner = zip_of({"a.bmp": bytes(1 << 20)})
    (tmp_path / "many.zip").write_bytes(zip_of({f"{number}.zip": inner for number in range(8)}))
    with pytest.raises(DataError, match="refused as a bomb"):
        import_archive(tmp_path / "many.zip", target)
    monkeypatch.setattr(budget, "MAX_BYTES", 1000)
    (tmp_path / "large.zip").write_bytes(zip_of({"a.bmp": os.urandom(2000)}))
    with pytest.raises(DataError, match="refused as absurd"):
        import_archive(tmp_path / "large.zip", target)
    monkeypatch.setattr(budget, "MAX_FILES", 3)
    (tmp_path / "files.zip").write_bytes(zip_of({str(number): b"" for number in range(5)}))
    with pytest.raises(DataError, match="more than 3 files"):
        import_archive(tmp_path / "files.zip", target)


def test_a_zip_whose_table_lies_about_a_size_is_refused(tmp_path: Path, target: TgsConfig) -> None:
    content = bytearray(zip_of({"a.csv": bytes(5000)}))
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = (10).to_bytes(4, "little")  # uncompressed size in the central directory
    (tmp_path / "lie.zip").write_bytes(content)
    with pytest.raises(DataError, match="not readable as an archive"):
        import_archive(tmp_path / "lie.zip", target)


def test_archives_nested_too_deep_or_repeating_are_refused(tmp_path: Path, target: TgsConfig) -> None:
    nested = zip_of({"a.csv": b""})
    for _ in range(4):
        nested = zip_of({"x.zip": nested})
    (tmp_path / "deep.zip").write_bytes(nested)
    with pytest.raises(DataError, match="more than 3 deep"):
        import_archive(tmp_path / "deep.zip", target)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.csv", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.csv", b"2")
    with pytest.raises(DataError, match="twice"):
        import_archive(tmp_path / "twice.zip", target)


@pytest.mark.parametrize(("at", "value", "said"), [(8, 1, "encrypted"), (10, 9, "Deflate64"), (10, 14, "LZMA")])
def test_what_other_tools_can_read_is_sent_there(
    tmp_path: Path, target: TgsConfig, at: int, value: int, said: str
) -> None:
    """To download such an archive again does not help."""
    content = bytearray(zip_of({"a.csv": b"1"}))
    content[content.rfind(b"PK\x01\x02") + at] = value  # the flags, the method of compression
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(DataError, match=f"{said}.* Unpack it with 7-Zip or unzip and set dataset.root"):
        import_archive(tmp_path / "set.zip", target)


def test_what_is_no_archive_is_told(tmp_path: Path, target: TgsConfig) -> None:
    (tmp_path / "a.rar").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    for path, said in (
        ("a.rar", "not an archive by its name"),
        ("gone.zip", "no such file"),
        ("empty", "no archive in"),
    ):
        with pytest.raises(DataError, match=said):
            import_archive(tmp_path / path, target)


@pytest.fixture(scope="module")
def packed(drawn: Path) -> dict[str, bytes]:
    """The drawn set as archives, made once: their bytes hold the time."""
    found = {"zip": zip_of(kaggle_files(drawn))}
    for kind, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
            archive.add(drawn, ".")
        found[kind] = stream.getvalue()
    return found


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_archives_give_data_errors_and_leave_nothing(
    tmp_path_factory: pytest.TempPathFactory, packed: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"set.{kind}"
    content = packed[kind]
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content = content[:at] + data.draw(st.binary(min_size=1, max_size=8)) + content[at + 8 :]
    path.write_bytes(content)
    try:
        import_archive(path, TgsConfig(root=str(folder / "out" / "tgs")))
    except DataError:
        assert list((folder / "out").iterdir()) == []
    shutil.rmtree(folder)
