"""The measure itself: it counts what is right and what is refused, and lets nothing else pass."""

import pytest
from tries import Tally

from saltern.errors import DataError


def refuse() -> None:
    raise DataError("no such file")


def fail() -> None:
    raise KeyError("id")


def wrong() -> None:
    assert [1] == [2]


def test_right_and_refused_are_counted_and_everything_else_fails() -> None:
    tally = Tally("self")
    assert tally.attempt("right", lambda: None) == "right"
    assert tally.attempt("refused", refuse) == "refused"
    for bad in (fail, wrong):
        with pytest.raises(AssertionError, match="self, bad: "):
            tally.attempt("bad", bad)
    assert dict(tally.outcomes) == {"right": 1, "refused": 1}


def test_a_message_longer_than_a_screen_is_no_answer() -> None:
    def ramble() -> None:
        raise DataError("line\n" * 100)

    with pytest.raises(AssertionError, match="self, long"):
        Tally("self").attempt("long", ramble)
