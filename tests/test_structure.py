"""The budgets that keep the tree readable, and the vocabulary that make, scripts and pipeline share."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])

STAGES = {
    "check": "check_dataset",
    "lr": "lr_range",
    "folds": "make_folds",
    "train": "train",
    "tune": "tune_decision",
    "predict": "predict_test",
    "submit": "write_submission",
    "report": "write_report",
    "ensemble": "ensemble_runs",
    "compare": "compare_runs",
    "seeds": "train_seeds",
    "losses": "train_losses",
    "score": "score_submission",
    "validate": "validate_submission",
    "runs": "list_runs",
    "bundle": "bundle_run",
    "export": "export_run",
}


def functions(path: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def code_lines(function: ast.FunctionDef, text: list[str]) -> int:
    """Lines of the body that are neither docstring, blank, nor comment."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    lines = text[body[0].lineno - 1 : function.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


def test_no_file_is_longer_than_300_lines() -> None:
    assert len(SOURCES) > 40
    too_long = {
        str(path.relative_to(ROOT)): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > 300
    }
    assert too_long == {}


def test_no_function_has_more_than_50_code_lines_or_7_arguments() -> None:
    found = [(path, function) for path in SOURCES for function in functions(path)]
    assert len(found) > 300
    long = [f"{path.name}:{item.name}" for path, item in found if code_lines(item, path.read_text().splitlines()) > 50]
    assert long == []
    arguments = [
        f"{path.name}:{item.name}"
        for path, item in found
        if len([name for name in (*item.args.args, *item.args.kwonlyargs) if name.arg not in ("self", "cls")]) > 7
    ]
    assert arguments == []


def test_no_name_hides_a_concept() -> None:
    hidden = [path for path in SOURCES if re.fullmatch(r"(utils?|helpers?|common|misc)", path.stem)]
    assert hidden == []


def test_only_scripts_print_and_only_config_knows_omegaconf() -> None:
    package = [path for path in SOURCES if "scripts" not in path.parts]
    printing = [path.name for path in package if re.search(r"(?<![\w.])print\(", path.read_text())]
    assert printing == []
    outside = [path for path in package if path.parent.name != "config"]
    assert [path.name for path in outside if re.search(r"omegaconf|import hydra|from hydra", path.read_text())] == []


def test_make_scripts_and_pipeline_share_their_words() -> None:
    makefile = (ROOT / "Makefile").read_text()
    files = sorted((ROOT / "src/saltern/pipeline").glob("*.py"))
    pipeline = {item.name for path in files for item in functions(path)}
    for stage, function in STAGES.items():
        assert re.search(rf"^{stage}:.*## ", makefile, re.M), f"make {stage}"
        assert (ROOT / "scripts" / f"{stage}.py").is_file(), stage
        assert function in pipeline, function
    listed = re.search(r"^STAGES\s*:=\s*(.*)$", makefile, re.M)
    assert listed is not None
    assert set(STAGES) <= set(listed.group(1).split())


def test_every_public_thing_has_a_docstring() -> None:
    """Ruff's D rules see to functions and classes; fields of a config are described by the string below them."""
    trees = [ast.parse(path.read_text()) for path in sorted((ROOT / "src/saltern/config").glob("*.py"))]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) > 20
    assert [item.name for item in classes if not ast.get_docstring(item)] == []
