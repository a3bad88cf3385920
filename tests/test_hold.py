"""Two processes never hold the same; a dead holder is replaced, one on another machine only after it was silent."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from saltern import hold as holding
from saltern.errors import RunError
from saltern.hold import hold

HOLDER = """
import sys, time
from pathlib import Path
from saltern.hold import hold
with hold(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(mark: Path, seconds: float = 60) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(mark), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_holds_it_and_takes_over_from_the_dead(tmp_path: Path) -> None:
    mark = tmp_path / ".held" / "run"
    process = holder(mark)
    try:
        told = rf"the run: process {process.pid} on \S+, since 20\S+, works on it"
        with pytest.raises(RunError, match=told), hold(mark, "the run"):
            pytest.fail("held twice")
    finally:
        process.kill()
        process.wait()
    with hold(mark, "the run"):
        assert json.loads(mark.with_name("run.json").read_text())["process"] != process.pid
    assert list(tmp_path.iterdir()) == [], "nothing stays behind"


def test_whoever_waits_gets_it_when_the_other_lets_go(tmp_path: Path) -> None:
    mark = tmp_path / ".held" / "run"
    process = holder(mark, seconds=1)
    with hold(mark, "the run", wait=True):
        assert process.wait(timeout=30) == 0


def test_different_folds_are_held_side_by_side(tmp_path: Path) -> None:
    process = holder(tmp_path / ".held" / "fold_0")
    with hold(tmp_path / ".held" / "fold_1", "fold 1"):
        assert process.poll() is None
    process.kill()
    process.wait()


def from_elsewhere(mark: Path) -> None:
    """Make the mark that of a process on another machine; its holder goes on to touch it."""
    lines = mark.read_text().splitlines()
    mark.write_text("\n".join("host=elsewhere" if line.startswith("host=") else line for line in lines) + "\n")
    card = mark.with_name("run.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "host": "elsewhere", "machine": "elsewhere 1 2"}))


def test_a_silent_holder_elsewhere_is_replaced_a_living_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "LEASE", 2.0)
    mark = tmp_path / ".held" / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", "import saltern.hold; saltern.hold.LEASE = 2.0" + HOLDER, str(mark), "60"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    from_elsewhere(mark)
    with pytest.raises(RunError, match="on elsewhere, since"), hold(mark, "the run"):
        pytest.fail("held twice")
    process.kill()
    process.wait()
    began = time.monotonic()
    with hold(mark, "the run"):
        assert time.monotonic() - began >= 1.5, "not before it was silent for the lease"


def test_a_holder_whose_mark_was_deleted_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "LEASE", 0.6)
    mark = tmp_path / ".held" / "run"
    with hold(mark, "the run") as held:
        held.check()
        mark.unlink()
        with pytest.raises(RunError, match="another process may have taken this over"):
            held.check()
