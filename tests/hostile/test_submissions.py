"""Submissions as people write them: counted as an independent decoder counts, or refused."""

import csv
import io
import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tries import Tally

from saltern.config.schema import SubmissionConfig
from saltern.submission.table import Sizes, count_submission, write_submission
from saltern.submission.voc import write_voc_results

Masks = dict[str, np.ndarray]
Rows = list[list[str]]

FORMS = {
    "tgs": SubmissionConfig(),
    "siim": SubmissionConfig(id_column="ImageId", mask_column="EncodedPixels", empty="-1", relative=True, index_base=0),
    "rows": SubmissionConfig(id_column="img", order="row", empty="-1"),
}


def draw(rng: np.random.Generator) -> Masks:
    """Masks of different sizes, ids that look like other things; the first has its first and its last pixel set."""
    names = ["007", "1e5", "NA", "nan", "a,b", 'q"q', "jürgen", "-1", "x y"]
    masks = {name: (rng.random(rng.integers(2, 9, 2)) < 0.5).astype(np.uint8) for name in names}
    masks["007"][[0, -1], [0, -1]] = 1
    masks["NA"][:] = 0
    return masks


def runs_of(mask: np.ndarray, form: SubmissionConfig) -> list[list[int]]:
    """Start and length of every run as `form` numbers them, pixel by pixel."""
    height, width = mask.shape
    walk = (
        [(row, column) for column in range(width) for row in range(height)]
        if form.order == "column"
        else list(itertools.product(range(height), range(width)))
    )
    runs: list[list[int]] = []
    for number, place in enumerate(walk):
        if mask[place] and (number == 0 or not mask[walk[number - 1]]):
            runs.append([number, 0])
        if mask[place]:
            runs[-1][1] += 1
    if form.relative:
        ends = [0, *(start + length for start, length in runs)]
        return [[start - end + (form.index_base if not k else 0), length]
                for k, ((start, length), end) in enumerate(zip(runs, ends, strict=False))]  # fmt: skip
    return [[start + form.index_base, length] for start, length in runs]


def rows_of(masks: Masks, form: SubmissionConfig) -> Rows:
    texts = {name: " ".join(f"{a} {b}" for a, b in runs_of(mask, form)) for name, mask in masks.items()}
    return [[form.id_column, form.mask_column], *([name, text or form.empty] for name, text in texts.items())]


def text_of(rows: Rows, **style: object) -> str:
    stream = io.StringIO()
    csv.writer(stream, **{"lineterminator": "\n", **style}).writerows(rows)  # type: ignore[arg-type]
    return stream.getvalue()


Change = Callable[[Rows], str | bytes]
"""From the rows of a right file to the content of a changed one."""


def cell(change: Callable[[str], str]) -> Change:
    """A change of the first mask's cell."""
    return lambda rows: text_of([rows[0], [rows[1][0], change(rows[1][1])], *rows[2:]])


HARMLESS: dict[str, Change] = {
    "as it is": text_of,
    "byte order mark": lambda rows: b"\xef\xbb\xbf" + text_of(rows).encode(),
    "CRLF": lambda rows: text_of(rows, lineterminator="\r\n"),
    "CR": lambda rows: text_of(rows, lineterminator="\r"),
    "quotes": lambda rows: text_of(rows, quoting=csv.QUOTE_ALL),
    "blank lines": lambda rows: text_of(rows).replace("\n", "\n\n"),
    "other order": lambda rows: text_of([rows[0], *rows[:0:-1]]),
    "blanks around": lambda rows: text_of([rows[0], *([a, f"  {b.replace(' ', '  ')} "] for a, b in rows[1:])]),
    "an id too many": lambda rows: text_of([*rows, ["more", "1 1"]]),
    "no last line end": lambda rows: text_of(rows).rstrip("\n") if rows[-1][1] else text_of(rows),
}
FILES: dict[str, Change] = {
    "empty": lambda rows: "",
    "no header": lambda rows: text_of(rows[1:]),
    "other header": lambda rows: text_of([["id", "mask"], *rows[1:]]),
    "columns turned": lambda rows: text_of([row[::-1] for row in rows]),
    "a column more": lambda rows: text_of([[*row, ""] for row in rows]),
    "an index": lambda rows: text_of([[str(k), *row] for k, row in enumerate(rows)]),
    "semicolons": lambda rows: text_of(rows, delimiter=";"),
    "tabs": lambda rows: text_of(rows, delimiter="\t"),
    "UTF-16": lambda rows: text_of(rows).encode("utf-16"),
    "Latin-1": lambda rows: text_of(rows).encode("latin-1"),
    "missing id": lambda rows: text_of([rows[0], *rows[2:]]),
    "id twice": lambda rows: text_of([*rows, rows[1]]),
    "no id": lambda rows: text_of([*rows, ["", rows[1][1]]]),
    "ids as numbers": lambda rows: text_of([rows[0], ["7", rows[1][1]], *rows[2:]]),
    "ids with blanks": lambda rows: text_of([rows[0], *([f" {a}", b] for a, b in rows[1:])]),
    "cut in a quote": lambda rows: text_of(rows, quoting=csv.QUOTE_ALL)[:-3],
    "a long id": lambda rows: text_of([*rows, *[["x" * 10**5, "1 1"]] * 2]),
    "a long header": lambda rows: text_of([["x" * 10**5] * 3, *rows[1:]]),
    "a thousand complaints": lambda rows: text_of([*rows, *([str(k), "0 x"] for k in range(1000))]),
    "noise": lambda rows: bytes(range(256)) * 9,
}
CELLS: dict[str, Change] = {
    "overlap": cell(lambda text: f"{text} 1 1" if text else "1 2 2 1"),
    "overlap on two lines": cell(lambda text: f"{text}\n1 2"),
    "parts on two lines": cell(lambda text: text.replace(" ", "\n", 2).replace("\n", " ", 1)),
    "out of bounds": cell(lambda text: f"{text} 500 9"),
    "one pixel too far": cell(lambda text: f"{text[: text.rindex(' ')]} {int(text.split()[-1]) + 1}"),
    "negative": cell(lambda text: f"-{text}"),
    "plus": cell(lambda text: f"+{text}"),
    "float": cell(lambda text: text.replace(" ", ".0 ")),
    "exponent": cell(lambda text: text.replace(" ", "e0 ", 1)),
    "underscore": cell(lambda text: f"0_{text}"),
    "hex": cell(lambda text: f"0x{text}"),
    "huge": cell(lambda text: f"{text} {9**40} 1"),
    "past 64 bits": cell(lambda text: f"{text} {2**64} 1"),
    "a million digits": cell(lambda text: f"{text} {'9' * 10**6} 1"),
    "huge length": cell(lambda text: f"{text[: text.rindex(' ')]} {2**40 - 1}"),
    "Arabic digits": cell(lambda text: text.translate({48 + k: 0x660 + k for k in range(10)})),
    "wide digits": cell(lambda text: text.translate({48 + k: 0xFF10 + k for k in range(10)})),
    "superscript": cell(lambda text: f"{text}\u00b2"),
    "no-break space": cell(lambda text: text.replace(" ", "\u00a0")),
    "zero-width space": cell(lambda text: f"\u200b{text}"),
    "commas": cell(lambda text: text.replace(" ", ",")),
    "brackets": cell(lambda text: f"[{text}]"),
    "odd": cell(lambda text: f"{text} 7"),
    "zero length": cell(lambda text: f"{text[: text.rindex(' ')]} 0"),
    "NUL": cell(lambda text: f"{text}\0"),
    "a word": cell(lambda text: f"{text} mask"),
    **{f"the word {word!r}": cell(lambda _, word=word: word) for word in ("nan", "NaN", "None", "null", "[]", "inf")},
}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def grade(path: Path, true: Path, sizes: Sizes, form: SubmissionConfig, expected: list[list[int]] | None) -> None:
    found = count_submission(path, true, sizes, form)
    assert expected is not None, "accepted"
    assert found.counts.tolist() == expected


@pytest.mark.parametrize("name", FORMS)
def test_a_submission_is_counted_right_or_refused(
    name: str, tmp_path: Path, tally: Callable[[str], Tally], scale: int
) -> None:
    family, form = tally(f"submissions ({name}, read)"), FORMS[name]
    changes = {**HARMLESS, **FILES, **CELLS}
    if form.relative:  # every order of numbers is a right one there, and the gap to the next run moves with its length
        changes = {what: change for what, change in changes.items() if what not in ("overlap", "one pixel too far")}
    for seed in range(scale):
        rng = np.random.default_rng(seed)
        truth = draw(rng)
        masks = {key: mask ^ (rng.random(mask.shape) < 0.2) for key, mask in truth.items()}
        masks["007"][[0, -1], [0, -1]] = 1
        sizes = {key: mask.shape for key, mask in truth.items()}
        true = write(tmp_path / "t.csv", text_of(rows_of(truth, form)))
        pairs = [(masks[key], truth[key]) for key in truth]
        counts = [[int((m & t).sum()), int((m > t).sum()), int((m < t).sum())] for m, t in pairs]
        shifted = SubmissionConfig(**{**vars(form), "index_base": 1 - form.index_base})
        texts = {what: change(rows_of(masks, form)) for what, change in changes.items()}
        for what, text in {**texts, "index base": text_of(rows_of(masks, shifted))}.items():
            path, expected = write(tmp_path / "s.csv", text), counts if what in HARMLESS else None
            outcome = family.attempt(f"{what}, seed {seed}", partial(grade, path, true, sizes, form, expected))
            assert outcome == ("right" if what in HARMLESS else "refused"), what


def spoiled(masks: Masks, rng: np.random.Generator) -> dict[str, tuple[list[tuple[str, np.ndarray]], list[str]]]:
    """What a stage could hand over: pairs of id and mask, and the ids of the rows."""
    pairs, ids = list(masks.items()), list(masks)
    (name, first), rest = pairs[0], pairs[1:]
    taller = np.vstack([first, first[:1]])
    half = np.zeros((max(1, first.shape[0] // 2), first.shape[1]), np.uint8)
    masks_of = {
        "taller": taller, "half": half, "wide": first[:, :-1], "flat": first.ravel(), "channel": first[None],
        "colour": np.repeat(first[..., None], 3, -1), "empty array": first[:0], "void": np.full_like(first, 255),
        "two": first * 2, "negative": -first.astype(np.int64), "nan": np.full(first.shape, np.nan),
        "half probability": first * 0.5, "infinite": np.full(first.shape, np.inf),
    }  # fmt: skip
    if first.shape[0] != first.shape[1]:
        masks_of["turned"] = np.ascontiguousarray(first.T)
    found = {what: ([(name, mask), *rest], ids) for what, mask in masks_of.items()}
    return found | {
        "missing mask": (rest, ids),
        "mask twice": ([*pairs, pairs[0]], ids),
        "unknown mask": ([*pairs, ("more", first)], ids),
        "id twice": (pairs, [*ids, ids[0]]),
        "nothing": ([], ids),
    }


def write_and_compare(path: Path, pairs: list[tuple[str, np.ndarray]], masks: Masks, form: SubmissionConfig) -> None:
    write_submission(path, pairs, list(masks), {key: mask.shape for key, mask in masks.items()}, form)
    assert path.read_bytes() == text_of(rows_of(masks, form)).encode()


@pytest.mark.parametrize("name", FORMS)
def test_what_is_written_is_what_was_handed_in_at_the_images_size_or_refused(
    name: str, tmp_path: Path, tally: Callable[[str], Tally], scale: int
) -> None:
    family, form = tally(f"submissions ({name}, write)"), FORMS[name]
    for seed in range(scale):
        rng = np.random.default_rng(seed)
        masks = draw(rng)
        sizes = {key: mask.shape for key, mask in masks.items()}
        for what, (pairs, ids) in spoiled(masks, rng).items():
            handed, path, folder = (pairs, ids, sizes), tmp_path / "s.csv", tmp_path / "results"
            as_csv = partial(write_submission, path, *handed, form)
            for work in (as_csv, partial(write_voc_results, folder, *handed, 7)):
                assert family.attempt(f"{what}, seed {seed}", work) == "refused", what
            assert not path.exists()
            assert not folder.exists()
        for kind in (np.uint8, bool, np.int64, np.float32):
            order = [list(masks)[k] for k in rng.permutation(len(masks))]
            pairs = [(key, masks[key].astype(kind)) for key in order]
            work = partial(write_and_compare, tmp_path / "s.csv", pairs, masks, form)
            assert family.attempt(f"{kind.__name__}, seed {seed}", work) == "right"
        (tmp_path / "s.csv").unlink()


def test_an_id_that_no_file_can_hold_is_refused(tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    family, mask = tally("submissions (ids)"), np.ones((2, 2), np.uint8)
    for name in ("", "\udcff", "a\ud800b"):

        def written(name: str = name) -> None:
            write_submission(tmp_path / "s.csv", [(name, mask)], [name], {name: (2, 2)}, FORMS["tgs"])

        assert family.attempt(repr(name), written) == "refused"
    for name in ("\n", "\r\n", ",", '"', "\0", "\u2028", "a" * 10**5, "=1+1", "🦭"):

        def kept(name: str = name) -> None:
            write_submission(tmp_path / "s.csv", [(name, mask)], [name], {name: (2, 2)}, FORMS["tgs"])
            with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as stream:
                assert list(csv.reader(stream))[1:] == [[name, "1 4"]]

        family.attempt(repr(name[:9]), kept)


def test_a_file_that_is_no_csv_is_refused(tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    family = tally("submissions (files)")
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for name in ("", "none.csv", "folder", "secret", "loop", "secret/x.csv", "n" * 300):

        def grade(name: str = name) -> None:
            count_submission(tmp_path / name, tmp_path / name, {}, FORMS["tgs"])

        assert family.attempt(name[:20], grade) == "refused"
