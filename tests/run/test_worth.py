"""`touchstone worth`: gold, gold with the set, its size control and its shuffled control, from
files
alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from touchstone.cli import main
from touchstone.configuration import checked
from touchstone.errors import UserError
from touchstone.pipeline import run_cell
from touchstone.run.conf_files import composed
from touchstone.run.worth import study

SAYS = {"Memory": "forgets names", "Falls": "fell in the bath", "": "walks to the shop"}


def write(
    path: Path, n: int, site: str, columns: tuple[str, ...] = ("patient", "note", "text", "label")
):
    with open(path, "w", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        for patient in range(n):
            for label, text in SAYS.items():
                writer.writerow(
                    {
                        "patient": f"{site}{patient}",
                        "note": f"{site}{patient}n",
                        "text": f"{site * 3} {patient} {text} {patient * 7919 % 97}",
                        "label": label,
                    }
                )
    return str(path)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "gold.csv", 8, "p")
    write(tmp_path / "test.csv", 8, "q")
    write(tmp_path / "theirs.csv", 20, "x", ("text", "label"))
    return tmp_path


def test_the_study_of_a_set_has_its_controls(files, monkeypatch):
    line = study(Path("w"), "gold.csv", "test.csv", {"bronze": ["theirs.csv"], "silver": []})
    names = ["gold", "gold_bronze", "gold_as_many_as_bronze", "gold_bronze_shuffled"]
    assert line[-2:] == ["mixture=" + ",".join(f"worth/{name}" for name in names), "study=worth"]
    monkeypatch.chdir(files / "w")
    cells = {
        name: run_cell(checked(composed([line[1], f"mixture=worth/{name}", "mixture.leakage=100"])))
        for name in names[1:3]
    }
    assert {len(cell.datasets["test"]) for cell in cells.values()} == {24}
    assert (
        cells["gold_bronze"].metrics["n_train"]
        == cells["gold_as_many_as_bronze"].metrics["n_train"]
    )
    assert not cells["gold_bronze"].generated[0].usage.requests


def test_several_sets_alike_are_one(files):
    write(files / "ours.csv", 3, "y", ("text", "label"))
    study(Path("w"), "gold.csv", None, {"silver": [], "bronze": ["theirs.csv", "ours.csv"]})
    corpus = (files / "w" / "conf" / "corpus" / "worth.yaml").read_text()
    assert "theirs.csv" in corpus and "ours.csv" in corpus


@pytest.mark.parametrize("header", [("text", "class"), ("sentence", "label")])
def test_sets_of_other_columns_are_asked_about_alone(files, header):
    rows = [",".join(header), "A thing was said.,Memory", "Another thing was said.,Falls"]
    (files / "ours.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(UserError, match="the files are not laid out alike; ask about each alone"):
        study(Path("w"), "gold.csv", None, {"silver": [], "bronze": ["theirs.csv", "ours.csv"]})


def test_a_category_that_gold_lacks_and_nothing_to_ask_about(files, capsys):
    (files / "odd.csv").write_text("text,label\nSleeps badly at night.,Sleep\nFell again.,Falls\n")
    with pytest.raises(UserError, match='odd.csv: no category "sleep".*There are: falls, memory'):
        study(Path("w"), "gold.csv", None, {"silver": [], "bronze": ["odd.csv"]})
    assert main(["worth", "--gold", "gold.csv"]) == 1
    assert "worth of what? Name it: --bronze FILE" in capsys.readouterr().err
