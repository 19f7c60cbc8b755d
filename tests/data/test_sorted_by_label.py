"""Files that are sorted by label are told when they are read."""

from __future__ import annotations

from pathlib import Path

from grid import table
from report_store import composed

from touchstone.configuration import checked
from touchstone.data.corpus import read_gold
from touchstone.data.examples import sorted_by_label
from touchstone.taxonomy import taxonomy_of


def _frame(labels: str, split: str = "test"):
    return table(
        *[(f"s{i}", f"t {i}", ["x"] * (c == "1")) for i, c in enumerate(labels)], split=split
    )


def test_blocks_of_one_label_each_are_found_and_mixed_rows_are_not() -> None:
    assert sorted_by_label(_frame("1" * 15 + "0" * 15)) == ["test"]
    assert sorted_by_label(_frame("1" * 14 + "0" + "1" + "0" * 14)) == []
    assert sorted_by_label(_frame("1" * 30)) == []
    assert sorted_by_label(_frame("1" * 5 + "0" * 5)) == []


def test_reading_a_relation_file_that_is_sorted_says_so(tmp_path: Path, caplog) -> None:
    rows = [f"w{i} @GENE$ and @DISEASE$ .\t{int(i < 15)}" for i in range(30)]
    mixed = rows[::2] + rows[1::2]
    folder = tmp_path / "gad" / "1"
    folder.mkdir(parents=True)
    (folder / "test.tsv").write_text("\n".join(rows) + "\n")
    (folder / "train.tsv").write_text("\n".join(r.replace("w", "v") for r in mixed) + "\n")
    config = checked(composed("task=gad", f"paths.data={tmp_path}"))
    read_gold(
        config.corpus, config.task, taxonomy_of(config.taxonomy), str(tmp_path), tmp_path / "cache"
    )
    told = [r.getMessage() for r in caplog.records if "sorted by label" in r.getMessage()]
    assert len(told) == 1 and "corpus=gad: the test sentences are sorted by label" in told[0]
