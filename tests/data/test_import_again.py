"""What lies in the folder of an earlier import and is the user's outlives the next one, or that one is refused."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from saltern.config import SampleConfig, TgsConfig
from saltern.data.archives.place import import_archive
from saltern.data.archives.replacing import MANIFEST
from saltern.data.layouts.opening import open_dataset
from saltern.errors import DataError, StorageError

Files = dict[str, bytes]


def content_of(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to import from; `old` and `new` are drawn beside it."""
    for name, train in (("old", 4), ("new", 5)):
        open_dataset(SampleConfig(root=str(tmp_path / name), train=train, test=2, side=8))
        (tmp_path / name / "sample.json").unlink()
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def target(folder: Path) -> TgsConfig:
    """Where `old` was imported to."""
    config = TgsConfig(root=str(folder.parent / "out" / "tgs"))
    take(folder, "old", config)
    return config


def take(folder: Path, name: str, config: TgsConfig) -> None:
    shutil.make_archive(str(folder / "set"), "zip", folder.parent / name)
    assert not import_archive(folder / "set.zip", config).again


def test_files_of_the_users_own_stay_and_are_named(
    folder: Path, target: TgsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(target.root)
    mine = {"my_folds.csv": b"id,fold\n", "notes/a: b?.txt": b"mine", "train/images/.keep": b""}
    for name, content in mine.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "empty").mkdir()
    (root / "link").symlink_to(folder, target_is_directory=True)
    with caplog.at_level(logging.INFO):
        take(folder, "new", target)
    assert "kept what the import did not write: 'empty', 'link', 'my_folds.csv'" in caplog.text
    found = content_of(root)
    del found[MANIFEST]
    assert found == content_of(folder.parent / "new") | mine
    assert (root / "empty").is_dir()
    assert (root / "link").readlink() == folder


def test_a_changed_file_is_the_users_and_stops_an_import_that_has_another(folder: Path, target: TgsConfig) -> None:
    root = Path(target.root)
    (root / "train.csv").write_text((root / "train.csv").read_text() + "\n")
    before = content_of(root)
    with pytest.raises(DataError, match=r"'train\.csv' was changed after the import(?s:.)*Nothing was changed"):
        take(folder, "new", target)
    assert content_of(root) == before
    (root / "train.csv").write_bytes((folder.parent / "new" / "train.csv").read_bytes())
    take(folder, "new", target)
    assert content_of(root).items() > content_of(folder.parent / "new").items()


def test_a_file_of_the_users_where_the_archive_has_another_stops_the_import(folder: Path, target: TgsConfig) -> None:
    root = Path(target.root)
    for name, at in (("depths.csv", "depths.csv/mine.txt"), ("new.csv", "new.csv")):
        (folder.parent / "new" / name).write_text("id,z\n")
        if name == "depths.csv":
            (root / name).unlink()
            (root / name).mkdir()
        (root / at).write_text("mine")
    before = content_of(root)
    with pytest.raises(
        DataError, match=r"2 problems(?s:.)*'new\.csv' was not written by the import(?s:.)*'depths\.csv/mine\.txt'"
    ):
        take(folder, "new", target)
    assert content_of(root) == before


def test_an_import_of_an_older_version_is_kept_and_told(folder: Path, target: TgsConfig) -> None:
    root = Path(target.root)
    note = json.loads((root / MANIFEST).read_text())
    del note["written"]
    (root / MANIFEST).write_text(json.dumps(note))
    (root / "my_folds.csv").write_text("mine")
    before = content_of(root)
    assert import_archive(folder / "set.zip", target).again, "the same archives change nothing"
    with pytest.raises(DataError, match="by an older version of Saltern, which did not note its files"):
        take(folder, "new", target)
    assert content_of(root) == before


def test_an_archive_of_an_imported_folder_can_be_imported(
    folder: Path, target: TgsConfig, caplog: pytest.LogCaptureFixture
) -> None:
    (folder.parent / "tgs").mkdir()
    Path(target.root).rename(folder.parent / "tgs" / "tgs")
    with caplog.at_level(logging.INFO):
        take(folder, "tgs", target)
    assert "'tgs/import.json' of the archive is left out" in caplog.text
    found = content_of(Path(target.root))
    assert json.loads(found.pop(MANIFEST))["written"].keys() == found.keys() == content_of(folder.parent / "old").keys()


def test_a_link_to_the_root_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "tgs").symlink_to(tmp_path / "disk" / "tgs", target_is_directory=True)
    config = TgsConfig(root=str(tmp_path / "tgs"))
    for name in ("old", "new"):
        take(folder, name, config)
    assert (tmp_path / "tgs").is_symlink()
    assert content_of(tmp_path / "disk" / "tgs").items() > content_of(folder.parent / "new").items()


def test_what_was_set_aside_by_a_killed_import_is_not_thrown_away(folder: Path, target: TgsConfig) -> None:
    """Killed between two renames, and then something else was put in the place."""
    root = Path(target.root)
    root.rename(root.with_name(".tgs.before-import"))
    root.mkdir()
    (root / "other.txt").write_text("other")
    before = content_of(root.parent)
    with pytest.raises(DataError, match=r"(?s)was killed.*before is in .*\.tgs\.before-import.*Move one"):
        import_archive(folder / "set.zip", target)
    assert content_of(root.parent) == before


def test_a_disk_that_cannot_be_written_to_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/tgs: cannot be written: Not a directory"):
        take(folder, "old", TgsConfig(root=str(tmp_path / "file" / "tgs")))
