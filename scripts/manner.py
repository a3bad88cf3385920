"""How a script talks: `quiet=true` (or -q), `debug=true`, what libraries say, streams that cannot show every sign."""

import codecs
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from saltern.errors import ConfigError

QUIET, DEBUG = "SALTERN_QUIET", "SALTERN_DEBUG"
"""Variables of the environment, so that the processes which a script starts talk in the same manner."""
FLAGS = {"-q": QUIET, "--quiet": QUIET}
WORDS = {"quiet": QUIET, "debug": DEBUG}
CHATTY = (
    "httpx",
    "huggingface_hub",
    "matplotlib",
    "lightning_fabric",
    "fsspec",
    "torch",
    "tensorboard",
    "werkzeug",
    "root",
)
"""Loggers of libraries that tell of what goes well; ours have names, so what the root logger tells is theirs."""

NOISE: tuple[tuple[str, str], ...] = (
    (r".*html5lib's sanitizer is deprecated", "inside TensorBoard, about a part of itself"),
    (r".*subprocess .* is still running", "TensorBoard's reader, which ends with the server"),
    (r".*Implicitly cleaning up <TemporaryDirectory", "TensorBoard's reader, too"),
)
"""Beginning of a library's warning that says nothing to anyone who runs a script → why. `debug=true` shows them all."""

SIGNS = {"…": "...", "\u00d7": "x", "→": "->", "\u2013": "-", "±": "+-", "≥": ">=", "≤": "<=", "·": "-", "─": "-"}
"""Signs of ours → what stands for them where the terminal has no such letter."""


def is_quiet() -> bool:
    """Whether nothing but warnings, errors and the last number is wanted."""
    return os.environ.get(QUIET) == "1"


def is_debug() -> bool:
    """Whether errors come with their traceback, and every warning of a library is shown."""
    return os.environ.get(DEBUG) == "1"


def taken(arguments: list[str]) -> list[str]:
    """`arguments` without those that say how to talk, which the environment says from now on.

    They are no part of a run, and so never reach its config.

    Raises:
        ConfigError: another value than true or false.
    """
    left = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument in FLAGS:
            os.environ[FLAGS[argument]] = "1"
        elif equals and key in WORDS:
            if value.lower() not in ("true", "false"):
                raise ConfigError(f"{argument}: expected {key}=true or {key}=false.")
            os.environ[WORDS[key]] = "1" if value.lower() == "true" else "0"
        else:
            left.append(argument)
    return left


@contextmanager
def kept() -> Iterator[None]:
    """Within it the manner may change; afterwards it is as it was, for those who call scripts in their own process."""
    before = {name: os.environ.get(name) for name in (QUIET, DEBUG)}
    showing = warnings.showwarning
    try:
        with warnings.catch_warnings():
            yield
    finally:
        warnings.showwarning = showing
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def word_warnings(*, is_main: bool, handler: logging.Handler) -> None:
    """Send log lines and libraries' warnings through `handler`, a line each; what is only noise is left out."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)
    handler.setLevel(logging.ERROR if not is_main else logging.WARNING if is_quiet() else logging.INFO)
    handler.addFilter(_is_wanted)
    if is_debug():
        return
    for pattern, _ in NOISE:
        warnings.filterwarnings("ignore", message=pattern)
    warnings.showwarning = _in_a_line


def _is_wanted(record: logging.LogRecord) -> bool:
    """Asked of the records, since a library may set the level of its logger when it is imported."""
    return record.levelno >= logging.WARNING or record.name.split(".")[0] not in CHATTY


def _in_a_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    text = " ".join(str(message).split())
    logging.getLogger("py.warnings").warning("%s (%s, %s:%d)", text, category.__name__, filename, lineno)


def show_what_can_be() -> None:
    """Let a stream that lacks a letter show another one instead of failing; UTF-8 has them all."""
    codecs.register_error("saltern", _instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and codecs.lookup(stream.encoding or "utf-8").name != "utf-8":
            stream.reconfigure(errors="saltern")


def _instead(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    shown = (SIGNS.get(sign, sign.encode("ascii", "backslashreplace").decode("ascii")) for sign in signs)
    return "".join(shown), error.end
