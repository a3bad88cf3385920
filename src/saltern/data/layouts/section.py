"""Draw one synthetic seismic section and the salt in it."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

Grid = np.ndarray
"""float (side, side); y down, x to the right, in pixels."""

EMPTY_SHARE = 0.36


@dataclass(frozen=True)
class Section:
    """A drawn section: `image` uint8 (side, side), `mask` uint8 {0, 1} (side, side), `depth` in metres."""

    image: np.ndarray
    mask: np.ndarray
    depth: int


def draw_section(random: np.random.Generator, side: int) -> Section:
    """One section of `side` × `side` pixels; the same generator state gives the same section."""
    y, x = np.mgrid[:side, :side].astype(float)
    salt = np.full((side, side), -1.0) if random.random() < EMPTY_SHARE else _salt_distance(random, y, x)
    mask = (salt > 0).astype(np.uint8)
    warp = _layering(random, y, x) + _drag(random, salt, side)
    rocks = _reflectors(random, warp, side)
    rocks *= 1 + 0.5 * _smooth(random, side, side / 5)
    rocks = _disturb(random, rocks, side)
    seismic = _insert_salt(random, rocks, salt, side)
    seismic += random.uniform(0.04, 0.16) * _smooth(random, side, random.uniform(0.5, 1.1))
    seismic = gaussian_filter(seismic, random.uniform(0.3, 0.9))
    middle, contrast = random.uniform(85, 165), random.uniform(22, 52)
    image = np.clip(middle + contrast * seismic / max(seismic.std(), 1e-6) * 0.9, 0, 255).astype(np.uint8)
    return Section(image, mask, int(random.integers(50, 960)))


def _smooth(random: np.random.Generator, side: int, scale: float) -> Grid:
    """Noise with features of `scale` pixels, mean about 0, standard deviation 1."""
    noise = gaussian_filter(random.standard_normal((side, side)), scale, mode="reflect")
    return (noise - noise.mean()) / max(noise.std(), 1e-6)


def _layering(random: np.random.Generator, y: Grid, x: Grid) -> Grid:
    """The stratigraphic depth of every pixel: dipping, folded, and faulted."""
    side = len(y)
    folds = (
        random.uniform(0.0, 0.09)
        * side
        * np.sin(
            2 * np.pi * (x / side * random.uniform(0.4, 1.6) + y / side * random.uniform(-0.3, 0.3) + random.random())
        )
    )
    warp = y + x * random.normal(0, 0.28) + folds + random.uniform(0, 0.02) * side * _smooth(random, side, side / 8)
    for _ in range(random.integers(0, 4)):
        slope, at = random.normal(0, 0.5), random.uniform(0, side)
        warp = warp + np.where(x + slope * (y - side / 2) > at, random.normal(0, 0.06) * side, 0)
    return warp


def _drag(random: np.random.Generator, salt: Grid, side: int) -> Grid:
    """Layers bend up beside the salt that rose through them."""
    reach = random.uniform(0.05, 0.2) * side
    return random.uniform(0, 0.14) * side * np.exp(np.minimum(salt, 0) / reach)


def _reflectors(random: np.random.Generator, warp: Grid, side: int) -> Grid:
    """A random reflectivity series, band-limited as by a wavelet, laid out along the layers."""
    per_pixel, margin = 4, side
    series = random.standard_normal(per_pixel * (side + 2 * margin)) ** 3
    width = per_pixel * random.uniform(0.9, 2.6)
    trace = gaussian_filter1d(series, width, order=2)
    trace /= max(np.abs(trace).mean() * 1.6, 1e-6)
    at = np.clip((warp + margin) * per_pixel, 0, len(trace) - 1)
    return map_coordinates(trace, [at], order=1)


def _salt_distance(random: np.random.Generator, y: Grid, x: Grid) -> Grid:
    """Positive inside the salt: roughly the distance to its outline, in pixels, before roughening."""
    side = len(y)
    kind = random.choice(["dome", "flank", "sheet", "top"], p=[0.33, 0.38, 0.12, 0.17])
    if kind == "dome":
        half, top = random.uniform(0.12, 0.42) * side, random.uniform(0.05, 0.75) * side
        middle, widen = random.uniform(0.1, 0.9) * side, random.uniform(-0.1, 0.5)
        distance = np.minimum(half + widen * (y - top) - np.abs(x - middle), (y - top) * 1.2)
    elif kind == "flank":
        lean, at = random.normal(0, 0.45), random.uniform(0.12, 0.8) * side
        distance = at + lean * (y - side / 2) - x
        distance = distance if random.random() < 0.5 else distance[:, ::-1]
    elif kind == "sheet":
        tilt, at = random.normal(0, 0.35), random.uniform(0.15, 0.85) * side
        distance = random.uniform(0.06, 0.22) * side - np.abs(y - at - tilt * (x - side / 2))
        distance = np.minimum(distance, random.choice([-1, 1]) * (x - random.uniform(0, 1) * side))
    else:
        distance = y - random.uniform(0.2, 0.85) * side - random.normal(0, 0.3) * (x - side / 2)
    rough = random.uniform(0.02, 0.07) * side * _smooth(random, side, side / random.uniform(9, 16))
    return distance + rough + random.uniform(0.2, 1.1) * _smooth(random, side, random.uniform(1.0, 2.0))


def _disturb(random: np.random.Generator, rocks: Grid, side: int) -> Grid:
    """What is no salt but resembles it: quiet water above, and stretches where the reflectors are lost."""
    if random.random() < 0.18:
        lost = _smooth(random, side, side / random.uniform(4, 9)) > random.uniform(0.9, 1.8)
        keep = gaussian_filter(1.0 - lost, random.uniform(1.0, 4.0))
        chaos = random.uniform(0.4, 0.8) * _smooth(random, side, random.uniform(0.8, 1.8))
        rocks = rocks * keep + chaos * (1 - keep)
    if random.random() < 0.12:
        slope, at = random.normal(0, 0.08), random.uniform(0.1, 0.5) * side
        y, x = np.mgrid[:side, :side]
        water = y + slope * x < at
        rocks = np.where(water, 0.03 * rocks - 0.5, rocks)
    return rocks


def _insert_salt(random: np.random.Generator, rocks: Grid, salt: Grid, side: int) -> Grid:
    """Dim, slightly brighter chaos inside, a bright and often broken reflection along the outline, a blurred edge."""
    inside = 1 / (1 + np.exp(-np.clip(salt / random.uniform(0.4, 1.4), -30, 30)))
    texture = random.uniform(0.05, 0.25) * _smooth(random, side, random.uniform(0.8, 2.2))
    tone, through = random.uniform(0.35, 1.0), random.uniform(0.0, 0.08)
    filled = rocks * (1 - inside * (1 - through)) + (tone + texture) * inside
    strength = random.uniform(0.4, 2.2) * np.clip(0.6 + _smooth(random, side, side / 5), 0, 1.5)
    width = random.uniform(0.8, 1.8)
    return filled + strength * np.exp(-((salt - width) ** 2) / (2 * width**2))
