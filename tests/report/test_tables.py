"""`touchstone table`: what the files hold, that LaTeX compiles, that every number leads to its run,
and that nothing restricted is shown."""

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import report_store as made
from hypothesis import given
from hypothesis import strategies as st
from preloaded import completed

from touchstone import cli, tracking
from touchstone.errors import UserError
from touchstone.evaluate.agreement import cohen_kappa
from touchstone.generate import stages
from touchstone.report import reading
from touchstone.report.formats import csv, latex, markdown
from touchstone.report.grid import collect
from touchstone.report.study import study_of, write
from touchstone.report.tables import data as data_tables
from touchstone.report.tables import quality as data_quality
from touchstone.report.tables.layout import Column, Entry, Row, Table, labels_shown, number
from touchstone.report.tables.published import published

MUTOOL = shutil.which("mutool")
LATEX = shutil.which("pdflatex") or shutil.which("tectonic")
TABLES = (
    "scores",
    "claims",
    "categories_ad_multiclass",
    "data",
    "composition",
    "quality",
    "quality_categories",
    "agreement",
)


@pytest.fixture(scope="module")
def study():
    return made.shared_study()


@pytest.fixture(scope="module")
def files(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    write(study, folder, ["latex", "markdown", "csv", "html"])
    return folder


def table(study, name):
    return next(one for one in study.tables if one.name == f"two_directions_{name}")


def test_the_study_has_the_tables_and_figures_that_its_grid_can_show(study):
    assert [one.name.removeprefix("two_directions_") for one in study.tables] == list(TABLES)
    assert [one.name for one in study.figures] == [
        "scores",
        "gain_ad_multiclass",
        "confusion_ad_multiclass",
        "data",
        "map",
        "quality",
    ]


def test_scores_stand_beside_their_interval_the_difference_from_gold_and_trivial_rows(study):
    scores = table(study, "scores")
    rows = {row.labels[0]: row for row in scores.rows}
    assert list(rows) == [
        "gold",
        "bronze",
        "gold_silver",
        "gold_bronze",
        "always positive",
        "majority class",
    ]
    best = rows["gold_silver"].entries["ad_multiclass/macro F1"]
    assert best.best and best.low < best.value < best.high and len(best.runs) == 1
    change = rows["gold_silver"].entries["ad_multiclass/macro F1/change"]
    assert change.value == pytest.approx(
        best.value - rows["gold"].entries["ad_multiclass/macro F1"].value
    )
    assert change.mark == "**" and change.p_holm < 0.01 and len(change.runs) == 2
    assert "ad_binary/F1/change" not in rows["gold"].entries
    assert (
        rows["always positive"].entries["ad_binary/R"].value == 1
        and rows["always positive"].reference
    )


def test_a_missing_cell_is_a_word_in_the_table_and_a_note_with_the_reason(study):
    scores = table(study, "scores")
    entry = next(row for row in scores.rows if row.labels[0] == "gold_bronze").entries[
        "ad_binary/F1"
    ]
    assert entry.shown() == "not recorded" and len(entry.runs) == 1
    assert any(
        note.startswith("Missing: gold_bronze of ad_binary. MissingRecording: 60 of 60")
        for note in scores.notes
    )


def test_the_caption_says_the_setting_what_intervals_cover_and_what_stars_mean(study):
    told = table(study, "scores").caption
    for part in (
        "Test set: ad_demo, 1,153 sentences of 20 patients.",
        "Stars: against gold",
        "Brackets: 95 % intervals over test patients and draws",
    ):
        assert part in told
    assert len(told) < 200  # two lines; the rest is in the notes
    notes = " ".join(table(study, "scores").notes)
    assert "Holm-corrected over 5 comparisons" in notes and "20 test patients and 3 draws" in notes
    assert any(
        "smallest true difference in macro F1" in note for note in table(study, "scores").notes
    )


def test_f1_by_category_has_the_change_against_gold_with_its_interval(study):
    categories = table(study, "categories_ad_multiclass")
    assert len(categories.rows) == 9 and categories.rows[0].labels == ("Cognitive impairment",)
    entry = categories.rows[0].entries["gold_silver"]
    assert re.fullmatch(r"[+−]\d\.\d\d \[[+−]?\d\.\d\d, [+−]?\d\.\d\d\]", entry.second("change"))
    assert entry.change == pytest.approx(entry.value - categories.rows[0].entries["gold"].value)


def test_data_counts_are_those_of_the_data_sets(study):
    data = table(study, "data")
    rows = {row.labels[0]: row.entries for row in data.rows}
    train = reading.examples(study.grid.store, study.grid.cells[0].run, "datasets/training.parquet")
    assert (
        rows["sentences"]["training"].value == len(train)
        and rows["patients"]["training"].value == 10
    )
    assert rows["sentences"]["test"].value == 1153 and rows["patients"]["test"].value == 20
    assert rows["Diagnostic tests"]["training"].value == sum(
        "diagnostic_tests" in labels for labels in train["labels"]
    )
    assert (
        rows["sentences"]["bronze"].value == 240
        and "patients" in rows
        and "bronze" not in rows["patients"]
    )


def test_composition_says_what_was_dropped_from_each_source(study):
    composition = table(study, "composition")
    row = next(row for row in composition.rows if row.labels == ("gold_silver", "silver"))
    entries = {key: entry.value for key, entry in row.entries.items()}
    assert entries["available"] == entries["used"] + sum(
        entries[reason]
        for reason in ("filtered", "exact_duplicate", "near_duplicate", "leakage", "not_sampled")
    )


def test_quality_is_measured_once_and_kept_on_the_generations_own_run(study):
    store = study.grid.store
    (bronze,) = [
        run
        for run in reading.search(store, kind="generation")
        if run.data.params["stage"] == "bronze"
    ]
    assert (
        bronze.data.metrics["quality/all/count"] == 240
        and 0.5 <= bronze.data.metrics["quality/all/two_sample_auc"] <= 1
    )
    assert bronze.data.metrics["quality/all/round_trip"] == pytest.approx(
        0.8
    )  # every fifth label was lost on the way back
    assert "quality/cognitive_impairment/length_mean" in bronze.data.metrics
    assert len(reading.csv(store, bronze, data_quality.TABLE)) > 100 and reading.text(
        store, bronze, "quality/quality.svg"
    ).startswith("<svg")
    kept = data_quality.measured(study.grid)
    assert kept[kept["measure"] == "round_trip"]["value"].notna().any()
    shown = {row.labels[1]: row.entries for row in table(study, "quality").rows}
    assert shown["round trip: label given again"]["bronze"].value == pytest.approx(0.8)
    assert (
        shown["sentences"]["gold"].value == 555
        and shown["longest copy of gold, words"]["bronze"].value > 4
    )


def test_quality_is_not_measured_again(study, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("measured again")

    monkeypatch.setattr(data_quality, "quality", never)
    assert len(data_quality.measured(study.grid))


def test_agreement_is_that_of_the_annotator_files_with_an_interval_over_patients(study):
    agreement = table(study, "agreement")
    entry = agreement.rows[0].entries["cohen_kappa"]
    assert (
        0.9 < entry.low < entry.value < entry.high <= 1
        and agreement.rows[0].entries["n"].value == 2846
    )
    assert [row.labels[0] for row in agreement.rows][-2:] == [
        "any category",
        "whole label set",
    ] and "50 patients" in agreement.caption


def test_agreement_is_left_out_with_the_reason_where_the_files_are_gone(study, monkeypatch):
    def gone(*args):
        raise UserError("annotator_1.tsv: no such file")

    monkeypatch.setattr(data_tables, "read_annotators", gone)
    assert data_tables.agreement_table(study.grid) == (
        None,
        "the annotator files are out of reach: annotator_1.tsv: no such file",
    )


def test_the_kappa_of_joint_counts_is_cohens():
    a, b = [0, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 0, 0, 1]
    joint = np.zeros((1, 2, 2))
    np.add.at(joint[0], (a, b), 1)
    assert data_tables._kappas(joint)[0] == pytest.approx(cohen_kappa(a, b))


def test_csv_holds_full_numbers_under_documented_columns(study, files):
    frame = pd.read_csv(files / "two_directions_scores.csv")
    documented = pd.read_csv(files / "columns.csv")
    assert (
        list(frame.columns) == documented["column"].tolist()
        and documented["meaning"].str.len().min() > 5
    )
    row = frame[
        (frame["row"] == "gold_silver") & (frame["column"] == "ad_multiclass/macro F1")
    ].iloc[0]
    entry = next(
        row for row in table(study, "scores").rows if row.labels[0] == "gold_silver"
    ).entries["ad_multiclass/macro F1"]
    assert (
        row["value"] == entry.value and row["low"] == entry.low and row["run_id"] == entry.runs[0]
    )
    assert (
        frame[frame["word"] == "not recorded"]["value"].isna().all()
        and (frame["word"] == "not recorded").any()
    )


def test_the_sidecar_leads_from_every_number_to_run_data_prompt_and_answers(study, files):
    sidecar = json.loads((files / "two_directions.json").read_text())
    for name in TABLES[:2]:
        one = table(study, name)
        expected = sum(bool(entry.runs) for row in one.rows for entry in row.entries.values())
        assert len(sidecar["tables"][one.name]) == expected > 20
        for entry in sidecar["tables"][one.name]:
            assert set(entry["runs"]) <= set(sidecar["runs"]) | set(study.grid.missing["run_id"])
    cell = next(
        run
        for run in sidecar["runs"].values()
        if run.get("axes", {}).get("mixture") == "gold_silver"
    )
    assert set(cell["datasets"]) == {"training", "dev", "test"} and all(
        len(digest) == 64 for digest in cell["datasets"].values()
    )
    assert (
        cell["prompt"]["name"] == "guideline"
        and cell["prompt"]["version"] == "1"
        and len(cell["prompt"]["digest"]) == 64
    )
    assert cell["recording"] == {"silver": "f" * 64} and cell["code"]["commit"] == "c0ffee"
    assert (
        sidecar["missing"][0]["mixture"] == "gold_bronze"
        and sidecar["method"]["n_resamples"] == 2000
    )


def test_markdown_marks_the_best_and_what_is_significant(files):
    text = (files / "two_directions.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| gold_silver"))
    assert re.search(r"\*\*0\.\d{3}\*\* \[0\.\d{3}, 0\.\d{3}\]", line) and re.search(
        r"\+0\.\d{3}\\\*\\\* \[\+0", line
    )
    assert text.count("### ") == len(TABLES)


def test_a_long_table_breaks_over_pages_and_loses_no_row(tmp_path):
    rows = tuple(Row((f"row {i}",), {"a": Entry(i / 90, 0.1, 0.9)}) for i in range(90))
    long = Table("long", "Long", "", ("Row",), (Column("a", "A", "", "interval"),), rows, ("n",))
    text = latex.latex(long)
    assert r"\begin{longtable}" in text and r"\endhead" in text
    if LATEX is None or MUTOOL is None or "pdflatex" not in LATEX:
        pytest.skip("no pdflatex and mutool on this machine")
    (tmp_path / "long.tex").write_text(text)
    (tmp_path / "all.tex").write_text(latex.standalone(["long.tex"]))
    subprocess.run([LATEX, "-interaction=nonstopmode", "all.tex"], cwd=tmp_path, check=True)
    subprocess.run([MUTOOL, "draw", "-F", "txt", "-o", "all.txt", "all.pdf"], cwd=tmp_path)
    found = (tmp_path / "all.txt").read_text()
    assert all(f"row {i}" in found for i in range(90))


def test_word_and_excel_hold_the_numbers_of_the_tables(study, tmp_path):
    docx = pytest.importorskip("docx", reason="pip install python-docx")
    openpyxl = pytest.importorskip("openpyxl", reason="pip install openpyxl")
    write(study, tmp_path, ["docx", "xlsx"])
    scores = table(study, "scores")
    best = next(row for row in scores.rows if row.labels[0] == "gold_silver")
    entry = best.entries["ad_multiclass/macro F1"]
    document = docx.Document(str(tmp_path / "two_directions.docx"))
    assert len(document.tables) == len(TABLES) and len(document.inline_shapes) == 6
    cells = [cell.text for row in document.tables[0].rows for cell in row.cells]
    assert f"{entry.shown()}\n{entry.second('interval')}" in cells
    book = openpyxl.load_workbook(tmp_path / "two_directions.xlsx")
    assert book.sheetnames == list(TABLES)
    values = [cell.value for row in book["scores"].iter_rows() for cell in row]
    assert entry.value in values and entry.low in values and "**" in values


def test_the_wide_csv_has_the_rows_of_the_table_and_its_changes(study, files):
    frame = pd.read_csv(files / "two_directions_scores_wide.csv")
    scores = table(study, "scores")
    assert frame["Training data"].tolist() == [row.labels[0] for row in scores.rows]
    row = frame.set_index("Training data").loc["gold_silver"]
    entry = scores.rows[2].entries["ad_multiclass/macro F1/change"]
    assert row["ad_multiclass vs gold"] == entry.value
    assert row["ad_multiclass vs gold high"] == entry.high
    assert row["ad_multiclass vs gold star"] == entry.mark
    full = pd.read_csv(files / "two_directions_categories_ad_multiclass.csv")
    assert full["change"].notna().any()


def test_a_format_of_ones_own_is_a_file_of_the_project(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "titles.py").write_text(
        "def write(study, folder):\n"
        "    path = folder / 'titles.txt'\n"
        "    path.write_text('\\n'.join(table.title for table in study.tables))\n"
        "    return [path]\n"
        "def broken(study, folder):\n"
        "    return 1 / 0\n"
    )
    written = write(study, tmp_path / "out", ["titles.write"])
    assert written[-1].read_text().startswith("Scores by training data\n")
    assert not (tmp_path / "out" / "figures").exists()  # it shows none
    with pytest.raises(UserError, match=r"format=titles.broken: .*titles.py, line 6: ZeroDiv"):
        write(study, tmp_path / "out", ["titles.broken"])


def test_html_opens_from_disk_and_asks_for_nothing(files):
    text = (files / "two_directions.html").read_text()
    assert (
        not re.search(r'(?:src|href)="(?!#|data:)', text)
        and "<script" not in text
        and "@import" not in text
        and "url(http" not in text
    )
    assert (
        text.count("<table>") == len(TABLES)
        and text.count("<svg") == 12  # each figure for wide pages and for phones
        and "default-src 'none'" in text
    )
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "two figures share an id"


@pytest.mark.skipif(LATEX is None, reason="no pdflatex or tectonic on this machine")
def test_latex_compiles_on_its_own_and_in_one_and_two_columns(study, files, tmp_path):
    for source in files.glob("*.tex"):
        shutil.copy(source, tmp_path)
    for name, columns in (("paper", "onecolumn"), ("journal", "twocolumn")):
        body = (
            rf"\documentclass[{columns}]{{article}}{latex.PACKAGES}\begin{{document}}As shown: "
            r"\input{two_directions_scores.tex}\input{two_directions_scores_slim.tex}"
            r"\input{two_directions_categories_ad_multiclass.tex}\end{document}"
        )
        (tmp_path / f"{name}.tex").write_text(body)
    for name in ("two_directions", "paper", "journal"):
        command = (
            [LATEX, "-interaction=nonstopmode", "-halt-on-error"]
            if "pdflatex" in LATEX
            else [LATEX]
        )
        done = subprocess.run(
            [*command, f"{name}.tex"], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0 and (tmp_path / f"{name}.pdf").stat().st_size > 5000, (
            done.stdout[-2000:]
        )
        if (tmp_path / f"{name}.log").exists():
            log = (tmp_path / f"{name}.log").read_text()
            assert "Overfull \\hbox" not in log and "Float too large" not in log
        if MUTOOL and name == "two_directions":
            text = subprocess.run(
                [MUTOOL, "draw", "-F", "txt", f"{name}.pdf"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            text = text.replace("’", "'")  # LaTeX sets an apostrophe so
            words = re.sub(r"[\s_]+", "", text)
            for one in study.tables:
                for row in one.rows:
                    for label in row.labels:
                        assert re.sub(r"[\s_]+", "", label) in words, (one.name, label)
                    for entry in row.entries.values():
                        assert entry.shown().strip("+−") in text, one.name


@given(st.text(max_size=60))
def test_latex_escapes_any_text_into_printable_ascii_commands(text):
    escaped = latex.escape(text)
    bare = re.sub(r"\\(?:[&%$#_{}]|text\w+\{\}|ldots\{\})|\$[^$]*\$", "", escaped)
    assert not re.search(r"[&%$#_{}~^\\<>|]", bare)


def test_latex_of_a_hostile_name_is_still_a_table(tmp_path):
    hostile = Table(
        "t",
        "50 % & more_#1",
        "a^b {c} \\input{x}",
        ("x_y",),
        (Column("a", "A_1", "G & H"),),
        (Row(("a&b",), {"a": Entry(0.5)}),),
    )
    text = latex.latex(hostile)
    assert (
        r"a\&b" in text
        and r"\textbackslash{}input\{x\}" in text
        and r"\multicolumn{1}{c}{G \& H}" in text
    )


def test_numbers_have_a_true_minus_and_no_negative_zero():
    assert (
        number(-0.0001) == "0.000"
        and number(0.0, 3, True) == "0.000"
        and number(0.0411, 2, True) == "+0.04"
    )
    assert number(np.inf, None) == "∞" and number(np.nan) == "–" and number(1234.0, None) == "1,234"


def test_labels_that_repeat_the_row_above_are_blank_within_a_block():
    rows = [Row(("a", "x"), {}, "1"), Row(("a", "y"), {}, "1"), Row(("a", "z"), {}, "2")]
    assert labels_shown(Table("t", "t", "", ("", ""), (), tuple(rows))) == [
        ("a", "x"),
        ("", "y"),
        ("a", "z"),
    ]


def test_published_figures_have_a_source_and_our_units(tmp_path):
    found = published("synthetic_mining")
    assert {(one.kind, one.row, one.value) for one in found} == {
        ("ner", "zero_shot", 23.37),
        ("ner", "bronze", 63.99),
        ("relation", "zero_shot", 75.86),
        ("relation", "bronze", 83.59),
    }
    assert (
        found[0].fraction == pytest.approx(0.2337)
        and all("arXiv 2303.04360" in one.source for one in found)
        and not published("hoc")
    )
    broken = tmp_path / "published.yaml"
    broken.write_text(
        "- {study: a, kind: ner, row: bronze, metric: f1, value: 1, unit: percent, what: x, "
        "source: ''}"
    )
    with pytest.raises(UserError, match="entry 1: must have the fields .*source, none empty"):
        published("a", broken)


def test_the_command_writes_what_is_asked_for_and_says_what_is_missing(tmp_path, capsys):
    folder, _, parent = made.shared()
    status = cli.main(
        [
            "table",
            "two_directions",
            "--format",
            "csv,markdown",
            "--no-figures",
            "--store",
            str(folder / "mlflow"),
            "--out",
            str(tmp_path),
        ]
    )
    told = capsys.readouterr().out
    assert (
        status == 0
        and f"7 cells of sweep {parent[:8]}" in told
        and "Missing: gold_bronze of ad_binary" in told
    )
    assert sorted({path.suffix for path in tmp_path.iterdir()}) == [".csv", ".json", ".md"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], 'no study "nope"'),
        (["two_directions", "--format", "word"], 'format=word: no format "word"'),
        (["two_directions", "--sweep", "ffff"], "no sweep ffff"),
    ],
)
def test_a_wrong_command_is_one_line_that_names_the_choices(arguments, message, tmp_path, capsys):
    folder, _, _ = made.shared()
    assert (
        cli.main(
            ["table", *arguments, "--store", str(folder / "mlflow"), "--out", str(tmp_path / "out")]
        )
        == 1
    )
    told = capsys.readouterr().err
    assert message in told and len(told.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_a_sweep_without_a_finished_cell_says_why():
    store = made.empty_study("nothing_finished")
    made.log_failure(
        store,
        made.log_sweep(store, "nothing_finished"),
        "study=nothing_finished",
        "mixture=bronze",
        told="not in the recording",
    )
    with pytest.raises(
        UserError,
        match=(
            "no finished cell to make tables of. Missing: bronze of ad_multiclass. "
            "MissingRecording: not in the"
        ),
    ):
        study_of(collect(store, "nothing_finished"))


def test_text_of_a_restricted_corpus_is_measured_from_the_cache_or_not_at_all(tmp_path):
    store = made.empty_study("secret")
    parent = made.log_sweep(store, "secret")
    for mixture in ("gold", "bronze"):
        asked = (
            "study=secret",
            "task=ad_binary",
            f"mixture={mixture}",
            "corpus.access=restricted",
            f"paths.cache={tmp_path / 'stages'}",
        )
        made.log(store, parent, *asked, cache=made.cache(), restricted=True)
    study = study_of(collect(store, "secret"), with_figures=False)
    write(study, tmp_path / "out", ["html", "csv", "markdown", "latex"])
    quality = next(one for one in study.tables if one.name == "secret_quality")
    assert any("the corpus is restricted" in note for note in quality.notes)
    secrets = [
        text
        for text in made.demo_gold("ad_binary", made.cache())[0].frame["text"]
        if len(text) > 25
    ]
    logged = [
        path
        for run in reading.search(store, study="secret", kind="cell")
        for path in tracking.artifacts(store, run).rglob("*.*")
    ]
    assert len(logged) > 10
    for path in [*(tmp_path / "out").rglob("*.*"), *logged]:
        content = path.read_text(errors="replace")
        assert not any(text in content for text in secrets), path.name

    gold, taxonomy = made.demo_gold("ad_binary", made.cache())
    bronze = made.synthetic(
        gold, made.prompt_of(made.prompt("guideline"), taxonomy, "binary"), restricted=True
    )["bronze"]
    stages.save(bronze, made.stage_folder(tmp_path / "stages", "bronze"))
    grid = collect(store, "secret")
    table = data_quality.measured(grid)
    assert (
        table[
            (table["name"] == "bronze")
            & (table["measure"] == "count")
            & (table["category"] == "all")
        ]["value"].item()
        == 240
    )
    (run,) = {one.run.info.run_id for one in data_quality.generated(grid)}
    assert store.client.get_run(run).data.metrics["quality/all/length_mean"] > 3
    logged = tracking.artifacts(store, store.client.get_run(run))
    assert not any(
        "Family reports" in path.read_text(errors="replace") for path in logged.rglob("*.*")
    )


def test_silver_of_left_out_gold_is_held_against_the_experts(tmp_path):
    store = made.empty_study("left_out")
    parent = made.log_sweep(store, "left_out")
    for mixture in ("gold", "silver"):
        made.log(
            store,
            parent,
            "study=left_out",
            "task=ad_binary",
            f"mixture={mixture}",
            "corpus.pool.reader=rest_of_train",
            cache=made.cache(),
        )
    table = data_quality.measured(collect(store, "left_out"))
    found = table[(table["name"] == "silver") & (table["category"] == "all")].set_index("measure")[
        "value"
    ]
    assert (
        found["true_precision"] == 1 and 0.8 < found["true_recall"] < 1
    )  # every tenth label set was emptied


def test_a_sweep_of_run_py_becomes_tables_whose_numbers_are_those_of_its_runs(tmp_path):
    done = completed(
        "-m",
        "task=ad_multiclass",
        "mixture=gold,gold_bronze",
        "generation.bronze_per_category=10",
        "generation.bronze_none=10",
        "tracking.log_models=false",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        cli.main(
            [
                "table",
                "two_directions",
                "--store",
                str(tmp_path / "mlflow"),
                "--out",
                str(tmp_path / "out"),
                "--format",
                "csv",
            ]
        )
        == 0
    )
    frame = pd.read_csv(tmp_path / "out" / "two_directions_scores.csv")
    store = tracking.open_existing(tmp_path / "mlflow")
    for cell in reading.search(store, kind="cell"):
        row = frame[
            (frame["row"] == cell.data.params["mixture"])
            & (frame["column"] == "ad_multiclass/macro F1")
        ].iloc[0]
        assert (
            row["value"] == pytest.approx(cell.data.metrics["test/macro_f1"], abs=1e-4)
            and row["run_id"] == cell.info.run_id
        )
    assert "gold_bronze" in done.stdout and re.search(r"\[0\.\d{3}, 0\.\d{3}\]", done.stdout)


def test_a_plain_table_prints_the_same_in_every_format():
    one = Table(
        "t",
        "T",
        "c",
        ("a",),
        (Column("x", "X", "", "interval"),),
        (Row(("r",), {"x": Entry(0.5, 0.4, 0.6, best=True, mark="*")}),),
    )
    assert "**0.500**\\* [0.400, 0.600]" in markdown.markdown(one)
    assert r"\bfseries 0.500 {\rlap{\textsuperscript{*}}}" in latex.latex(
        one
    ) and r"{\tiny [0.400, 0.600]}" in latex.latex(one)
    assert csv.csv(one).loc[0, ["value", "low", "high"]].tolist() == [0.5, 0.4, 0.6]
