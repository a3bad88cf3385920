"""Adjacency: neighbours are found on a drawn mosaic whose truth is known, and grids stay grids."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from saltern.data.layouts.section import draw_section
from saltern.data.likeness.adjacency import Link
from saltern.data.likeness.fingerprints import BEYOND, Fingerprint
from saltern.data.likeness.mosaics import find_mosaics, mosaic_picture, place

SIDE = 48


class Cut:
    """Tiles of several drawn sections, shuffled, a share of them lost, each with a contrast of its own."""

    def __init__(self, sections: int, grid: int, kept: float, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        places = [(s, r, c) for s in range(sections) for r in range(grid) for c in range(grid)]
        places = [place for place in places if random.random() < kept]
        random.shuffle(places)
        large = [draw_section(np.random.default_rng([seed, s]), grid * SIDE).image for s in range(sections)]
        self.tiles = []
        for s, r, c in places:
            tile = large[s][r * SIDE : (r + 1) * SIDE, c * SIDE : (c + 1) * SIDE].astype(float)
            tile = (tile - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-15, 15)
            self.tiles.append(np.clip(tile, 0, 255).astype(np.uint8))
        at = {where: index for index, where in enumerate(places)}
        self.truth = {(i, at[s, r, c + 1], "right") for (s, r, c), i in at.items() if (s, r, c + 1) in at}
        self.truth |= {(i, at[s, r + 1, c], "below") for (s, r, c), i in at.items() if (s, r + 1, c) in at}
        self.section = np.array([s for s, _, _ in places])


def prints_of(tiles: list[np.ndarray]) -> list[Fingerprint]:
    return [Fingerprint.of(tile) for tile in tiles]


@pytest.fixture(scope="module")
def cut() -> Cut:
    return Cut(sections=24, grid=5, kept=0.6)


def test_neighbours_on_a_drawn_mosaic_are_found_and_few_others(cut: Cut) -> None:
    mosaics = find_mosaics(prints_of(cut.tiles))
    found = {(link.first, link.second, link.direction) for link in mosaics.links}
    assert len(cut.truth) > 200
    assert len(found & cut.truth) >= 0.97 * len(found)
    assert len(found & cut.truth) >= 0.7 * len(cut.truth)
    false = len(found - cut.truth)
    assert abs(mosaics.chance - false) <= 6, "the estimate of false links is off"


def test_mosaics_do_not_depend_on_the_order_of_the_tiles(cut: Cut) -> None:
    order = np.random.default_rng(1).permutation(len(cut.tiles))
    straight = find_mosaics(prints_of(cut.tiles)).labels
    shuffled = find_mosaics(prints_of([cut.tiles[index] for index in order])).labels
    back = np.empty_like(shuffled)
    back[order] = shuffled
    pairs = {(int(one), int(other)) for one, other in zip(straight, back, strict=True)}
    assert len(pairs) == len(set(straight)) == len(set(back))


def test_strangers_are_not_linked() -> None:
    random = np.random.default_rng(0)
    tiles = [(gaussian_filter(random.standard_normal((40, 40)), 2) * 300 + 128).clip(0, 255) for _ in range(300)]
    mosaics = find_mosaics(prints_of([tile.astype(np.uint8) for tile in tiles]))
    assert len(mosaics.links) <= 3
    assert mosaics.sizes()[1] >= 294


def test_flat_borders_and_twins_link_nothing_false() -> None:
    black, grey = np.zeros((20, 20), np.uint8), np.full((20, 20), 90, np.uint8)
    framed = np.full((20, 20), 200, np.uint8)
    framed[5:15, 5:15] = np.random.default_rng(0).integers(0, 255, (10, 10))
    mosaics = find_mosaics(prints_of([black, black, grey, framed, framed.T.copy()]))
    assert mosaics.links == []
    assert mosaics.sizes() == {1: 5}


def test_a_twin_does_not_hide_a_neighbour() -> None:
    large = draw_section(np.random.default_rng(3), 2 * SIDE).image
    left, right = large[:SIDE, :SIDE], large[:SIDE, SIDE:]
    others = [draw_section(np.random.default_rng(seed), SIDE).image for seed in range(20, 40)]
    mosaics = find_mosaics(prints_of([left, right, right.copy(), *others]))
    assert (0, 1, "right") in {(link.first, link.second, link.direction) for link in mosaics.links}


def test_tiles_of_other_or_tiny_sizes_are_no_obstacle() -> None:
    large = draw_section(np.random.default_rng(3), 2 * SIDE).image
    tiles = [large[:SIDE, :SIDE], large[:SIDE, SIDE : SIDE + 30], large[:10, :10], large[:2, :2], large[:1, :9]]
    others = [draw_section(np.random.default_rng(seed), SIDE).image for seed in range(20, 40)]
    links = find_mosaics(prints_of([*tiles, *others])).links
    assert (0, 1, "right") in {(link.first, link.second, link.direction) for link in links}
    assert find_mosaics([]).sizes() == {}


def links_of(*links: tuple[int, int, str]) -> list[Link]:
    return [Link(first, second, direction, 1.0, 0.0, 0.0) for first, second, direction in links]


def test_a_square_closes_and_gets_its_places() -> None:
    mosaics = place(5, links_of((0, 1, "right"), (2, 3, "right"), (1, 3, "below"), (0, 2, "below")))
    assert mosaics.places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [0, 0]]
    assert mosaics.labels.tolist() == [0, 0, 0, 0, 1]
    assert len(mosaics.links) == 4
    assert mosaics.refused == []


@pytest.mark.parametrize(
    "links",
    [
        [(0, 1, "right"), (1, 0, "right")],  # right of itself
        [(0, 1, "right"), (0, 1, "below")],  # in two places
        [(0, 1, "right"), (1, 2, "below"), (2, 3, "right"), (0, 3, "below")],  # a ring that does not close
        [(0, 1, "right"), (0, 2, "right")],  # two tiles in one place
        [(0, 1, "right"), (1, 2, "right"), (3, 4, "right"), (3, 1, "below"), (4, 1, "below")],
    ],
)
def test_the_link_that_contradicts_clearer_ones_is_refused(links: list[tuple[int, int, str]]) -> None:
    mosaics = place(6, links_of(*links))
    assert mosaics.refused == links_of(links[-1])
    for label in set(mosaics.labels):
        cells = [tuple(cell) for cell in mosaics.places[mosaics.labels == label]]
        assert len(cells) == len(set(cells))


def test_the_picture_puts_every_tile_beside_its_neighbour() -> None:
    large = np.repeat(draw_section(np.random.default_rng(5), 2 * SIDE).image[:, :, None], 3, axis=2)
    tiles = [large[r : r + SIDE, c : c + SIDE] for r in (0, SIDE) for c in (0, SIDE)]
    mosaics = place(4, links_of((0, 1, "right"), (0, 2, "below"), (2, 3, "right")))
    picture = mosaic_picture(mosaics, tiles.__getitem__)
    assert picture is not None
    assert (picture[6:-6, 6:-6] == large).all()
    assert mosaic_picture(place(4, []), tiles.__getitem__) is None


def test_pictures_of_many_mosaics_are_put_on_shelves() -> None:
    tile = np.full((10, 10, 3), 7, np.uint8)
    mosaics = place(12, links_of(*((2 * k, 2 * k + 1, "right") for k in range(6))))
    picture = mosaic_picture(mosaics, lambda _: tile, width=70)
    assert picture is not None
    assert picture.shape == (3 * 22, 2 * 32, 3)
    assert (picture == 7).all(axis=2).sum() == 12 * 100


def test_the_foretold_seam_is_exact_on_a_straight_slope() -> None:
    assert sum(BEYOND) == pytest.approx(1)
    value = sum(weight * (10 - 4 * line) for line, weight in enumerate(BEYOND))
    assert value == pytest.approx(10 + 4 * 0.5)
