"""One rule of which names can be carried, and words for those that cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saltern.data.source.names import LONGEST_ID, printable, shown, unfit_id, unfit_text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a b,c", None),
        ("日本", None),
        ("é" * (LONGEST_ID // 2), None),
        ("é" * (LONGEST_ID // 2 + 1), "202 bytes"),
        ("__metadata__", "reserved"),
        ("a\nb", r"'\n'"),
        ("a\u2028b", r"'\u2028'"),
        ("a\udcffb", "not UTF-8"),
    ],
)
def test_a_name_is_fit_or_the_reason_is_told(name: str, why: str | None) -> None:
    reason = unfit_id(name)
    assert reason is None if why is None else why in str(reason)


@given(st.text(st.characters() | st.characters(categories=["Cs", "Cc"])))
def test_whatever_a_name_is_it_can_be_told(name: str) -> None:
    for text in (shown(name), printable(name)):
        text.encode()
        assert unfit_text(text.replace("\n", "")) is None
    if unfit_text(name) is None:
        assert printable(name) == name


def test_a_long_name_is_shortened_in_its_middle() -> None:
    assert shown("x" * 500 + "end", 20) == "'xxxxxxxxxx…xxxxxxxend'"
