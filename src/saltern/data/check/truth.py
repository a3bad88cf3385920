"""Does the truth lie where the image changes? Finds masks that look shifted, mirrored, transposed or inverted.

The outline of a proper mask runs along edges of the image more than any other place does. One image says little, so
images are only named as worth a look; the mean over a data set is a sharp tool.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

REACH = 8
"""Shifts are tried up to this many pixels each way, at the working size."""
LONG_SIDE = 256
"""Images are shrunk so that their longer side is at most this many pixels."""
ENOUGH = 20
"""Images with an outline below which nothing is said about a data set."""
ENOUGH_FOR_SHIFT = 100
"""The same for a shift, which is harder to tell from the look of a few edges."""
_NEAR = 2
_WINDOW = (7, 7)


@dataclass(frozen=True)
class Alignment:
    """How one mask lies on its image."""

    surface: np.ndarray
    """float32 (2 REACH + 1, 2 REACH + 1): mean edge strength (standard deviations) under the outline shifted by
    (row - REACH, column - REACH); the middle is the outline as it is."""
    turned: dict[str, float]
    """The same for the mask turned some way, unshifted; `transposed` only for square images."""
    contrast: np.ndarray
    """(4,): brightness, roughness and slopes across and down, inside less outside, in standard deviations."""
    scale: float
    """Pixels of the image a pixel of the working size stands for."""

    def near(self) -> float:
        """Edge strength at the outline, give or take two pixels (an edge drawn beside its line is no shift)."""
        return float(self.surface[REACH - _NEAR : REACH + _NEAR + 1, REACH - _NEAR : REACH + _NEAR + 1].max())

    def far(self) -> float:
        """The highest edge strength at an outline shifted further than that."""
        return float(_without_middle(self.surface).max())


def _without_middle(surface: np.ndarray) -> np.ndarray:
    outer = surface.copy()
    outer[REACH - _NEAR : REACH + _NEAR + 1, REACH - _NEAR : REACH + _NEAR + 1] = -np.inf
    return outer


def align(grey: np.ndarray, target: np.ndarray) -> Alignment | None:
    """Measure one mask; None where there is nothing to measure.

    Args:
        grey: uint8 (H, W).
        target: uint8 (H, W) in {0, 1, 255}; void counts as background.
    """
    scale = max(1.0, max(grey.shape) / LONG_SIDE)
    mask = (target == 1).astype(np.uint8)
    if scale > 1:
        size = (max(1, round(grey.shape[1] / scale)), max(1, round(grey.shape[0] / scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    outline = _outline(mask)
    if outline.sum() < 20 or not 0.02 < mask.mean() < 0.98 or grey.std() < 1:
        return None
    edges = _edges(grey)
    padded = cv2.copyMakeBorder(edges, REACH, REACH, REACH, REACH, cv2.BORDER_CONSTANT, value=0)
    surface = cv2.matchTemplate(padded, outline, cv2.TM_CCORR) / outline.sum()
    strength = {
        "mirrored left to right": _strength(edges, outline[:, ::-1]),
        "mirrored top to bottom": _strength(edges, outline[::-1]),
    }
    if mask.shape[0] == mask.shape[1]:
        strength["transposed (rows taken for columns)"] = _strength(edges, outline.T)
    return Alignment(surface, strength, _contrast(grey, mask), scale)


def _outline(mask: np.ndarray) -> np.ndarray:
    return cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)


def _strength(edges: np.ndarray, outline: np.ndarray) -> float:
    return float(np.vdot(edges, outline) / outline.sum())


def _edges(grey: np.ndarray) -> np.ndarray:
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.5)
    steepness = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    return (steepness - steepness.mean()) / (steepness.std() + 1e-6)


def _contrast(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    values = grey.astype(np.float32)
    mean = cv2.blur(values, _WINDOW)
    rough = cv2.sqrt(cv2.max(cv2.blur(values * values, _WINDOW) - mean * mean, 0))
    slopes = [cv2.blur(np.abs(cv2.Sobel(values, cv2.CV_32F, *axis)), _WINDOW) for axis in ((1, 0), (0, 1))]
    differences = []
    for feature in (mean, rough, *slopes):
        gap = cv2.mean(feature, mask)[0] - cv2.mean(feature, 1 - mask)[0]
        differences.append(gap / (float(cv2.meanStdDev(feature)[1][0, 0]) + 1e-3))
    return np.array(differences)


def shifted(items: Sequence[Alignment]) -> list[int]:
    """Indices of masks whose outline fits far better elsewhere, the clearest first; some are false alarms."""
    doubtful = [index for index, item in enumerate(items) if item.far() > max(1.5, 2 * item.near())]
    return sorted(doubtful, key=lambda index: items[index].near() - items[index].far())


def inverted(items: Sequence[Alignment]) -> list[int]:
    """Indices of masks whose inside looks like the others' outside (Fisher's discriminant), the clearest first."""
    if len(items) < ENOUGH:
        return []
    contrasts = np.stack([item.contrast for item in items])
    spread = np.cov(contrasts.T) + 1e-6 * np.eye(contrasts.shape[1])
    score = contrasts @ np.linalg.solve(spread, contrasts.mean(axis=0))
    score /= score.std() + 1e-9
    return [int(index) for index in np.argsort(score, kind="stable") if score[index] < -1.5]


def whole_set(items: Sequence[Alignment]) -> list[str]:
    """What looks wrong with all masks of a data set at once, a sentence each; nothing is said of a few images."""
    if len(items) < ENOUGH:
        return []
    surface = np.mean([item.surface for item in items], axis=0)
    best = max(float(surface.max()), 0.1)
    lines = []
    for name in dict.fromkeys(name for item in items for name in item.turned):
        values = [item.turned[name] for item in items if name in item.turned]
        if len(values) >= ENOUGH and np.mean(values) > 1.5 * best:
            lines.append(f"the masks look {name}: turned back they fit the images better")
    row, column = np.unravel_index(surface.argmax(), surface.shape)
    away = max(abs(row - REACH), abs(column - REACH))
    if len(items) >= ENOUGH_FOR_SHIFT and not lines and away > _NEAR and best > 1.15 * surface[REACH, REACH]:
        scale = float(np.median([item.scale for item in items]))
        down, right = (round((int(at) - REACH) * scale) for at in (row, column))
        lines.append(f"the masks look shifted: moved by {down} px down and {right} px right they fit the images better")
    return lines
