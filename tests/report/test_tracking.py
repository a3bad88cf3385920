"""What an epoch log leaves on disk, read back with pandas and with TensorBoard."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from saltern.errors import RunError
from saltern.report.events import event_files, read_events
from saltern.report.tracking import EpochLog
from saltern.runs import FoldDir


def scalars(fold: FoldDir, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(fold.tensorboard))
    events.Reload()
    return [(event.step, round(event.value, 6)) for event in events.Scalars(tag)]


def test_one_row_an_epoch_and_a_column_for_every_score_of_any_phase(tmp_path: Path) -> None:
    fold = FoldDir(tmp_path)
    with EpochLog(fold) as log:
        log.log(1, "warm_up", {"loss": 0.5, "loss_bce": 0.5, "val_iou_image": 1 / 3})
        on_disk_at_once = pd.read_csv(fold.metrics)
        log.log(2, "fine_tune", {"loss": 1.25, "loss_lovasz_hinge": 1.5, "val_iou_image": 0.7})
    assert len(on_disk_at_once) == 1
    table = pd.read_csv(fold.metrics)
    assert list(table.columns) == ["epoch", "phase", "loss", "loss_bce", "val_iou_image", "loss_lovasz_hinge"]
    assert table["epoch"].tolist() == [1, 2]
    assert table["phase"].tolist() == ["warm_up", "fine_tune"]
    assert table["val_iou_image"].tolist() == [1 / 3, 0.7]
    assert table["loss_bce"].isna().tolist() == [False, True]
    assert scalars(fold, "val/iou_image") == [(1, 0.333333), (2, 0.7)]
    assert scalars(fold, "loss") == [(1, 0.5), (2, 1.25)]
    assert scalars(fold, "loss/lovasz_hinge") == [(2, 1.5)]


def test_a_continued_run_replaces_the_epoch_it_repeats_and_forgets_later_ones(tmp_path: Path) -> None:
    fold = FoldDir(tmp_path)
    with EpochLog(fold) as first:
        for epoch in (1, 2, 3):
            first.log(epoch, "warm_up", {"loss": float(epoch), "lr": 0.1})
    with EpochLog(fold) as again:
        again.log(2, "warm_up", {"loss": 20.0})
    table = pd.read_csv(fold.metrics)
    assert table["epoch"].tolist() == [1, 2]
    assert table["loss"].tolist() == [1.0, 20.0]
    assert scalars(fold, "loss") == [(1, 1.0), (2, 20.0)]


def test_what_was_taken_back_is_in_no_event_file(tmp_path: Path) -> None:
    """Not even under a tag that does not come again, nor as a picture; a record cut off by a power cut is no matter."""
    fold = FoldDir(tmp_path)
    picture = np.full((4, 6, 3), (200, 100, 0), np.uint8)
    with EpochLog(fold) as first:
        for epoch in (1, 2, 3):
            first.log(epoch, "warm_up", {"loss": float(epoch), "loss_bce": float(epoch)})
            first.draw(epoch, {"a": picture})
    (file,) = fold.tensorboard.iterdir()
    with file.open("ab") as cut:
        cut.write(b"\x20\x00\x00")
    with EpochLog(fold) as again:
        again.log(3, "fine_tune", {"loss": 30.0})
    events = read_events(event_files(fold.tensorboard))
    found = sorted((value.tag, event.step) for event in events for value in event.summary.value)
    assert found == [("images/a", 1), ("images/a", 2), ("loss", 1), ("loss", 2), ("loss", 3), ("loss/bce", 1),
                     ("loss/bce", 2)]  # fmt: skip
    assert len(list(fold.tensorboard.iterdir())) == 1
    shown = next(value for event in events for value in event.summary.value if value.tag == "images/a").image
    pixels = cv2.imdecode(np.frombuffer(shown.encoded_image_string, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert (shown.height, shown.width) == (4, 6)
    assert (pixels == picture).all()


def test_nothing_is_written_before_the_first_epoch_and_the_old_rows_stay(tmp_path: Path) -> None:
    fold = FoldDir(tmp_path / "fold_0")
    EpochLog(fold).close()
    assert not fold.path.exists()


@pytest.mark.parametrize(
    "content", ["loss\n1.0\n", "epoch,loss\nx,1\n", "epoch,loss\n0,1\n", "epoch,loss\n1,1,5\n", 'epoch,loss\n1,"2\n']
)
def test_a_damaged_table_is_refused_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(RunError, match=r"metrics\.csv: not readable"):
        EpochLog(FoldDir(tmp_path))
