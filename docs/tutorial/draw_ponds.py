"""Draw a small competition, "ponds from the air", as an archive: `python docs/tutorial/draw_ponds.py data/ponds.zip`.

Nothing in it is real. It is laid out unlike any data set that Saltern knows: JPEG photographs of two sizes, masks of 0
and 255 with a folder and names of their own, flights whose photographs resemble each other, run lengths along the rows.
The answer, which a competition would keep, goes to `<archive without .zip>_answer.csv`.
"""

import argparse
import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from saltern import rle

SIZES = ((96, 128), (96, 96))
LABELLED, TEST = 20, 6
"""Flights."""


def main() -> None:
    """Write the archive and the answer."""
    parser = argparse.ArgumentParser(description="Draw a small competition, ponds from the air, as an archive.")
    parser.add_argument("archive", type=Path, help="the .zip file to write")
    parser.add_argument("--photographs", type=int, default=8, help="photographs of each flight (default: 8)")
    given = parser.parse_args()
    given.archive.parent.mkdir(parents=True, exist_ok=True)
    answer, sample = ["photo,pixels"], ["photo,pixels"]
    with zipfile.ZipFile(given.archive, "w") as archive:
        for flight in range(LABELLED + TEST):
            for number in range(given.photographs):
                name = f"flight{flight:02d}_{number:02d}"
                image, mask = draw(flight, number)
                part = "photographs" if flight < LABELLED else "test_photographs"
                archive.writestr(f"ponds/{part}/{name}.jpg", encoded(".jpg", image))
                if flight < LABELLED:
                    archive.writestr(f"ponds/outlines/{name}_pond.png", encoded(".png", mask * 255))
                else:
                    answer.append(f"{name},{rle.encode(mask, order='row') or '-1'}")
                    sample.append(f"{name},-1")
        archive.writestr("ponds/sample_submission.csv", "\n".join([*sample, ""]))
    path = given.archive.with_name(f"{given.archive.stem}_answer.csv")
    path.write_text("\n".join([*answer, ""]))
    print(f"{given.archive}: {LABELLED} labelled and {TEST} test flights of {given.photographs} photographs; {path}")


def draw(flight: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photograph, BGR uint8 (H, W, 3), and its mask (H, W) of 0 and 1; a flight has its ground, light and season."""
    season = np.random.default_rng(flight)
    rng = np.random.default_rng((flight, number))
    height, width = SIZES[flight % len(SIZES)]
    ground = season.uniform((40, 90, 70), (80, 140, 130))
    light = season.uniform(0.75, 1.2)
    coarse = rng.normal(0, 1, (height // 12, width // 12, 1)).astype(np.float32)
    fields = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    image = ground + 14 * fields + rng.normal(0, 5, (height, width, 3))
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.choice([0, 1, 2], p=[0.25, 0.5, 0.25])):
        cv2.fillPoly(mask, [outline(rng, height, width, season.uniform(10, 24))], 1)
    water = season.uniform((70, 50, 30), (120, 90, 60)) + rng.normal(0, 4, (height, width, 3))
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)[..., None]
    image = image * (1 - soft) + water * soft
    for _ in range(rng.integers(2, 6)):  # shadows of trees, dark as water but small
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(image, centre, int(rng.integers(2, 5)), (45, 60, 40), -1)
    return np.clip(image * light, 0, 255).astype(np.uint8), mask


def outline(rng: np.random.Generator, height: int, width: int, radius: float) -> NDArray[np.int32]:
    """A closed, wavy curve, points (N, 2) of x and y in pixels."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = sum(rng.normal(0, 0.18 / wave) * np.cos(wave * angles + rng.uniform(0, 6.3)) for wave in (1, 2, 3, 5))
    radii = radius * np.clip(1 + waves, 0.3, 2)
    centre = rng.uniform((0.1 * width, 0.1 * height), (0.9 * width, 0.9 * height))
    stretch = rng.uniform(0.7, 1.4)
    points = centre + np.stack([radii * np.cos(angles) * stretch, radii * np.sin(angles) / stretch], axis=1)
    return points.round().astype(np.int32)


def encoded(suffix: str, pixels: NDArray[np.uint8]) -> bytes:
    """The picture as the bytes of a file."""
    done, data = cv2.imencode(suffix, pixels)
    assert done, suffix
    return bytes(data)


if __name__ == "__main__":
    main()
