"""`touchstone review`: from a sweep to a file for experts and back, on the command line."""

import csv
import json
import stat
from pathlib import Path

import pandas as pd
import pytest
import report_store as made
from grid import run

import touchstone.demo
from touchstone import cli, tracking
from touchstone.generate.prompts import prompt_of
from touchstone.report import reading, reviewed
from touchstone.report.claims import claims_of, findings
from touchstone.report.grid import collect, grid_of, sweep_of
from touchstone.report.judging import KEY
from touchstone.report.tables.reviewed import review_table
from touchstone.review.formats.sheets import LABELS

DEMO = Path(touchstone.demo.__file__).parent / "review"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A store of its own, since reviews are written to it: folder, store, parent."""
    folder = tmp_path_factory.mktemp("review")
    mixtures = ("gold", "gold_silver", "gold_bronze")
    store, parent = made.two_directions(
        folder, tasks=("ad_multiclass",), mixtures=mixtures, failing="", seeds=1
    )
    return folder, store, parent


def export(folder, *arguments) -> int:
    return cli.main(["review", "export", *arguments, "--store", str(folder / "mlflow")])


def fill(path: Path, store, wrong=()) -> str:
    """Fill a sheet with the LLM's own labels, from the key; `wrong` are example ids that become
    none. Returns the review's id."""
    name = _rows(path)[0]["item"].split("-")[0]
    logged = reading.search(store, **{"touchstone.review": name})[-1]
    key = {row["item"]: row for row in reading.json_file(store, logged, "review/key.json")["items"]}
    rows = _rows(path)
    for row in rows:
        known = key[row["item"]]
        labels = [] if known["example_id"] in wrong else known["labels"]
        for column, label in zip(LABELS, labels or ["none"], strict=False):
            row[column] = label
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return name


def _rows(path):
    with path.open(encoding="utf-8-sig", newline="") as handle:
        return list(csv.DictReader(handle))


def test_a_round_trip_logs_precision_corrections_and_the_claim(sweep, tmp_path, capsys):
    folder, store, parent = sweep
    sheet = tmp_path / "r.csv"
    assert export(folder, parent[:8], "--n", "80", "--out", str(sheet)) == 0
    told = capsys.readouterr().out
    assert "80 sentences to judge, blind" in told and "touchstone review import FILE" in told
    assert "source" not in _rows(sheet)[0]
    name = fill(sheet, store)
    out = tmp_path / "corrections.jsonl"
    arguments = ["review", "import", str(sheet), "--expert", "Ann", "--corrections", str(out)]
    assert cli.main([*arguments, "--store", str(folder / "mlflow")]) == 0
    told = capsys.readouterr().out
    assert f"review {name}: 80 of 80 sentences judged by Ann" in told and "undecided" in told
    logged = reading.search(store, **{"touchstone.review": name})[-1]
    assert logged.data.metrics["review/silver/all/correct"] == 1.0
    assert logged.data.metrics["review/silver/all/correct_low"] < 0.99
    quality = reading.csv(store, logged, "review/quality.csv")
    assert {"silver", "bronze"} == set(quality["source"])
    prevalence = reading.csv(store, logged, "review/prevalence.csv")
    assert set(prevalence["method"]) == {"LLM's count", "PPI++"}
    shown = "".join(map(str, reviewed.section(grid_of(store, "a", [], sweep_of(store, parent)[1]))))
    assert f"Review {name}, judged by Ann" in shown and "prevalence in the pool" in shown
    assert "Bronze has fewer label errors than silver: undecided" in shown
    grid = grid_of(store, "a", [], sweep_of(store, parent)[1])
    claim = next(c for c in claims_of("two_directions") if c.measure == "errors")
    (judged,) = findings(grid, [claim])
    row = reading.csv(store, logged, "review/claim.csv").iloc[0]
    assert judged.effect.value == row["difference"] and judged.effect.high == row["high"]
    assert judged.verdict == "undecided" and judged.runs[-1] == logged.info.run_id
    assert judged.note == f"review {name}, judged by Ann" and judged.effect.detectable > 0
    rows = {one.labels: one.entries for one in review_table(grid).rows}
    whole = rows[name, "silver", "all"]["correct"]
    assert whole.value == 1 and whole.low == logged.data.metrics["review/silver/all/correct_low"]
    assert rows[name, "silver", "coping_strategy"]["precision"].runs == (logged.info.run_id,)
    assert len(out.read_text().splitlines()) == 80 and "text" not in json.loads(
        out.read_text().splitlines()[0]
    )


def test_without_judgements_the_claim_says_how_to_get_some():
    _, store, _ = made.shared()
    grid = collect(store, "two_directions")
    claim = next(c for c in claims_of("two_directions") if c.measure == "errors")
    (open_,) = findings(grid, [claim])
    assert open_.verdict == "undecided" and "touchstone review export, import" in open_.note
    assert review_table(grid) is None


def test_a_sheet_of_another_store_needs_its_key(sweep, tmp_path, capsys):
    folder, _, _ = sweep
    sheet = tmp_path / "r.csv"
    sheet.write_text("item,text,label\n0123abcd-01,a,none\n")
    arguments = ["review", "import", str(sheet), "--store", str(folder / "mlflow")]
    assert cli.main(arguments) == 1
    assert "the key of review 0123abcd is not in this store" in capsys.readouterr().err
    assert cli.main([*arguments, "--key", str(DEMO / "key.json")]) == 1
    assert "is the key of review" in capsys.readouterr().err
    sheet.write_text("item,text,label\n")
    assert cli.main(arguments) == 1
    assert "holds no item of a review" in capsys.readouterr().err


def test_what_cannot_be_asked_for_is_told(sweep, tmp_path, capsys):
    folder, _, _ = sweep
    for words, told in (
        (["--n", "5"], "--n 5 is too small"),
        (["--of", "disagreements"], "needs two silver data sets"),
        (["--ask", "fun"], 'no question "fun"'),
        (["nosuchrun"], "no run with an id that begins with 'nosuchrun'"),
    ):
        assert export(folder, *words, "--out", str(tmp_path / "r.csv")) == 1
        assert told in capsys.readouterr().err


def test_what_was_dropped_can_be_judged(sweep, tmp_path, capsys):
    folder, _, _ = sweep
    assert export(folder, "--of", "dropped", "--n", "8", "--out", str(tmp_path / "d.csv")) == 0
    assert "duplicate" in capsys.readouterr().out


def test_restricted_text_is_written_for_a_purpose_only_and_for_its_owner(tmp_path, capsys):
    folder = tmp_path
    store, _ = made.empty_study("review_restricted"), None
    parent = made.log_sweep(store, "review_restricted")
    made.log(
        store,
        parent,
        "task=ad_multiclass",
        "mixture=gold_bronze",
        "corpus.access=restricted",
        f"paths.cache={folder / 'cache'}",
        cache=made.cache(),
        restricted=True,
    )
    out = folder / "r.csv"
    words = ["review", "export", parent, "--out", str(out), "--store", store.uri, "--n", "30"]
    assert cli.main(words) == 1
    assert "say what it is for: --purpose" in capsys.readouterr().err.replace("Say", "say")
    assert not out.exists()
    assert cli.main([*words, "--purpose", "review by our own staff"]) == 1  # its text is not here
    assert "the stage cache of this machine does not have it" in capsys.readouterr().err
    stage = made.stage_folder(folder / "cache", "bronze")
    # of this sweep: other tests log generations into the same store
    (cell,) = tracking.children(store, parent)
    gold, taxonomy = made.demo_gold("ad_multiclass", made.cache())
    bronze = made.synthetic(
        gold, prompt_of(made.prompt("guideline"), taxonomy, "multiclass"), True
    )["bronze"]
    described = {"digest": cell.data.tags["touchstone.generation.bronze"]}
    (stage / "generated.json").write_text(json.dumps(described))
    bronze.dataset.frame.to_parquet(stage / "examples.parquet")
    assert cli.main([*words, "--purpose", "review by our own staff"]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert all(not reading.text(store, r, KEY) for r in reading.search(store, kind="review"))
    key = out.with_name("r.csv.key.json")  # ids of the corpus: with the file, not in the store
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    rows = _rows(out)
    for row in rows:
        row["label"] = "none"
    with out.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    capsys.readouterr()
    back = ["review", "import", str(out), "--store", store.uri]
    assert cli.main(back) == 1
    assert "name the store (--store) or the key" in capsys.readouterr().err
    assert cli.main([*back, "--key", str(key)]) == 0
    judged = reading.search(store, kind="review")[-1]
    assert reading.text(store, judged, "review/quality.csv")
    assert not reading.text(store, judged, "review/corrections.jsonl")


def test_the_fictional_review_of_the_demo_gives_the_numbers_worked_by_hand():
    from touchstone.review import formats, results
    from touchstone.review.sampling import of_key

    review = of_key(json.loads((DEMO / "key.json").read_text(encoding="utf-8")))
    judgements = formats.read(DEMO / "judgements.csv", review)
    assert sorted(set(judgements["expert"])) == ["A. Example", "B. Example"]
    tables = results.tables(judgements, review, list(review.categories), pd.DataFrame())
    quality = tables["quality"].set_index(["source", "category", "measure"])
    # notice_by_others: 2 drawn of 15, both experts refute one: 1 of 2, and hypergeometric bounds
    row = quality.loc[("silver", "notice_by_others", "precision")]
    assert (row["value"], row["n"]) == (0.5, 2)
    assert (round(row["low"], 3), round(row["high"], 3)) == (0.067, 0.933)
    # realistic bronze: of 36, what 62, 73, 67, 20 and 45 stand for, by halves where one said no
    strata = review.strata.set_index(["source", "stratum"])
    items = review.items.set_index("item")
    no = {"62": 1.0, "73": 0.5, "67": 0.5, "20": 0.5, "45": 0.5}
    lost = 0.0
    for end, share in no.items():
        stratum = items.at[f"{review.id}-{end}", "stratum"]
        size = strata.loc[("bronze", stratum)]
        lost += share * size["population"] / size["drawn"]
    total = review.strata.loc[review.strata["source"] == "bronze", "population"].sum()
    value = tables["questions"].set_index("source").at["bronze", "value"]
    assert value == pytest.approx(1 - lost / total)
    assert tables["claim"]["verdict"].iloc[0] == "undecided"


def test_the_review_of_the_demo_judges_what_the_demo_generates(project, capsys):
    """The shipped key names the data sets that a sweep of the demo makes."""
    assert run("-m", "mixture=gold_silver,gold_bronze", cwd=project).returncode == 0
    assert cli.main(["review", "import", "demo", "--store", str(project / "mlflow")]) == 0
    told = capsys.readouterr().out
    assert "80 of 80 sentences judged by A. Example, B. Example" in told
