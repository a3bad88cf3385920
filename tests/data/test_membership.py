"""Which images belong together is kept with the run, and read back as it was."""

from pathlib import Path

import pandas as pd
import pytest

from saltern.data.folds.membership import belonging, lacks_groups, read_groups, save_groups
from saltern.errors import DataError
from saltern.runs import RunDir

TABLE = pd.DataFrame({"id": ["b", "007", "a", "NA"], "group": ["x", "", "x", "b"]})


def partition(groups: dict[str, str]) -> set[frozenset[str]]:
    return {frozenset(name for name in groups if groups[name] == label) for label in groups.values()}


def test_the_tables_column_counts_where_the_folds_went_by_nothing_and_comes_back_whole(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    save_groups(run.groups, belonging(TABLE, None))
    assert run.groups.read_text() == '"id","group"\n"007",""\n"NA",""\n"a","x"\n"b","x"\n'
    found = read_groups(run)
    assert found is not None
    assert partition(found) == {frozenset("ab"), frozenset(["007"]), frozenset(["NA"])}
    before = run.groups.read_bytes()
    save_groups(run.groups, found)
    assert run.groups.read_bytes() == before, "an ensemble takes them over as they are"


def test_what_the_folds_went_by_comes_before_the_column_and_test_images_are_left_out(tmp_path: Path) -> None:
    asked = pd.Series(["m", "m", "\0a", "n", "n"], index=["007", "test_1", "a", "b", "NA"])
    run = RunDir(tmp_path)
    save_groups(run.groups, belonging(TABLE, asked))
    found = read_groups(run)
    assert found is not None
    assert partition(found) == {frozenset(["b", "NA"]), frozenset("a"), frozenset(["007"])}
    assert not lacks_groups(run, "adjacency")


def test_no_groups_leave_no_file_and_groups_that_were_not_found_leave_every_image_alone(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.groups.write_text("of an earlier try")
    save_groups(run.groups, belonging(TABLE.drop(columns="group"), None))
    assert read_groups(run) is None
    assert belonging(TABLE.assign(group=["", "", "a", "b"]), None) is None
    assert lacks_groups(run, "stratified_group")
    assert not lacks_groups(run, "stratified")
    save_groups(run.groups, belonging(TABLE, pd.Series(TABLE["id"].to_numpy(), index=TABLE["id"])))
    assert len(set((read_groups(run) or {}).values())) == 4


def test_an_image_twice_is_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.groups.write_text("id,group\na,x\na,y\n")
    with pytest.raises(DataError, match="'a' twice"):
        read_groups(run)
