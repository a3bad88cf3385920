"""Runs in TensorBoard's real server, asked as its page asks it."""

import io
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from saltern.config import compose_config
from saltern.report.outcome import write_outcome
from saltern.report.tracking import EpochLog
from saltern.runs import RunDir

ROOT = Path(__file__).parents[2]
TOOK_BACK = {"loss": 9.0, "loss_bce": 9.0, "lr_encoder": 9.0}
SCORES = {"iou_image": 0.625, "precision_tgs": 0.5}


def begun(outputs: Path, name: str, fold: int, rate: float) -> None:
    """A fold of three epochs that was continued at the second one, with another loss."""
    with EpochLog(RunDir(outputs / name).fold(fold)) as log:
        log.log(1, "warm_up", {"loss": 1.0, "loss_bce": 1.0, "lr": rate, "lr_encoder": rate / 10})
        log.draw(1, {"salt": np.full((5, 7, 3), (10, 200, 30), np.uint8)})
        for epoch in (2, 3):
            log.log(epoch, "warm_up", TOOK_BACK)
    with EpochLog(RunDir(outputs / name).fold(fold)) as log:
        log.log(2, "fine_tune", {"loss": 0.5, "loss_dice": 0.25, "images_per_s": 80.0, "memory_mib": 900.0})


def board(*overrides: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "scripts" / "board.py"), *overrides]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Asks a server over two runs, of which one has two folds and a final score."""
    place = tmp_path_factory.mktemp("board")
    for fold in (0, 1):
        begun(place / "outputs", "one", fold, 0.001)
    begun(place / "outputs", "two", 0, 0.002)
    for name, seed in (("one", 0), ("two", 1)):
        config = compose_config("run", [f"name={name}", f"seed={seed}"])
        scores = {"pooled": {"at_decision": SCORES}, "nested": None, "estimate": 0.4375, "tuned_for": "precision_tgs"}
        write_outcome(RunDir(place / "outputs" / name), config, scores)
        write_outcome(RunDir(place / "outputs" / name), config, scores)  # as by a second `make tune`
    server = board("port=0", cwd=place)
    try:
        assert server.stdout is not None
        url = re.search(r"http://\S+", server.stdout.readline())
        assert url, server.communicate(timeout=10)

        def asked(path: str) -> Any:
            with urlopen(url[0] + path, timeout=30) as answer:
                content = answer.read()
            return json.loads(content) if answer.headers.get_content_type() == "application/json" else content

        end = time.monotonic() + 100
        while len(asked("data/plugin/scalars/tags")) < 5 and time.monotonic() < end:
            time.sleep(0.5)
        yield asked
    finally:
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=60)
    assert server.returncode == 0
    assert said[0] in ("Ctrl-C ends it\nended\n", "ended\n"), "no request; the first of it may be read already"
    assert said[1] == "", "nothing of TensorFlow"


def test_the_folds_of_a_run_stand_in_one_chart(ask: Callable[[str], Any]) -> None:
    tags = ask("data/plugin/scalars/tags")
    folds = ["one/fold_0/tensorboard", "one/fold_1/tensorboard", "two/fold_0/tensorboard"]
    assert sorted(tags) == [*folds[:2], "one/tensorboard", folds[2], "two/tensorboard"]
    wanted = {"loss", "loss/bce", "loss/dice", "lr", "lr/encoder", "images_per_s", "memory_mib"}
    assert all(set(tags[fold]) == wanted for fold in folds), "a chart is a tag, a line in it a run"


def test_no_step_is_doubled_or_was_taken_back(ask: Callable[[str], Any]) -> None:
    def series(tag: str) -> list[tuple[int, float]]:
        points = ask(f"data/plugin/scalars/scalars?run={quote('one/fold_0/tensorboard')}&tag={quote(tag)}")
        return [(step, round(value, 6)) for _, step, value in points]

    assert series("loss") == [(1, 1.0), (2, 0.5)]
    assert series("loss/bce") == [(1, 1.0)]
    assert series("loss/dice") == [(2, 0.25)]
    assert series("lr/encoder") == [(1, 0.0001)]


def test_the_pictures_are_there(ask: Callable[[str], Any]) -> None:
    assert "images/salt" in ask("data/plugin/images/tags")["one/fold_1/tensorboard"]
    run, tag = quote("one/fold_1/tensorboard"), quote("images/salt")
    (found,) = ask(f"data/plugin/images/images?run={run}&tag={tag}&sample=0")
    assert found["step"] == 1
    pixels = np.asarray(Image.open(io.BytesIO(ask(f"data/plugin/images/individualImage?{found['query']}"))))
    assert pixels.shape == (5, 7, 3)
    assert (pixels == (10, 200, 30)).all()


def test_every_run_is_a_row_with_its_settings_and_final_scores(ask: Callable[[str], Any]) -> None:
    request = {
        "startIndex": 0,
        "sliceSize": 10,
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [{"hparam": "seed", "includeInResult": True}],
    }
    groups = ask(f"data/plugin/hparams/session_groups?request={quote(json.dumps(request))}")["sessionGroups"]
    assert {group["name"]: group["hparams"]["seed"] for group in groups} == {"one": 0, "two": 1}
    scores = {item["name"]["tag"]: item["value"] for item in groups[0]["metricValues"]}
    assert scores == {"final/iou_image": 0.625, "final/precision_tgs": 0.5, "estimate/precision_tgs": 0.4375}
    experiment = ask(f"data/plugin/hparams/experiment?request={quote(json.dumps({'experimentName': '0'}))}")
    settings = {info["name"] for info in experiment["hparamInfos"]}
    assert {"model.encoder", "schedule.phases.warm_up.lr", "optim.name"} <= settings
    assert not settings & {"trainer.workers", "name"}, "where it was computed is no setting"


def test_an_address_that_is_taken_is_said(ask: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(HTTPError):
        ask("data/plugin/no/such/thing")
    for override, part in (("host=192.0.2.1", "cannot listen there"), ("port=70000", "expected 1 to 65535")):
        begun(tmp_path / "outputs", "one", 0, 0.1)
        server = board(override, cwd=tmp_path)
        said = server.communicate(timeout=100)
        assert (server.returncode, said[0]) == (2, "")
        assert part in said[1]


def test_without_a_run_there_is_nothing_to_show(tmp_path: Path) -> None:
    server = board(cwd=tmp_path)
    said = server.communicate(timeout=100)
    assert server.returncode == 2
    assert "no run here has written anything for TensorBoard yet" in said[1]
