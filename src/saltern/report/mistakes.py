"""What is wrong with a mask: one kind for each image, defined here and nowhere else.

Only valid pixels count; `tp` are those that are foreground in truth and mask, and a pixel is wrong where they differ.

- **right**: no pixel is wrong.
- **false alarm**: the truth is empty, the mask is not.
- **missed**: the truth has foreground, and the mask hits none of it (tp = 0): it is empty or lies elsewhere.
- **boundary**: the mask hits the truth, and at least half of the wrong pixels lie near the truth's border.
- **region**: the mask hits the truth, and more than half of the wrong pixels lie further away: whole parts are wrong.

Near is within 2 % of the image's diagonal, rounded and at least one pixel, counted in steps to any of the eight
neighbours, on either side. It is the band of the Boundary IoU (Cheng et al., arXiv 2103.16562). The edge of the image
is no border. An object that is thinner than the band lies in it as a whole.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

KINDS = ("right", "false alarm", "missed", "boundary", "region")

SHARE = 0.02
"""Of the diagonal: how wide the band is on each side of the border."""


def kind_of(mask: NDArray[Any], target: NDArray[np.integer[Any]]) -> str:
    """The kind, one of KINDS, of `mask` (H, W) in {0, 1} against `target` (H, W) in {0, 1, 255}."""
    truth, valid = target == 1, target != 255
    foreground = (mask == 1) & valid
    wrong = (foreground != truth) & valid
    if not wrong.any():
        return "right"
    if not truth.any():
        return "false alarm"
    if not (foreground & truth).any():
        return "missed"
    near = np.count_nonzero(wrong & band(truth))
    return "boundary" if 2 * near >= np.count_nonzero(wrong) else "region"


def band(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) the pixels near the border of `truth` (H, W), inside and outside."""
    steps = max(1, round(SHARE * math.hypot(*truth.shape)))
    square, pixels = np.ones((3, 3), np.uint8), truth.astype(np.uint8)
    grown, shrunk = cv2.dilate(pixels, square, iterations=steps), cv2.erode(pixels, square, iterations=steps)
    return np.asarray(grown != shrunk)
