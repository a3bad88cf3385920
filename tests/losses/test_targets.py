import pytest
import torch

from saltern.errors import DataError
from saltern.losses.targets import byte_labels, prepare

LOGITS = torch.zeros(2, 1, 2, 3)
VALUES = torch.tensor([[[0, 1, 255], [1, 1, 0]], [[0, 0, 0], [255, 1, 1]]])


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64, torch.bfloat16]
)
def test_labels_come_out_as_bytes_whatever_dtype_goes_in(dtype):
    labels = prepare(LOGITS, VALUES.to(dtype))[1]
    assert labels.dtype == torch.uint8
    assert torch.equal(labels[:, 0], VALUES.to(torch.uint8))


def test_bool_targets_hold_no_void():
    labels = prepare(LOGITS, VALUES == 1)[1]
    assert torch.equal(labels[:, 0], (VALUES == 1).to(torch.uint8))


def test_a_target_may_have_a_channel():
    assert torch.equal(prepare(LOGITS, VALUES[:, None])[1], prepare(LOGITS, VALUES)[1])


@pytest.mark.parametrize("ignore_index", [-100, -1, 2, 7])
def test_another_ignore_index_becomes_255(ignore_index):
    target = torch.where(VALUES == 255, ignore_index, VALUES)
    assert torch.equal(prepare(LOGITS, target, ignore_index)[1], prepare(LOGITS, VALUES)[1])


@pytest.mark.parametrize("value", [2, 3, 254, 256, -1, 257, 511])
@pytest.mark.parametrize("dtype", [torch.int16, torch.int64, torch.float32])
def test_another_value_is_refused_and_named(value, dtype):
    target = VALUES.clone().to(dtype)
    target[1, 0, 1] = value
    message = rf"target: holds {value}; expected only 0, 1 and 255 \(ignored\)\. Divide masks"
    with pytest.raises(DataError, match=message):
        prepare(LOGITS, target)


@pytest.mark.parametrize("value", [0.5, 0.999, float("nan"), float("inf")])
def test_a_soft_target_is_refused(value):
    target = VALUES.float()
    target[0, 0, 0] = value
    with pytest.raises(DataError, match="expected only 0, 1 and 255"):
        prepare(LOGITS, target)


def test_255_is_a_wrong_value_where_another_one_is_ignored():
    with pytest.raises(DataError, match="expected only 0, 1 and -100"):
        prepare(LOGITS, VALUES, -100)
    with pytest.raises(DataError, match="expected only 0, 1 and -100"):
        prepare(LOGITS, VALUES.to(torch.uint8), -100)


def test_classes_are_counted():
    logits = torch.zeros(2, 3, 2, 3)
    assert byte_labels(VALUES, logits, 255, 3).max() == 255
    with pytest.raises(DataError, match="target: holds 3; expected only 0 to 2 and 255"):
        byte_labels(torch.where(VALUES == 1, 3, VALUES), logits, 255, 3)


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        (torch.zeros(2, 2, 3), VALUES, r"logits: shape \(2, 2, 3\); expected \(B, C, H, W\)"),
        (torch.zeros(2, 2, 2, 3), VALUES, r"logits: shape \(2, 2, 2, 3\) has 2 channels; expected \(B, 1, H, W\)"),
        (LOGITS.long(), VALUES, r"logits: dtype torch.int64; expected a floating dtype"),
        (LOGITS[:0], VALUES[:0], r"logits: shape \(0, 1, 2, 3\) holds nothing"),
        (LOGITS, VALUES[:1], r"target: shape \(1, 2, 3\) does not fit logits \(2, 1, 2, 3\); expected \(2, 2, 3\) or"),
        (LOGITS, VALUES.mT, r"target: shape \(2, 3, 2\) does not fit"),
        (LOGITS, VALUES.to("meta"), r"target is on meta, logits on cpu"),
        (LOGITS, VALUES.to(torch.complex64), r"target: dtype torch.complex64; expected"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_came_and_what_is_expected(logits, target, message):
    with pytest.raises(ValueError, match=message):
        prepare(logits, target)


@pytest.mark.parametrize(
    ("given", "inside"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_logits_become_single_precision_and_double_stays(given, inside):
    assert prepare(LOGITS.to(given), VALUES)[0].dtype == inside
