"""An import that is killed, stopped or runs into a full disk at any of its steps: the next one ends well."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from packing import content_of, tar_of, zip_of
from tries import Tally

from saltern.config import SampleConfig, TgsConfig
from saltern.data.archives.place import import_archive
from saltern.data.archives.replacing import MANIFEST
from saltern.data.layouts.opening import open_dataset
from saltern.errors import SalternError

MUTATING = {"os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link", "os.symlink", "shutil.copyfile"}
MINE = {"my_folds.csv": b"id,fold\n", "notes/a.txt": b"mine", "train/images/.keep": b""}
"""What the user put into the folder of an import."""
RIGHT, REFUSED, STOPPED, KILLED = 0, 2, 130, 137
FAULTS = {"killed": KILLED, "stopped": STOPPED, "a full disk": REFUSED}


def kill() -> None:
    os._exit(KILLED)


def stop() -> None:
    raise KeyboardInterrupt


def fill() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


HOW: dict[str, Callable[[], None]] = {"killed": kill, "stopped": stop, "a full disk": fill}


def child(work: Callable[[], object], folder: Path, step: int, fault: Callable[[], None]) -> tuple[int, int]:
    """Do `work` in a process that `fault` hits at its `step`-th change below `folder`: exit status, changes counted."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            seen = len(stream.read())
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), seen
    signal.alarm(60)
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in MUTATING) and str(arguments[0]).startswith(str(folder)):
            seen += 1
            os.write(writer, b".")
            if seen == step:
                fault()

    status = 1
    try:
        sys.addaudithook(watch)
        work()
        status = RIGHT
    except SalternError:
        status = REFUSED
    except KeyboardInterrupt:
        status = STOPPED
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Two small data sets in TGS layout, of which some files have the same names."""
    base = tmp_path_factory.mktemp("drawn")
    found = []
    for number, (train, test) in enumerate([(3, 2), (2, 3)]):
        open_dataset(SampleConfig(root=str(base / str(number)), train=train, test=test, side=8))
        found.append(
            {name: content for name, content in content_of(base / str(number)).items() if name != "sample.json"}
        )
    return found[0], found[1]


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def assert_ends_well(source: Path, root: Path, wanted: dict[str, bytes]) -> None:
    import_archive(source, TgsConfig(root=str(root)))
    found = content_of(root)
    assert found.pop(MANIFEST)
    assert found == wanted, sorted(found.keys() ^ wanted.keys())
    assert [path.name for path in root.parent.iterdir()] == [root.name], "leftovers"


@pytest.mark.parametrize("earlier", [False, True])
def test_faults_at_every_step(
    earlier: bool,
    sets: tuple[dict[str, bytes], dict[str, bytes]],
    tally: Callable[[str], Tally],
    scale: int,
    tmp_path: Path,
) -> None:
    mine, (old, new) = tally("archives (faults)"), sets
    archives = {"old.zip": zip_of(old), "new.tar": tar_of(new), "nested.zip": zip_of({"set.zip": zip_of(new)})}
    put(tmp_path / "in", archives)
    ready, kept = tmp_path / "ready" / "tgs", MINE if earlier else {}
    ready.parent.mkdir()
    if earlier:
        import_archive(tmp_path / "in" / "old.zip", TgsConfig(root=str(ready)))
        put(ready, MINE)
    source = tmp_path / "in" / ("nested.zip" if scale > 1 and not earlier else "new.tar")

    def begin(name: str) -> Path:
        shutil.copytree(ready.parent, tmp_path / name)
        return tmp_path / name / "tgs"

    root = begin("count")
    status, steps = child(partial(import_archive, source, TgsConfig(root=str(root))), root.parent, 0, kill)
    assert status == RIGHT
    assert steps > len(new)
    for fault, expected in FAULTS.items():
        for step in range(1, steps + 1, 1 if scale > 1 else 7):
            root = begin(f"{fault} {step}")
            whole = [content_of(ready), content_of(tmp_path / "count" / "tgs")]
            work = partial(import_archive, source, TgsConfig(root=str(root)))
            status, _ = child(work, root.parent, step, HOW[fault])
            what = f"{fault} at step {step} of {steps}, an earlier import there: {earlier}"
            # at the last steps, which tidy up, a full disk is no reason to refuse what is in place
            assert status == expected or (status == RIGHT and fault == "a full disk"), f"{what}: ended with {status}"
            between = fault == "killed" and not root.exists() and (root.parent / ".tgs.before-import").exists()
            assert content_of(root) in whole or between, f"{what}: the data set is neither the old nor the new one"
            mine.attempt(what, partial(assert_ends_well, source, root, new | kept))
            shutil.rmtree(root.parent)
