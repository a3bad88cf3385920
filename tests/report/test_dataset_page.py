"""The page about a data set: self-contained, escaped, with a picture of every suspect."""

import re
from pathlib import Path

import pytest

from saltern.config import SampleConfig, TgsConfig
from saltern.data.check.examine import check_dataset
from saltern.data.check.findings import ERROR, INFO, Finding
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.dataset import Dataset
from saltern.report.dataset_page import SHOTS, write_dataset_page


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("drawn") / "sample"
    open_dataset(SampleConfig(root=str(path), train=40, test=4, side=32))
    return path


def test_every_suspect_up_to_the_limit_has_its_picture(root: Path, tmp_path: Path) -> None:
    report, dataset = check_dataset(TgsConfig(root=str(root)))
    assert isinstance(dataset, Dataset)
    names = [dataset.test["id"][0], *dataset.train["id"][: SHOTS[INFO] - 1]] * 2
    report.findings.insert(0, Finding(INFO, "<b>odd</b>", "odd & strange", len(names), names))
    write_dataset_page(tmp_path / "page.html", report, dataset)
    text = (tmp_path / "page.html").read_text()
    shown = sum(min(len(finding.suspects), SHOTS[finding.severity]) for finding in report.findings)
    assert text.count("<figure>") == text.count("data:image/png;base64,") == shown > 0
    assert f'title="{dataset.test["id"][0]}"' in text
    assert "&lt;b&gt;odd&lt;/b&gt;" in text
    assert "<b>odd</b>" not in text
    assert f"Not shown: {len(names) - SHOTS[INFO]}" in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert "http" not in text


def test_a_set_that_could_not_be_opened_has_a_page_of_words(tmp_path: Path) -> None:
    report, dataset = check_dataset(TgsConfig(root=str(tmp_path / "nowhere")))
    write_dataset_page(tmp_path / "page.html", report, dataset)
    text = (tmp_path / "page.html").read_text()
    assert report.findings[0].severity == ERROR
    assert "no such folder" in text
    assert "<figure>" not in text
