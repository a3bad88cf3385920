"""Names, paths and values on the command line: they arrive as written, or are refused in one screen with status 2."""

import random
import string
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from rich.cells import cell_len
from tries import Tally

from saltern.config import RunConfig, as_meant, compose_config, explain, freeze, refuse_bytes, refuse_surprises, thaw
from saltern.errors import SalternError

ROOT = Path(__file__).parents[2]

ALPHABETS = {
    "grammar": "ab1_,=:+~@[]{}()'\"\\$ ./-*%",
    "markup": "[]/ab:redlink=#\\",
    "letters": "äßéñøłжюمرשלוםไทย中文かな한글",
    "signs": "§°€™½…·→♥🦭👩‍🔬🇩🇪\u200d\ufe0f\u202e\u00a0\u3000\u0301",
    "control": "a\n\r\t\x00\x01\x1b[31m\x7f\x85\u2028\u2029",
    "bytes": "a\udcff\udc80",
    "numbers": "0123456789_.-+eE",
}
WORDS = ("null", "NULL", "true", "nan", "inf", "1e5", "0x1", "2024_11_21", "007", "~", "~root", "~nobody_here", "..",
         ".", "-m", "con", "a" * 300, "ü" * 128, "x/" * 3000, "${seed}", "${name}", "${oops}", "${", "$(rm)", "`ls`",
         "%s", "{stem}", "choice(a,b)", "range(3)", "[a", "a]", "'", '"', "\\", "\\'", "''",
         "[red]x", "[/x]", ":smile:")  # fmt: skip
KEYS = ("name", "outputs", "dataset.root", "dataset.cache_dir", "model.encoder_weights")
LISTED = ("trainer.folds", "model.options", "inference.thresholds", "seed", "trainer.precision", "dataset", "model")
"""Keys that hold no free text: what is no value of theirs is refused."""


def values(rng: random.Random, count: int) -> list[str]:
    drawn = []
    for alphabet in ALPHABETS.values():
        drawn += ["".join(rng.choices(alphabet, k=rng.randint(1, 12))) for _ in range(count)]
        drawn += [rng.choice(("a", "[", "~", "x/")) + "".join(rng.choices(alphabet + string.ascii_letters, k=6))]
    return [*drawn, *WORDS]


def composed(override: str) -> RunConfig:
    """What a script makes of an argument; Hydra's errors are put into words as there."""
    refuse_bytes([override])
    meant = as_meant(override)
    refuse_surprises([meant])
    try:
        return compose_config("run", [meant])
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


def plainly(value: str) -> bool:
    """Whether nothing but text can be meant: no list, no quotes, no reference, no escape, no home, no null."""
    odd = "\\" in value or "${" in value or value[:1] in "[{'\"~" or value.lower() in ("null", "")
    return value.isprintable() and not odd and len(value) < 60


def try_text(key: str, value: str) -> None:
    config = composed(f"{key}={value}")
    group, _, field = key.rpartition(".")
    found = getattr(getattr(config, group) if group else config, field)
    if plainly(value.strip(" \t")):
        assert found == value.strip(" \t")
    meant = as_meant(f"{key}={value}")
    assert as_meant(meant) == meant, "quoted twice"
    OverridesParser.create().parse_override(meant)  # as a later stage does with what was recorded
    assert thawed(config) == config


def thawed(config: RunConfig) -> RunConfig:
    """The config after a way through its file; a reference was resolved before it was frozen."""
    PLACE.write_text(freeze(config), encoding="utf-8")
    return thaw(PLACE)


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(globals(), "PLACE", tmp_path / "config.yaml")


PLACE = Path()


def test_text_arrives_as_it_was_written_or_is_refused(tally: Callable[[str], Tally], scale: int) -> None:
    family, rng = tally("names (command line, text)"), random.Random(0)
    for value in values(rng, scale):
        for key in rng.sample(KEYS, 1 if scale == 1 else 2):
            outcome = family.attempt(f"{key}={value!r}", partial(try_text, key, value))
            assert outcome == "right" or not plainly(value.strip(" \t")) or not value.strip(), (key, value)


def test_what_is_no_value_of_a_key_is_refused_in_words(tally: Callable[[str], Tally], scale: int) -> None:
    family, rng = tally("names (command line, other keys)"), random.Random(1)
    for value in values(rng, scale):
        override = rng.choice((f"{rng.choice(LISTED)}={value}", f"+{value}=1", f"{value}=1", f"~{value}", value))
        family.attempt(repr(override), partial(composed, override))


CONFIGS = {
    "empty": "", "a list": "[1, 2]", "a word": "run", "a number": "7", "null": "null", "comments": "# nothing\n",
    "unclosed": "a: [", "tabs": "\ta: 1", "twice": "name: a\nname: b", "two documents": "name: a\n---\nname: b",
    "nested": "a: " + "[" * 30_000, "nested sets": "{a: " * 5_000, "long": "a: " + "x" * 2**20,
    "a tag": "!!python/name:os.system",
    "a call": "!!python/object/apply:os.system ['touch run']", "a date": "name: 2024-13-45", "a merge": "<<: 7",
    "digits": f"seed: {'9' * 10_000}", "infinite": "seed: .inf", "colons": "seed: " + ":".join(["1"] * 10_000),
    "itself": "&a [*a]", "a reference": "name: ${outputs}", "an endless reference": "name: ${name}",
    "unfolding references": "\n".join(f"k{n}: ${{k{n + 1}}}${{k{n + 1}}}" for n in range(60)),
    "keys that are lists": "? [a]\n: 1", "NUL": "name: \x00", "a bell": "name: \x07",
    "bomb": "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(12)),
}  # fmt: skip


def test_a_frozen_config_is_itself_or_refused_in_one_line(
    tmp_path: Path, tally: Callable[[str], Tally], scale: int
) -> None:
    family, rng = tally("names (config.yaml)"), random.Random(2)
    path = tmp_path / "config.yaml"
    good = freeze(compose_config("run", [])).encode()
    texts = {what: text.encode() for what, text in CONFIGS.items()}
    texts |= {"not UTF-8": b"name: \xff", "UTF-16": good.decode().encode("utf-16"), "zeros": bytes(1000)}
    for number in range(10 * scale):
        lines = good.splitlines(keepends=True)
        at = rng.randrange(len(lines))
        place = rng.randrange(len(good))
        texts[f"line {at} left out, {number}"] = b"".join([*lines[:at], *lines[at + 1 :]])
        texts[f"cut at {place}, {number}"] = good[:place]
        texts[f"byte {place} changed, {number}"] = good[:place] + bytes([rng.randrange(256)]) + good[place + 1 :]

    def read() -> None:
        try:
            assert isinstance(thaw(path), RunConfig)
        except SalternError as error:
            text = str(error)
            raise type(error)(text if len(text.splitlines()) == 1 else "\n" * 99) from error

    for what, content in texts.items():
        path.write_bytes(content)
        outcome = family.attempt(what, read)
        assert outcome == "refused" or "," in what, what
    assert not (tmp_path / "run").exists()


def test_a_bomb_is_answered_in_under_a_second(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGS["bomb"])
    began = time.monotonic()
    with pytest.raises(SalternError, match=r"\*a0 refers to another line"):
        thaw(path)
    assert time.monotonic() - began < 1


def test_what_is_printed_is_what_it_is(
    tally: Callable[[str], Tally], scale: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import console

    family, rng = tally("names (printed)"), random.Random(3)

    def print_it(text: str) -> None:
        console.say(f"/{text}/" + "x" * 200)
        console.table(text, [text], [[text]])
        said = capsys.readouterr().out
        assert f"/{text}/" + "x" * 200 in said
        assert said.count(text) == 4 if len(text) < 40 else said.count(text) >= 2

    for text in values(rng, scale):
        if text.isprintable() and len(text) < 90 and cell_len(text):
            family.attempt(repr(text), partial(print_it, text))


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["name=ü[red]", "outputs=o[/x]"], 0, "o[/x]/ü[red]/dataset_report.html"),
        (["name=a\x01b"], 2, "control characters"),
        (["name=" + "a" * 300], 2, "300 bytes"),
        (["dataset.root=~nobody_here/x"], 2, "no user 'nobody_here'"),
        (["outputs=file/x"], 2, "is a file"),
        (["trainer.folds=[0"], 2, "cannot read the override"),
    ],
)
def test_a_script_ends_with_the_status_and_the_words(
    arguments: list[str], status: int, part: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    tiny = ["dataset.train=8", "dataset.test=2", "dataset.side=8"]
    command = [sys.executable, str(ROOT / "scripts" / "check.py"), *tiny, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == status, done.stderr
    assert part in (done.stderr if status else done.stdout)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 40
    if not status:
        assert (tmp_path / part).is_file()
