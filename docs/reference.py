"""Write `docs/configuration.md`, the reference of every key, from the dataclasses and the files under `configs/`.

`make docs` runs it; a test fails where the committed page is not what it writes.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from omegaconf import MISSING

from saltern.config import CONFIG_DIR, LOSS_PARAMS, choices
from saltern.config.resolve import SCHEMAS

PAGE = Path(__file__).parent / "configuration.md"
ENTRIES = {name.removesuffix("_schema"): cls for name, cls in SCHEMAS[""].items()}
RUN = ENTRIES["run"]
PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any"}
MOST_NAMES = 20
"""A literal table with more names than this stands at the end of the page."""

HEAD = """<!-- Written by docs/reference.py (`make docs`). Change the strings under fields in src/saltern/config. -->

# Every key

Each key of the configuration, with its type, its default and its meaning, as the program itself has them.
On the command line a key is written with its full name, as in `make train trainer.batch_size=32`. A *choice* of a group
is a file under `configs/`. It sets several keys at once, as in `make train augment=light`, and each of them can be
overridden beside it.

A default of *required* means that the key has none: it comes from the choice of its group, or has to be given.
"""


@dataclass(frozen=True)
class Key:
    """One key of the configuration."""

    name: str
    type: str
    default: str
    meaning: str


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """The whole page, as Markdown."""
    groups = [item.name for item in fields(RUN) if is_dataclass(item.type)]
    parts = [HEAD, _entry("run", RUN)]
    parts += [_group(group) for group in groups]
    parts += [_experiments(), _losses()]
    parts += [_entry(name, cls) for name, cls in ENTRIES.items() if name not in ("run", "submission")]
    text = "\n".join(parts)
    tables = [name for name, names in vars(choices).items() if name.isupper() and f"](#{name.lower()})" in text]
    return text + "\n" + "\n".join(_names(name) for name in tables)


# ------------------------------------------------------------------------------------- dataclasses
def keys_of(cls: type, prefix: str = "") -> list[Key]:
    """The keys that `cls` itself declares, those of nested dataclasses under their full names."""
    meanings = _meanings(cls)
    keys: list[Key] = []
    for item in fields(cls):
        if item.name not in meanings:
            continue  # declared by the class below, where it is written down
        inner, name = _inner(item.type), prefix + item.name
        if is_dataclass(inner) and not (cls is RUN or issubclass(cls, RUN)):
            assert isinstance(inner, type)
            shown = {dict: f"{name}.NAME.", list: f"{name}[].", None: f"{name}."}[get_origin(item.type)]
            if meanings[item.name]:
                keys.append(Key(name, _type(item.type), "", _linked(meanings[item.name])))
            keys += keys_of(inner, shown)
        elif not is_dataclass(inner):
            keys.append(Key(name, _type(item.type), _default(item), _linked(meanings[item.name])))
    return keys


def _meanings(cls: type) -> dict[str, str]:
    """Field → the string below it, for the fields in the body of `cls`; "" where there is none."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    found: dict[str, str] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            found[node.target.id] = " ".join(str(after.value.value).split()) if text else ""  # type: ignore[union-attr]
    return found


def _inner(annotation: Any) -> Any:
    """What a dict or a list holds; else the annotation itself."""
    return get_args(annotation)[-1] if get_origin(annotation) in (dict, list) else annotation


def _type(annotation: Any) -> str:
    if get_origin(annotation) is None and get_args(annotation) == ():
        return "keys" if is_dataclass(annotation) else PLAIN[annotation]
    if get_origin(annotation) is list:
        inner = _type(get_args(annotation)[0])
        return f"list of {inner}s" if inner.endswith("number") else f"list of {inner}"
    if get_origin(annotation) is dict:
        return f"name → {_type(get_args(annotation)[1])}"
    return " or ".join("null" if item is NoneType else _type(item) for item in get_args(annotation))


def _default(item: "Field[Any]") -> str:
    value = item.default if item.default_factory is NO_DEFAULT else item.default_factory()
    if isinstance(value, str) and value == MISSING:
        return "*required*"
    if isinstance(value, list) and len(value) > 8:
        return f"`{_literal(value[0])}` … `{_literal(value[-1])}`, {len(value)} values"
    return f"`{_literal(value)}`"


def _literal(value: Any) -> str:
    """As it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(_literal(item) for item in value)}]"
    return str(value) if value != "" else '""'


# ---------------------------------------------------------------------------------------- Markdown
def _linked(meaning: str) -> str:
    """Names of literal tables give way to what the tables hold; what Markdown would take for its own is escaped."""
    pieces = re.split(r"(`[^`]+`)", meaning)
    return "".join(piece if piece[:1] == "`" else _escaped(piece) for piece in pieces).replace("|", r"\|")


def _escaped(text: str) -> str:
    def table(match: re.Match[str]) -> str:
        names = getattr(choices, match[0], None)
        if not isinstance(names, tuple):
            return match[0]
        if len(names) > MOST_NAMES:
            return f"[{match[0]}](#{match[0].lower()})"
        return ", ".join(f"`{name}`" for name in names)

    return re.sub(r"\b[A-Z][A-Z0-9_]+\b", table, re.sub(r"([\\*<>\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text))


def _table(keys: list[Key]) -> str:
    if not keys:
        return ""
    rows = [f"| `{key.name}` | {key.type} | {key.default} | {key.meaning} |" for key in keys]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _doc(cls: type) -> str:
    paragraphs = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    return "\n\n".join(_linked(" ".join(part.split())) for part in paragraphs) + "\n"


def _entry(name: str, cls: type) -> str:
    title = "A run" if name == "run" else f"`make {name}`"
    return "\n".join([f"## {title}", "", _doc(cls), _table(keys_of(cls))])


def _group(group: str) -> str:
    """A group's keys: those of what its schemas share, then those of each schema."""
    classes = list(SCHEMAS.get(group, {"": ENTRIES.get(group)}).values())
    owner = next(item.type for item in fields(RUN) if item.name == group)
    assert isinstance(owner, type)
    parts = [f"## {group}", "", _doc(owner), _choices(group), _table(keys_of(owner, f"{group}."))]
    for cls in classes:
        if cls is not owner and cls is not None:
            fixed = next((item.default for item in fields(cls) if item.name in ("layout", "kind")), "")
            keys = [key for key in keys_of(cls, f"{group}.") if key.name not in (f"{group}.layout", f"{group}.kind")]
            parts += [f"### {group}: {fixed}", "", _doc(cls), _table(keys)]
    return "\n".join(parts)


def _choices(group: str) -> str:
    files = sorted((CONFIG_DIR / group).glob("*.yaml"))
    rows = [f"| `{group}={path.stem}` | {_linked(_comment(path))} |" for path in files]
    return "\n".join(["| choice | what it is |", "|---|---|", *rows, ""]) if rows else ""


def _comment(path: Path) -> str:
    """The comment at the top of a file of configs/, without the command that an experiment begins with."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    kept = []
    for line in lines:
        if not line.startswith("#"):
            break
        kept.append(f"`{line[1:].strip()}`:" if line.startswith("# make ") else line[1:].strip())
    return " ".join(kept)


def _experiments() -> str:
    return "\n".join(["## experiment", "", "Choices of several groups at once.", "", _choices("experiment")])


def _losses() -> str:
    rows = []
    for name, params in LOSS_PARAMS.items():
        shown = ", ".join(f"`{key}={_literal(value)}`" for key, value in params.items())
        rows.append(f"| `{name}` | {shown or 'none'} |")
    head = "What `schedule.phases.NAME.loss` may name. [The losses](losses.md) explains each, and its parameters."
    return "\n".join(["## Losses", "", head, "", "| loss | parameters with their defaults |", "|---|---|", *rows, ""])


def _names(name: str) -> str:
    names = ", ".join(f"`{item}`" for item in getattr(choices, name))
    return f"## {name}\n\n{names}\n"


if __name__ == "__main__":
    main()
