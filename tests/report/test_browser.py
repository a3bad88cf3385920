"""The page of a run in a real browser: sorts, filters, slides, and asks nobody for anything."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from saltern.inference.decide import Decision, decide, write_decision
from saltern.metrics.scores import PER_IMAGE, count_pixels, summarise
from saltern.report import tiles
from saltern.report.run_page import write_report
from saltern.report.survey import Beside

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
READS = "willReadFrequently"
"""Chromium's advice to a test that looks at pixels; the page itself never reads any."""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with driver.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable]:
    """Opens a page; at the end nothing was complained of, and nothing but files of the run was asked for."""
    contexts, complaints, requests = [], [], []

    def visit(report: Path, width: int = 1200, **settings: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text) if READS not in message.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector(".tile")
        page.complaints = complaints
        return page

    yield visit
    for context in contexts:
        context.close()
    outside = [url for url in requests if not url.startswith(("file://", "data:", "blob:"))]
    assert outside == []
    assert complaints == []


def listed(page: Any) -> list[str]:
    return page.eval_on_selector_all(".tile", "tiles => tiles.map(tile => tile.dataset.id)")


def slide(page: Any, threshold: float) -> dict[str, float]:
    """Move the slider by its own event; id → score of the tiles that are shown, all drawn."""
    page.evaluate(
        """async threshold => {
          const slider = document.getElementById("slider");
          slider.value = page.levels.indexOf(threshold);
          slider.dispatchEvent(new Event("input"));
          await Promise.all([...document.querySelectorAll(".tile")].map(draw));
        }""",
        threshold,
    )
    return dict(page.eval_on_selector_all(".tile", "tiles => tiles.map(tile => [tile.dataset.id, tile.score])"))


def written(drawn: Any, decision: Decision | None = None, beside: Beside | None = None) -> Path:
    if decision is not None:
        write_decision(drawn.run.decision, decision)
    write_report(drawn.run, drawn.load, drawn.coverage, beside)
    return drawn.run.report


def test_images_are_sorted_and_filtered(draw_run: Callable, visit: Callable) -> None:
    drawn = draw_run(void=True)
    report = written(drawn, beside=Beside(groups={name: "north" for name in list(drawn.samples)[:7]}))
    page = visit(report)
    table = pd.read_csv(drawn.run.oof_scores, dtype={"id": str}).set_index("id")
    table["coverage"] = pd.Series(drawn.coverage)
    worst = table.reset_index().sort_values(["precision_tgs", "iou", "id"])["id"].tolist()
    assert listed(page) == worst[:24]
    page.click("text=next →")
    assert listed(page) == worst[24:]
    page.select_option("[data-part=sort]", "coverage")
    page.click("[data-part=down]")
    assert table["coverage"][listed(page)].is_monotonic_decreasing
    page.select_option("[data-part=fold]", "1")
    assert set(listed(page)) == set(table.index[table["fold"] == 1])
    page.select_option("[data-part=fold]", "")
    page.select_option("[data-part=group]", "north")
    assert set(listed(page)) == set(list(drawn.samples)[:7])
    page.select_option("[data-part=group]", "")
    page.fill("[data-part=high]", "0.5")
    low = table.index[table["precision_tgs"] <= 0.5]
    assert 0 < len(low) < len(table)
    assert set(listed(page)) == set(low)
    page.fill("[data-part=high]", "")
    for kind, empty in (("missed", False), ("false alarm", True)):
        page.click(f'[data-kind="{kind}"]')
        wrong = table.index[((table["coverage"] == 0) == empty) & (table["iou"] == 0)]
        assert set(listed(page)) == set(wrong)
        assert page.inner_text(f'[data-kind="{kind}"] b') == str(len(wrong))
        assert len(wrong) > 0 or empty
    page.click('[data-kind=""]')
    page.fill("[data-part=search]", "0011<I>")
    assert listed(page) == ["0011<i>&"]
    page.fill("[data-part=search]", "nothing")
    assert listed(page) == []
    assert page.is_visible("text=No image passes these filters.")


def test_scores_at_the_slider_are_those_of_the_probabilities(draw_run: Callable, visit: Callable) -> None:
    drawn = draw_run(images=20, void=True, presence=True)
    decision = Decision(0.44, 9, 0.6, 0.2)
    write_decision(drawn.run.decision, decision)
    scores = json.loads(drawn.run.scores.read_text())
    drawn.run.scores.write_text(json.dumps({**scores, "decision": decision.to_json()}))
    table = pd.read_csv(drawn.run.oof_scores, dtype={"id": str})
    for name, sample in drawn.samples.items():
        counts = np.array([count_pixels(decide(sample.probs, decision, sample.presence), sample.target)])
        for column, score in PER_IMAGE.items():
            table.loc[table["id"] == name, column] = float(score(counts)[0])
    table.to_csv(drawn.run.oof_scores, index=False)
    page = visit(written(drawn))
    assert page.inner_text("[data-part=threshold]") == "0.44"
    start = slide(page, 0.44)
    assert start == pytest.approx(dict(zip(table["id"], table["precision_tgs"], strict=True)))
    for threshold in (0.01, 0.3, 0.5, 0.71, 0.99):
        found = slide(page, threshold)
        moved = replace(decision, threshold=threshold)
        counts = {
            name: count_pixels(decide(sample.probs, moved, sample.presence), sample.target)
            for name, sample in drawn.samples.items()
        }
        expected = {name: PER_IMAGE["precision_tgs"](np.array([each]))[0] for name, each in counts.items()}
        assert found == pytest.approx(expected)
        pooled = summarise(np.array(list(counts.values())))["precision_tgs"]
        assert page.inner_text("[data-part=pooled]") == f"{pooled:.4f}"


def test_the_outline_follows_the_threshold(draw_run: Callable, visit: Callable) -> None:
    page = visit(written(draw_run(images=6)), device_scale_factor=2)  # so that lines cover whole pixels

    def orange() -> int:
        """Pixels in the colour of predictions (230, 159, 0)."""
        return page.evaluate(
            """() => [...document.querySelectorAll(".tile canvas")].reduce((sum, canvas) => {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              for (let at = 0; at < data.length; at += 4)
                sum += data[at] === 230 && data[at + 1] === 159 && data[at + 2] === 0;
              return sum;
            }, 0)"""
        )

    slide(page, 0.5)
    assert orange() > 100
    slide(page, 0.99)
    few = orange()
    slide(page, 0.3)
    assert orange() > few
    page.uncheck("[data-part=outlines]")
    slide(page, 0.3)
    assert orange() == 0


def test_the_keyboard_walks_through_images(draw_run: Callable, visit: Callable) -> None:
    page = visit(written(draw_run()))
    order = listed(page)
    page.focus(".tile")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.id") == order[1]
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("name => document.querySelector('#one [data-part=id]').innerText === name", arg=order[2])
    page.wait_for_function("document.querySelector('#one [data-part=facts]').childElementCount > 0")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.getElementById('one').open")
    assert page.evaluate("document.activeElement.dataset.id") == order[2]
    names = page.eval_on_selector_all("button, input, select", "all => all.map(one => one.ariaLabel || one.textContent"
                                      " || (one.labels && one.labels.length && one.labels[0].innerText))")  # fmt: skip
    assert all(names)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(draw_run: Callable, visit: Callable, scheme: str) -> None:
    page = visit(written(draw_run(name="a-run-with-quite-a-long-name-that-does-not-end")), 390, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.click(".tile")
    assert page.evaluate("document.getElementById('one').scrollWidth") <= 390


def test_heavy_pages_have_side_files_and_say_what_is_missing(
    draw_run: Callable, visit: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles.TileWriter.__init__, "__defaults__", (5_000,))
    monkeypatch.setattr("saltern.report.tiles.CHUNK", 16)
    monkeypatch.setattr("saltern.report.browser.CHUNK", 16)
    drawn = draw_run()
    report = written(drawn)
    files = sorted(drawn.run.report_tiles.iterdir())
    assert [path.name for path in files] == ["0.js", "1.js", "2.js"]
    page = visit(report)
    assert "report_tiles" in page.inner_text("main")
    slide(page, 0.5)
    assert not page.is_visible("[data-part=trouble]")
    text = files[1].read_text()
    files[1].unlink()
    page = visit(report)
    slide(page, 0.5)
    assert "report_tiles/1.js is missing" in page.inner_text("#browser [data-part=trouble]")
    assert any("ERR_FILE_NOT_FOUND" in text for text in page.complaints)
    page.complaints.clear()
    key = json.loads(text.split("(")[1].split(",")[0])
    files[1].write_text(text.replace(key, "another"))
    page = visit(report)
    slide(page, 0.5)
    assert "1.js belongs to another page" in page.inner_text("#browser [data-part=trouble]")
