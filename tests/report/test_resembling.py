"""What the page says of the test beside the validation, and of large masks that a gate took."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from saltern.errors import RunError
from saltern.files import write_json
from saltern.inference.decide import Decision, write_decision
from saltern.inference.painted import Painted, paint, resemblance
from saltern.inference.predictions import Prediction
from saltern.report.resembling import read_resembling
from saltern.report.run_page import write_report
from saltern.report.survey import Beside

GATED = Decision(0.4, 0, 0.99)


def painted(drawn: object, decision: Decision) -> Painted:
    samples = drawn.samples  # type: ignore[attr-defined]
    return paint(((name, Prediction(each.probs, None)) for name, each in samples.items()), decision)


def test_a_page_names_the_large_masks_that_a_gate_took_and_what_differs(draw_run: Callable) -> None:
    drawn = draw_run()
    write_decision(drawn.run.decision, GATED)
    oof = painted(drawn, GATED)
    assert 0 < len(oof.taken) < 40
    largest = max(oof.taken, key=lambda name: oof.taken[name])
    test = replace(oof, foreground={str(number): 0.0 for number in range(60)}, taken={"0": 0.58})
    write_json(drawn.run.resemblance, resemblance(oof, test))
    write_report(drawn.run, drawn.load, drawn.coverage, Beside())
    text = drawn.run.report.read_text(encoding="utf-8")
    assert "Does the test resemble the validation?" in text
    assert "The test masks do not resemble those out of fold. Images without any foreground: 100.0 % over 60" in text
    assert "emptied by a gate: 0 (58.0 %)." in text
    section = text.split("<h3>Emptied though large")[1]
    assert section.index(largest.replace("<", "&lt;").replace(">", "&gt;").replace("&lt;i&gt;&", "&lt;i&gt;&amp;")) > 0
    assert 'href="resemblance.json"' in text


def test_a_page_without_test_masks_or_of_an_earlier_version_says_nothing_of_them(draw_run: Callable) -> None:
    drawn = draw_run()
    write_report(drawn.run, drawn.load, drawn.coverage)
    text = drawn.run.report.read_text(encoding="utf-8")
    assert "resemble" not in text
    assert "Emptied though large" not in text


def test_sets_that_are_alike_raise_no_warning(draw_run: Callable) -> None:
    drawn = draw_run()
    oof = painted(drawn, Decision())
    write_json(drawn.run.resemblance, resemblance(oof, oof))
    found = read_resembling(drawn.run)
    assert found.warnings == ()
    assert [line.oof for line in found.lines] == [line.test for line in found.lines]
    assert [line.chance for line in found.lines] == ["in 100.0 % of all cases"] * 2


@pytest.mark.parametrize("content", [{}, [], {"images": {"oof": 1}}])
def test_a_damaged_file_is_named(content: object, draw_run: Callable) -> None:
    drawn = draw_run()
    write_json(drawn.run.resemblance, content)
    with pytest.raises(RunError, match=r"resemblance\.json.*submit"):
        read_resembling(drawn.run)
