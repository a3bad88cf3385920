"""The pages are whole: the reference is what the code says, links lead somewhere, Sphinx has no complaint."""

import re
import runpy
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from documented import PAGES, ROOT

from saltern.config import CONFIG_DIR, compose_config
from saltern.config.resolve import SCHEMAS

REFERENCE = runpy.run_path(str(ROOT / "docs/reference.py"))
CLASSES = sorted({cls for group in SCHEMAS.values() for cls in group.values()}, key=lambda cls: cls.__name__)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def names_of(config: Any, prefix: str = "") -> set[str]:
    """Every key of a resolved config, by another way than the reference's: from the values."""
    found = set()
    for item in fields(config):
        value, name = getattr(config, item.name), f"{prefix}{item.name}"
        inner = value
        if isinstance(value, dict) and value and is_dataclass(next(iter(value.values()))):
            inner, name = next(iter(value.values())), f"{name}.NAME"
        elif isinstance(value, list) and value and is_dataclass(value[0]):
            inner, name = value[0], f"{name}[]"
        found |= names_of(inner, f"{name}.") if is_dataclass(inner) else {name}
    return found


def test_the_reference_is_what_the_code_says() -> None:
    page = ROOT / "docs/configuration.md"
    stale = f"{page.name} is not what docs/reference.py writes; run `make docs` and commit it"
    assert page.read_text() == REFERENCE["page"](), stale


@pytest.mark.parametrize("overrides", [["dataset=sample"], ["dataset=voc", "dataset.foreground=[car]"],
                                       ["dataset=folder", "model=deeplabv2_resnet50"]])  # fmt: skip
def test_the_reference_has_every_key_of_a_run(overrides: list[str]) -> None:
    told = set(re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.M))
    keys = names_of(compose_config("run", overrides))
    assert len(keys) > 80
    assert keys - told == set()


def test_the_reference_has_every_choice() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    choices = [f"`{path.parent.name}={path.stem}`" for path in CONFIG_DIR.glob("*/*.yaml")
               if path.parent.name not in ("grading", "laboratory")]  # fmt: skip
    assert len(choices) > 30
    assert [choice for choice in choices if choice not in page] == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_key_says_what_it_means(cls: type) -> None:
    said_above = {"layout", "kind"} if cls.__bases__ != (object,) else set()
    silent = [key.name for key in REFERENCE["keys_of"](cls) if len(key.meaning) < 8 and key.name not in said_above]
    assert silent == [], "a string under the field says what the key means; users read it in the reference"


def test_a_key_by_hand() -> None:
    """One row of each kind, written down from the schema by hand."""
    page = (ROOT / "docs/configuration.md").read_text()
    assert "| `folds.n` | whole number | `5` | Number of folds, at least 2; `predefined` and `file`" in page
    assert "| `optim.name` | text | *required* | One of `adamw`, `adam`, `sgd`. |" in page
    assert "| `trainer.early_stop` | whole number or null | `null` |" in page
    assert "| `inference.thresholds` | list of numbers | `0.2` … `0.8`, 31 values |" in page
    assert "| `model.encoder` | text | *required* | One of [ENCODERS](#encoders), or `tu-NAME`" in page


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page: Path) -> None:
    outside = ("http://", "https://", "#")
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if not link.startswith(outside)]
    if page.name in ("README.md", "index.md"):
        assert len(links) >= 3
    assert [link for link in links if not (page.parent / link).exists()] == []


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As `make docs` does it."""
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(source), str(target)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_sphinx_builds_without_a_warning(tmp_path: Path) -> None:
    assert "sphinx -q -W --keep-going -b html" in (ROOT / "Makefile").read_text()
    done = build(ROOT / "docs", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / f"{page.stem}.html").is_file(), page
    front = (tmp_path / "index.html").read_text()
    assert 'href="competition.html"' in front
    loaded = re.findall(r'(?:src|link [^>]*href)="([^"]+)"', front)
    assert len(loaded) > 3
    assert [name for name in loaded if ":" in name] == [], "the site loads nothing from elsewhere"


def test_a_link_into_nothing_is_a_warning(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    source.mkdir()
    text = (ROOT / "docs/conf.py").read_text().replace('html_static_path = ["static"]', "html_static_path = []")
    (source / "conf.py").write_text(text)
    (source / "index.md").write_text("# A page\n\n[nowhere](#no-such-heading) and [gone](gone.md)\n")
    done = build(source, tmp_path / "site")
    assert done.returncode != 0
    assert "no-such-heading" in done.stderr
    assert "gone.md" in done.stderr
