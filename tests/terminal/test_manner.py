"""Bugs, warnings and words that no run knows, as every script answers them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ptys import ROOT

START = f"""
import sys, warnings
sys.path.insert(0, {str(ROOT / "scripts")!r})
import console
"""


def run(place: Path, body: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A script of our own, by the entry that all scripts share."""
    (place / "mine.py").write_text(f"{START}\ndef main():\n    {body}\nconsole.enter(main)\n")
    command = [sys.executable, str(place / "mine.py"), *arguments]
    place_env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **env}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=place, timeout=100, env=place_env)


def test_a_bug_is_said_in_a_few_lines_and_its_traceback_lies_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    done = run(tmp_path, "{}['no such key']", "seed=3")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    assert "KeyError: 'no such key'" in done.stderr
    (file,) = (tmp_path / "outputs" / "tracebacks").iterdir()
    assert str(file) in done.stderr
    written = file.read_text()
    assert "Traceback (most recent call last)" in written
    assert "{}['no such key']" in written, "the line that failed"
    assert "mine.py seed=3" in written, "the command"


def test_debug_shows_the_traceback_of_a_bug_and_of_a_users_error(tmp_path: Path) -> None:
    bug = run(tmp_path, "1 / 0", "debug=true", TMPDIR=str(tmp_path))
    assert bug.returncode == 1
    assert "Traceback (most recent call last)" in bug.stderr
    assert "ZeroDivisionError: division by zero" in bug.stderr
    meant = "from saltern.errors import RunError; raise RunError('no such thing')"
    plain, shown = run(tmp_path, meant), run(tmp_path, meant, "debug=true")
    assert (plain.returncode, plain.stderr) == (2, "RunError: no such thing\n")
    assert shown.returncode == 2
    assert "Traceback" in shown.stderr
    assert shown.stderr.endswith("RunError: no such thing\n")


def test_a_traceback_that_cannot_be_written_is_shown(tmp_path: Path) -> None:
    body = "import mishap; mishap.write_text = refuse; 1 / 0"
    before = "from saltern.errors import StorageError\n    def refuse(*_): raise StorageError('full')\n    "
    done = run(tmp_path, before + body)
    assert done.returncode == 1
    assert "could be written nowhere" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_librarys_warning_is_one_line_and_noise_is_none(tmp_path: Path) -> None:
    body = "warnings.warn('take\\n care', UserWarning); warnings.warn(\"html5lib's sanitizer is deprecated; see\")"
    done = run(tmp_path, body)
    (line,) = done.stdout.splitlines()
    assert line.startswith("warning: take care (UserWarning, ")
    assert line.endswith("mine.py:7)")
    assert run(tmp_path, body, "debug=true").stderr.count("sanitizer is deprecated") >= 1
    quiet = run(tmp_path, body + "; console.say('much'); console.answer('0.5')", "-q")
    assert quiet.stdout == "0.5\n"
    assert quiet.stderr.startswith("warning: take care")


@pytest.mark.parametrize("word", ["quiet=maybe", "debug=", "debug=2"])
def test_another_value_is_refused(tmp_path: Path, word: str) -> None:
    done = run(tmp_path, "console.say('ran')", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{word}: expected {word.partition('=')[0]}=true or" in done.stderr


def test_what_a_script_starts_is_as_quiet_as_itself(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(f"{START}\ndef main():\n    console.say('inner')\nconsole.enter(main)\n")
    body = "import subprocess; subprocess.run([sys.executable, 'inner.py'], check=True)"
    assert run(tmp_path, body).stdout == "inner\n"
    for how in ("quiet=true", "--quiet"):
        assert run(tmp_path, body, how).stdout == ""
