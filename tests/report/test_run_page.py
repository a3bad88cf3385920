"""The page of a run: stands alone, escapes everything, shows the right images."""

import json
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest

from saltern.errors import RunError
from saltern.inference.decide import Decision, write_decision
from saltern.report.run_page import write_report

VOID_TAGS = {"meta", "br", "input", "image", "path", "use", "link", "img"}


class Checker(HTMLParser):
    """Collects links and words; an end tag that fits no start tag fails the test."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID_TAGS:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID_TAGS:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def shown(text: str, title: str) -> list[str]:
    """The ids under a group's heading, in order."""
    part = re.split(r"<h[23]", text.split(f"<h3>{title}")[1])[0]
    return [unescape(name) for name in re.findall(r'<code title="([^"]*)"', part)]


def test_the_page_stands_alone_and_is_well_formed(draw_run: Callable) -> None:
    drawn = draw_run(void=True)
    write_report(drawn.run, drawn.load, drawn.coverage)
    text = drawn.run.report.read_text()
    page = Checker(text)
    assert "url(http" not in text
    assert not [tag for tag in page.tags if tag in ("iframe", "object", "embed", "base")]
    outside = [link for link in page.links if not link.startswith(("data:image/", "#"))]
    assert "scores.json" in outside
    assert "fold_1/metrics.csv" in outside
    assert all((drawn.run.path / link).is_file() for link in outside)
    assert len(page.ids) == len(set(page.ids)), "figures share ids"
    assert "void, not scored" in text
    assert not list(drawn.run.path.glob("*.tmp"))


def test_names_that_look_like_markup_are_text(draw_run: Callable) -> None:
    drawn = draw_run(name="a<script>b")
    write_report(drawn.run, drawn.load, drawn.coverage)
    page = Checker(drawn.run.report.read_text())
    assert page.tags.count("script") == 3, "facts, tiles and code: no name made another"
    assert any("fine<b>$x$" in word for word in page.words)
    assert "a<script>b" in page.words
    assert any("data/<b>tgs</b>" in word for word in page.words)
    assert any("<i>&" in word for word in page.words)


def test_the_scores_on_the_page_are_those_of_scores_json(draw_run: Callable) -> None:
    drawn = draw_run()
    write_report(drawn.run, drawn.load, drawn.coverage)
    text = drawn.run.report.read_text()
    scores = json.loads(drawn.run.scores.read_text())
    rows = re.findall(r"<tr[^>]*><td>(fold 0|fold 1|pooled|nested)</td>(.*?)</tr>", text, re.DOTALL)
    cells = {label: re.findall(r">([\d.,]+)<", rest) for label, rest in rows}
    for label, part in (
        ("fold 0", scores["per_fold"]["0"]),
        ("fold 1", scores["per_fold"]["1"]),
        ("pooled", scores["pooled"]),
    ):
        expected = [
            f"{part[at][name]:.4f}"
            for name in ("precision_tgs", "iou_image", "iou_dataset", "dice_image")
            for at in ("at_0.5", "at_decision")
        ]
        assert cells[label] == [str(part["images"]), *expected]
    assert cells["nested"][1] == f"{scores['nested']['scores']['precision_tgs']:.4f}"


def test_presence_has_a_sentence_and_its_gate_a_rule_where_it_is_stored(draw_run: Callable) -> None:
    drawn = draw_run(presence=True)
    write_decision(drawn.run.decision, Decision(0.4, 0, 0.0, 0.35))
    write_report(drawn.run, drawn.load, drawn.coverage)
    text = drawn.run.report.read_text()
    auc = json.loads(drawn.run.scores.read_text())["pooled"]["presence_auc"]
    assert f"above one without in {100 * auc:.1f} % of all such pairs" in unescape(text)
    assert "an image that holds foreground with a probability below 0.35 becomes empty" in text
    gated = [name for name in drawn.loaded[len(drawn.samples) :] if drawn.samples[name].presence < 0.35]
    assert gated
    assert text.count("mask 0.0 %") >= len(gated)
    plain = draw_run(name="plain")
    write_report(plain.run, plain.load, plain.coverage)
    assert "Presence" not in plain.run.report.read_text()


def test_a_gate_set_by_hand_where_no_presence_is_stored_is_refused(draw_run: Callable) -> None:
    drawn = draw_run()
    write_decision(drawn.run.decision, Decision(0.4, 0, 0.0, 0.35))
    with pytest.raises(RunError, match=r"presence_gate=0\.35: .*this run stores none"):
        write_report(drawn.run, drawn.load, drawn.coverage)


def test_the_worst_are_over_all_images_and_the_best_over_those_with_foreground(draw_run: Callable) -> None:
    drawn = draw_run()
    write_report(drawn.run, drawn.load, drawn.coverage)
    text = drawn.run.report.read_text()
    table = pd.read_csv(drawn.run.oof_scores, dtype={"id": str}).set_index("id")
    worst, best = shown(text, "Worst"), shown(text, "Best")
    assert len(worst) == len(set(worst)) == len(best) == len(set(best)) == 12
    assert drawn.loaded == [*drawn.samples, *worst, *best]
    score = table["precision_tgs"]
    assert sorted(score[worst]) == score[worst].tolist() == sorted(score)[:12]
    salty = score[[name for name, share in drawn.coverage.items() if share > 0]]
    assert score[best].tolist() == sorted(salty, reverse=True)[:12]


def test_a_run_without_metrics_and_without_foreground_has_a_page(draw_run: Callable) -> None:
    drawn = draw_run(images=1, folds=1)
    for file in drawn.run.path.glob("fold_*/metrics.csv"):
        file.unlink()
    drawn.run.config.unlink()
    write_report(drawn.run, drawn.load, drawn.coverage)
    text = drawn.run.report.read_text()
    Checker(text)
    assert "Learning curves" not in text
    assert "<h3>Best" not in text
    assert "a single image leaves nothing to tune on" in text


def test_an_image_that_the_data_set_lacks_is_an_error_and_the_old_page_stays(draw_run: Callable) -> None:
    drawn = draw_run()
    drawn.run.report.write_text("old")
    coverage = drawn.coverage
    gone = next(iter(coverage))
    del coverage[gone]
    with pytest.raises(RunError, match=f"1 ids are not in the data set, such as '{gone}'"):
        write_report(drawn.run, drawn.load, coverage)
    assert drawn.run.report.read_text() == "old"


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        (
            "scores.json",
            '{"pooled": 1}',
            r"not what Saltern writes there \(tuned_for: Field required\). Run the stage `tune`",
        ),
        ("decision.json", "[]", "expected an object"),
        ("oof_scores.csv", "id,fold,iou\na,0,1\n", "lacks the columns dice, precision_tgs"),
        ("oof_scores.csv", "id,fold,iou,dice,precision_tgs\na,0,1,1,1\na,0,1,1,1\n", "'a' twice"),
        ("oof_scores.csv", "id,fold,iou,dice,precision_tgs\na,0,1,,1\n", "missing or outside"),
        ("oof_scores.csv", "id,fold,iou,dice,precision_tgs\na,0,1,2,1\n", "missing or outside"),
        ("oof_scores.csv", "id,fold,iou,dice,precision_tgs\na,x,1,1,1\n", "not readable as a table"),
        ("oof_scores.csv", "", "not readable as a table"),
        ("fold_0/metrics.csv", "loss\n1\n", "lacks the columns epoch and phase"),
    ],
)
def test_a_damaged_artifact_is_named(draw_run: Callable, file: str, content: str, complaint: str) -> None:
    drawn = draw_run()
    (drawn.run.path / file).write_text(content)
    with pytest.raises(RunError, match=complaint) as caught:
        write_report(drawn.run, drawn.load, drawn.coverage)
    assert file in str(caught.value)


def test_a_missing_artifact_names_the_stage(draw_run: Callable) -> None:
    drawn = draw_run()
    drawn.run.oof_scores.unlink()
    with pytest.raises(RunError, match="run the stage `tune` first"):
        write_report(drawn.run, drawn.load, drawn.coverage)
