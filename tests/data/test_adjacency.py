"""Adjacency: neighbours are found on a drawn mosaic whose truth is known, and grids stay grids."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import pearsonr

from saltern.data.layouts.section import draw_section
from saltern.data.likeness.adjacency import MAX_FALSE, Link, find_seams
from saltern.data.likeness.chains import Chains, chained
from saltern.data.likeness.fingerprints import BEYOND, INNER_SEAMS, Fingerprint
from saltern.data.likeness.mosaics import find_mosaics, mosaic_picture, place

SIDE = 48


class Cut:
    """Tiles of several drawn sections, shuffled, a share of them lost, each with a contrast of its own."""

    def __init__(self, sections: int, grid: int, kept: float, seed: int = 0, noise: float | None = None) -> None:
        random = np.random.default_rng(seed)
        places = [(s, r, c) for s in range(sections) for r in range(grid) for c in range(grid)]
        places = [place for place in places if random.random() < kept]
        random.shuffle(places)
        large = [draw_section(np.random.default_rng([seed, s]), grid * SIDE).image for s in range(sections)]
        self.tiles = []
        for s, r, c in places:
            tile = large[s][r * SIDE : (r + 1) * SIDE, c * SIDE : (c + 1) * SIDE].astype(float)
            if noise is None:
                tile = (tile - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-15, 15)
            else:  # as hard as real tiles: noise, and a contrast that clips the ends
                tile += random.normal(0, noise, tile.shape)
                low, high = np.percentile(tile, [random.uniform(0, 4), 100 - random.uniform(0, 4)])
                tile = (tile - low) / max(high - low, 8) * random.uniform(150, 255) + random.uniform(0, 40)
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
    assert false <= mosaics.chance + 6, "the estimate of false links is off"


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


@pytest.fixture(scope="module")
def hard() -> Cut:
    return Cut(sections=90, grid=4, kept=0.3, seed=1, noise=1.0)


def chains_of(cut: Cut, max_ratio: float = 0.8, most: int = 40) -> Chains:
    return chained(find_seams(prints_of(cut.tiles)), max_ratio, [True] * len(cut.tiles), most)


def apart(cut: Cut, labels: np.ndarray) -> int:
    """Neighbours that do not share a label."""
    return sum(labels[first] != labels[second] for first, second, _ in cut.truth)


def test_the_loose_limit_leaves_few_neighbours_apart_on_hard_tiles(hard: Cut) -> None:
    loose, clear = chains_of(hard), find_mosaics(prints_of(hard.tiles))
    assert len(hard.truth) > 150
    found = {(link.first, link.second, link.direction) for link in loose.links}
    assert len(found & hard.truth) >= 0.92 * len(hard.truth)
    assert len(found & hard.truth) >= 0.7 * len(found)
    assert apart(hard, loose.labels) < 0.75 * apart(hard, clear.labels)
    assert {(link.first, link.second) for link in clear.links} <= {(link.first, link.second) for link in loose.links}


def test_false_links_among_the_clear_ones_are_not_underestimated(hard: Cut, cut: Cut) -> None:
    for tiles in (hard, cut):
        mosaics = find_mosaics(prints_of(tiles.tiles))
        false = {(link.first, link.second, link.direction) for link in mosaics.links} - tiles.truth
        assert len(false) <= mosaics.chance + 3
        assert mosaics.chance <= MAX_FALSE * len(mosaics.links)


def test_decoys_make_as_many_links_as_strangers_do() -> None:
    """Among tiles that continue nothing, links, links of one side, and links read backwards are as frequent."""
    random = np.random.default_rng(0)
    tiles = [(gaussian_filter(random.standard_normal((30, 30)), 1.5) * 300 + 128).clip(0, 255) for _ in range(700)]
    seams = find_seams(prints_of([tile.astype(np.uint8) for tile in tiles]))
    counts = [sum(link.ratio < 0.8 for link in links) for links in (seams.links, seams.backwards, seams.same_side)]
    assert min(counts) > 60
    assert max(counts) < 1.4 * min(counts)


def test_a_rough_tile_foretells_its_own_seams_badly() -> None:
    """Beside scipy's correlations, seam by seam."""
    grey = Cut(sections=1, grid=1, kept=1.1).tiles[0]
    seams = [2 + number * (SIDE - 6) // (INNER_SEAMS - 1) for number in range(INNER_SEAMS)]
    distances = []
    for row in seams:
        above = sum(weight * grey[row - line].astype(float) for line, weight in enumerate(BEYOND))
        below = sum(weight * grey[row + 1 + line].astype(float) for line, weight in enumerate(BEYOND))
        distances.append(1 - pearsonr(above, below).statistic)
    smooth = Fingerprint.of(grey)
    assert smooth.misses["below"] == pytest.approx(np.median(distances), abs=1e-4)
    assert Fingerprint.of(grey.T.copy()).misses["right"] == pytest.approx(smooth.misses["below"], abs=1e-6)
    noisy = (grey + np.random.default_rng(0).normal(0, 20, grey.shape)).clip(0, 255).astype(np.uint8)
    assert Fingerprint.of(noisy).misses["below"] > smooth.misses["below"]
    assert np.isnan(Fingerprint.of(grey[:5]).misses["below"])


def test_chains_stay_below_their_size_but_for_clear_links(hard: Cut) -> None:
    free, tight = chains_of(hard, 1.0, len(hard.tiles)), chains_of(hard, 1.0, 3)
    clear = chains_of(hard, 1e-9, 3)  # nothing but clear links
    largest = np.bincount(clear.labels).max()
    assert free.refused == 0
    assert tight.refused > 0
    assert len(tight.links) + tight.refused == len(free.links)
    assert np.bincount(tight.labels).max() <= max(3, largest)
    assert all(free.labels[link.first] == free.labels[link.second] for link in free.links)
    joined_by_scipy = connected_components(
        coo_matrix(
            (np.ones(len(free.links)), tuple(np.array([(one.first, one.second) for one in free.links]).T)),
            shape=(len(hard.tiles),) * 2,
        ),
        directed=False,
    )[0]
    assert len(set(free.labels)) == joined_by_scipy


def test_only_labelled_tiles_count_for_the_size_of_a_chain(hard: Cut) -> None:
    seams = find_seams(prints_of(hard.tiles))
    assert chained(seams, 1.0, [False] * len(hard.tiles), 2).refused == 0


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
