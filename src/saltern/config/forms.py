"""Checks of the form of a CSV with run lengths, and of what examines and hands in such files."""

import re
from dataclasses import fields

from saltern.config.answers import one_of, require, require_size
from saltern.config.choices import CONNECTIVITIES, ROWS
from saltern.config.datasets import SubmissionConfig
from saltern.config.entries import ValidateConfig
from saltern.config.schema import SubmitConfig
from saltern.kaggle import require_name

_READ = ("id_column", "mask_column", "order", "index_base", "empty", "relative", "suffix")
"""The keys that say how a cell is read; the others are about writing rows."""


def check_submission(form: SubmissionConfig, key: str) -> None:
    """Refuse a submission form that cannot be written and read back.

    Raises:
        ConfigError: names the first key that is wrong, below `key`.
    """
    for name, known in (("order", ("column", "row")), ("rows", ROWS)):
        one_of(getattr(form, name), f"{key}.{name}", known)
    require(form.index_base in (0, 1), f"{key}.index_base", form.index_base, "0 or 1")
    require(form.connectivity in CONNECTIVITIES, f"{key}.connectivity", form.connectivity, "4 or 8")
    different = form.id_column != form.mask_column
    require(different, f"{key}.mask_column", form.mask_column, "another name than id_column")
    _check_columns(form, key)
    if form.competition is not None:
        require_name(form.competition, f"{key}.competition")


def _check_columns(form: SubmissionConfig, key: str) -> None:
    own = [form.id_column, form.mask_column]
    taken = [name for name in form.constants if name in own]
    require(not taken, f"{key}.constants", dict(form.constants), f"other columns than {own[0]} and {own[1]}")
    for name, text in form.constants.items():
        strange = [word for word in re.findall(r"\{([^{}]*)\}", text) if word not in ("height", "width")]
        require(not strange, f"{key}.constants.{name}", text, "text with no other braces than {height} and {width}")
    known = [*own, *form.constants]
    good = not form.columns or sorted(form.columns) == sorted(known)
    require(good, f"{key}.columns", form.columns, f"nothing, or each of {', '.join(known)} once")


def check_read_form(form: SubmissionConfig, key: str) -> None:
    """Refuse a form for reading masks that sets what only writing asks for.

    Raises:
        ConfigError: see `check_submission`.
    """
    check_submission(form, key)
    for item in fields(form):
        given, default = getattr(form, item.name), getattr(SubmissionConfig(), item.name)
        what = f"its default {default!r}: it is for writing; reading passes over other columns"
        if item.name == "rows":
            what = "image; that images have several rows is said by dataset.instances=true"
        require(item.name in _READ or given == default, f"{key}.{item.name}", given, what)


def check_validate(config: ValidateConfig) -> None:
    """Refuse to examine a file against two things at once.

    Raises:
        ConfigError: names the key.
    """
    require(bool(config.submission), "submission", config.submission, "the path of a CSV")
    require(config.most >= 1, "most", config.most, "at least 1")
    check_submission(config.format, "format")
    require_size(config.size, "size")
    require(None in (config.size, config.images), "images", config.images, "null where size=… says it for all images")
    if config.name is not None:
        for key in ("sample_submission", "images", "size"):
            require(getattr(config, key) is None, key, getattr(config, key), f"null, since name={config.name} gives it")
        good = config.format == SubmissionConfig()
        require(good, "format", "…", f"nothing, since the run {config.name} has a form of its own")
    good = config.root is None or config.name is not None
    require(good, "root", config.root, "null without name=…: it says where a run's data set lies")


def check_submit(config: SubmitConfig) -> None:
    """Refuse a message that says nothing, and `again` without one.

    Raises:
        ConfigError: names the key.
    """
    message = config.message
    require(message is None or bool(message.strip()), "message", message, "some words, for the list of submissions")
    require(message is not None or not config.again, "again", True, "false without message=…, which hands the file in")
