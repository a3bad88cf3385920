"""What a person sees: in a terminal, a narrow one, a dumb one, through a pipe, without letters, without words."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ptys import Shown, in_terminal, script

TINY = [
    "name=t",
    "dataset.train=12",
    "dataset.test=4",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=6",
    "trainer.accelerator=cpu",
    "schedule.phases.warm_up.epochs=2",
    "schedule.phases.fine_tune.epochs=1",
]
EPOCH = r"fold_(\d) (\w+) (\d)/3: loss [\d.]+  val [\d.]+  best [\d.]+  \d+ images/s, \d+/18, \d+ s left"
BELIEVED = r"(\d\.\d{4}) precision_tgs; \d\.\d{4} to \d\.\d{4} on 4 test images \(95 %\)"
PHASES = (("warm_up", "1"), ("warm_up", "2"), ("fine_tune", "3"))


def plain(text: str) -> str:
    """Text without what moves the cursor and changes colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    """A folder with a run, and what its training showed in a terminal of 60 columns."""
    place = tmp_path_factory.mktemp("terminal")
    return place, in_terminal(script("train", *TINY), place, columns=60)


def piped(place: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = script("tune", *TINY, *arguments)
    place_env = {**os.environ, **env}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=place, timeout=200, env=place_env)


def test_a_narrow_terminal_has_one_live_line_and_keeps_one_line_an_epoch(trained: tuple[Path, Shown]) -> None:
    shown = trained[1]
    assert shown.status == 0, shown.text
    kept = re.findall(EPOCH, plain(shown.text))
    assert kept == [(fold, *phase) for fold in "01" for phase in PHASES]
    live = [plain(line) for line in shown.lines if "%" in line and "━" in line]
    assert len(live) > 6
    assert max(map(len, live)) <= 60
    assert "\x1b[?25h" in shown.text.rsplit("\x1b[?25l", 1)[1], "the cursor comes back"


def test_the_last_thing_shown_is_the_number_to_believe_and_where_the_files_are(trained: tuple[Path, Shown]) -> None:
    place, shown = trained
    end = plain(shown.text).rsplit("── t ─", 1)[1]
    assert re.search(BELIEVED, end)
    for name in ("report.html", "submission.csv", "scores.json"):
        assert str(place / "outputs" / "t" / name) in end.replace("\r\n", "\n"), "no path is cut in two"


def test_a_pipe_gets_plain_lines(trained: tuple[Path, Shown]) -> None:
    done = piped(trained[0])
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert re.search(r"^tune: \d+ images/s, 12/12, 0 s left$", done.stdout, re.M)
    assert done.stderr == ""


def test_quiet_leaves_the_number(trained: tuple[Path, Shown]) -> None:
    done = piped(trained[0], "-q")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(BELIEVED + "\n", done.stdout)
    assert f"estimate: {done.stdout.split()[0]} precision_tgs" in plain(trained[1].text)


def test_letters_that_a_stream_lacks_have_others_in_their_place(trained: tuple[Path, Shown]) -> None:
    done = piped(trained[0], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert re.search(BELIEVED, done.stdout)


def test_a_dumb_terminal_gets_lines_and_no_codes(trained: tuple[Path, Shown]) -> None:
    shown = in_terminal(script("tune", *TINY), trained[0], env={"TERM": "dumb"})
    assert shown.status == 0, shown.text
    assert "\x1b" not in shown.text
    assert re.search(r"^tune: \d+ images/s, 12/12, 0 s left", shown.text, re.M)


def test_without_colours_there_are_none(trained: tuple[Path, Shown]) -> None:
    coloured = in_terminal(script("tune", *TINY), trained[0]).text
    without = in_terminal(script("tune", *TINY), trained[0], env={"NO_COLOR": "1"}).text
    colours = r"\x1b\[(?:\d+;)*(?:3\d|9\d)m"
    assert re.search(colours, coloured)
    assert not re.search(colours, without)


@pytest.mark.parametrize(
    ("stage", "at"),
    [
        ("check", "check images"),
        ("train", "warm_up 2/3"),
        ("predict", "predict"),
    ],
)
def test_ctrl_c_ends_with_a_word_and_the_cursor(
    trained: tuple[Path, Shown], tmp_path: Path, stage: str, at: str
) -> None:
    place = tmp_path if stage == "train" else trained[0]
    shown = in_terminal(script(stage, *TINY), place, interrupt_at=at)
    assert shown.status in (130, 0), shown.text  # 0: it had all but ended
    assert "Traceback" not in shown.text
    if shown.status:
        assert "stopped: " in shown.text
    assert shown.text.count("\x1b[?25l") == shown.text.count("\x1b[?25h")


def test_two_processes_talk_with_one_voice(tmp_path: Path) -> None:
    command = script("train", *TINY, "trainer.devices=2", "trainer.batch_size=3", "quiet=true")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=280, env=env)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(BELIEVED, done.stdout)) == 1
    assert len(done.stdout.splitlines()) == 1
