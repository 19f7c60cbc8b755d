"""Figures: vector and the same bytes every time, told apart without colour, and drawn from what
stands in the tables."""

import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import report_store as made
from rich.console import Console

from touchstone.data.examples import examples
from touchstone.report import closing
from touchstone.report.comparisons import compared
from touchstone.report.figures import draw as figures
from touchstone.report.figures import embedding
from touchstone.report.figures import study as drawings
from touchstone.report.figures.scores_svg import scores_svg
from touchstone.report.formats import screen
from touchstone.report.grid import collect
from touchstone.report.study import study_of
from touchstone.report.tables.curves import curve_table, curves, equivalent_table, scarcest, worths

ROWS = [
    {"name": n, "mixture": n, "value": v, "low": v - 0.1, "high": v + 0.1, "mark": "*"}
    for n, v in (("gold", 0.5), ("gold_silver", 0.6))
]


def frame(source: str, *texts: str) -> pd.DataFrame:
    return examples(
        {
            "example_id": f"{source}{i}",
            "text": t,
            "labels": ["memory"] if i % 2 else [],
            "source": source,
            "doc_id": "d",
            "patient_id": "p",
        }
        for i, t in enumerate(texts)
    )


SENTENCES = (
    "She forgets names.",
    "Lungs are clear today.",
    "He lost his way home again.",
    "No fever, eating well.",
    "Repeats the same question.",
)


def test_a_figure_is_saved_as_vector_pdf_and_png_the_same_bytes_each_time(tmp_path):
    for folder in ("a", "b"):
        figures.save(figures.score_figure({"task, F1": ROWS}), tmp_path / folder, "scores")
    for suffix in ("pdf", "png"):
        one, other = (
            (tmp_path / folder / f"scores.{suffix}").read_bytes() for folder in ("a", "b")
        )
        assert one == other and len(one) > 2000
    assert b"/Type3" not in (tmp_path / "a" / "scores.pdf").read_bytes(), (
        "journals refuse Type 3 fonts"
    )


def test_series_are_told_apart_by_marker_and_line_not_by_colour_alone():
    styles = [figures.series(name) for name in figures.SERIES]
    assert (
        len({colour for colour, _, _ in styles})
        == len({marker for _, marker, _ in styles})
        == len(styles)
    )
    assert figures.series("gold_repeated")[0] not in {
        colour for name, (colour, _, _) in figures.SERIES.items() if name != "zero_shot"
    }


def test_svg_stands_in_a_page_without_size_of_its_own():
    text = figures.svg(figures.score_figure({"t": ROWS}))
    assert text.startswith("<svg") and "viewBox" in text and "<metadata" not in text
    assert " width=" not in text.partition(">")[0] and " height=" not in text.partition(">")[0]


def test_letters_of_svg_are_letters_and_a_narrow_figure_has_its_panels_below_one_another():
    panels = {"one task, F1": ROWS, "another task, F1": ROWS}
    wide, narrow = figures.score_figure(panels), figures.score_figure(panels, narrow=True)
    drawn = figures.svg(wide)
    assert re.search(r"<text[^>]*>gold_silver</text>", drawn)
    assert narrow.get_figwidth() < 4 < wide.get_figwidth()
    for figure, along in ((wide, "x0"), (narrow, "y1")):
        figure.draw_without_rendering()
        first, second = (ax.get_position() for ax in figure.axes)
        apart = second.x0 >= first.x1 if along == "x0" else second.y1 <= first.y0
        assert apart


@pytest.mark.parametrize("narrow", [False, True])
def test_every_figure_of_a_study_is_drawn_wide_and_narrow_and_told_in_words(narrow):
    _, store, _ = made.shared()
    study = study_of(collect(store, "two_directions"))
    for one in study.figures:
        figure = one.narrow() if narrow else one.figure
        assert (figure.get_figwidth() < 4) == narrow, one.name
        figure.draw_without_rendering()
    told = {one.name: one.told for one in study.figures}
    assert re.search(r"gold 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\), ", told["scores"])
    assert re.search(r"gold_silver: Cognitive impairment [+-]0\.\d\d", told["gain_ad_multiclass"])
    assert re.search(r"predicted as they are: \w+ \d+ of \d+, ", told["confusion_ad_multiclass"])


def test_the_quick_figure_shows_every_row_and_the_line_of_gold():
    text = scores_svg({"task <1>, F1": ROWS})
    assert (
        text.count("<circle") == 2
        and text.count("stroke-dasharray") == 1
        and "task &lt;1&gt;, F1" in text
        and "0.600 *" in text
    )


def test_a_filled_dot_is_a_significant_change():
    changes = pd.DataFrame(
        [
            ("gold_silver", "Memory", 0.1, 0.05, 0.2, "*"),
            ("gold_silver", "Falls", 0.1, -0.1, 0.2, ""),
        ],
        columns=["mixture", "category", "change", "low", "high", "mark"],
    )
    (ax,) = [
        ax for ax in figures.gain_figure(changes, ["Memory", "Falls"]).axes if ax.get_visible()
    ]
    fills = [
        line.get_markerfacecolor()
        for line in ax.lines
        if line.get_marker() not in ("None", None, "")
    ]
    assert fills == [figures.SERIES["gold_silver"][0], "white"]


def test_confusion_matrices_stand_side_by_side_on_one_scale():
    table = pd.DataFrame({"gold": ["a", "none"], "a": [8, 1], "none": [2, 9]})
    figure = figures.confusion_figure(table, table, titles=("gold", "gold_silver"))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["gold", "gold_silver"]
    assert {ax.images[0].get_clim() for ax in figure.axes} == {(0, 1)} and [
        t.get_text() for t in figure.axes[0].texts
    ] == [
        "8",
        "2",
        "1",
        "9",
    ]


def test_the_data_figure_counts_words_and_categories():
    figure = figures.data_figure(
        {"gold": frame("gold", *SENTENCES), "bronze": frame("bronze", *SENTENCES[:2])},
        {"memory": "Memory"},
    )
    _, right = figure.axes
    assert [
        line.get_xdata().tolist() if hasattr(line.get_xdata(), "tolist") else list(line.get_xdata())
        for line in right.lines
    ] == [
        [pytest.approx(0.4), pytest.approx(0.6)],
        [pytest.approx(0.5), pytest.approx(0.5)],
    ]


def test_the_map_is_the_same_each_time_and_samples_large_sources(monkeypatch):
    monkeypatch.setattr(embedding, "SAMPLE", 4)
    frames = {"gold": frame("gold", *SENTENCES), "bronze": frame("bronze", *SENTENCES[:3])}
    first, method = embedding.positions(frames)
    assert first.equals(embedding.positions(frames)[0]) and first[
        "source"
    ].value_counts().to_dict() == {"gold": 4, "bronze": 3}
    assert "TF-IDF" in method and np.isfinite(first[["x", "y"]].to_numpy()).all()
    assert [ax.get_title(loc="left") for ax in figures.map_figure(first, method).axes] == [
        "gold (4)",
        "bronze (3)",
    ]


@pytest.fixture(scope="module")
def curve():
    """Gold at two sizes, and gold with silver at the smaller: what a learning curve needs."""
    store = made.empty_study("a_curve")
    parent = made.log_sweep(store, "a_curve")
    for patients, mixture, skill in ((5, "gold", 0.5), (20, "gold", 0.7), (5, "gold_silver", 0.6)):
        asked = (
            "study=a_curve",
            "task=ad_multiclass",
            f"task.gold_patients={patients}",
            f"mixture={mixture}",
            "seeds=2",
            "worth.minutes_per_sentence=3",
            "worth.hourly_rate=40",
        )
        made.log(store, parent, *asked, cache=made.cache(), skill=skill)
    grid = collect(store, "a_curve")
    return grid, compared(grid, 400)


def test_a_mixture_is_worth_gold_between_the_sizes_whose_scores_enclose_it(curve):
    grid, scores = curve
    (found,) = curves(grid)
    small, large = found.gold
    assert small < large and list(found.mixtures) == ["gold_silver"]
    (row,) = equivalent_table(grid, scores, worths(grid, 400)).rows
    worth = row.entries["worth"]
    assert (
        small < worth.value < large
        and worth.low <= worth.value <= worth.high
        and len(worth.runs) == 3
    )
    assert row.entries["n_gold"].value == small and row.entries["added"].value == pytest.approx(
        worth.value - small
    )
    assert " to " in worth.word and row.entries["added"].word.startswith("+")


def test_what_a_mixture_saves_is_told_in_hours_and_money_where_the_runs_say_what_labels_cost(curve):
    grid, scores = curve
    unsaid = replace(grid, cells=tuple(_without_price(cell) for cell in grid.cells))
    (plain,) = found = worths(unsaid, 400)
    table = equivalent_table(unsaid, scores, found)
    assert not {column.key for column in table.columns} & {"hours", "money", "llm_usd"}
    assert "of an annotator" not in str(plain) and "worth/hours" not in plain.metrics()

    (one,) = found = worths(grid, 400)
    (row,) = equivalent_table(grid, scores, found).rows
    saved = (one.gold.value - one.own) * 3 / 60
    assert row.entries["hours"].value == pytest.approx(saved)
    assert row.entries["money"].value == pytest.approx(saved * 40)
    assert row.entries["llm_usd"].value == pytest.approx(0.12)
    assert one.metrics()["worth/hours"] == pytest.approx(saved)
    assert one.metrics()["worth/llm_usd"] == pytest.approx(0.12)
    (said,) = map(str, scarcest(found))
    gold = re.escape(f"gold_silver for 0.12 USD is worth {one.gold.value:,.0f} [")
    assert re.match(gold, said) and re.search(
        r"\] gold sentences, \d+ of them its own, about [\d,]+ (hours|minutes) of an annotator "
        r"\([\d,]+ at 40 an hour\)$",
        said,
    )


def _without_price(cell):
    return replace(cell, config={**cell.config, "worth": {}})


def test_the_end_of_a_sweep_tells_and_logs_what_a_mixture_is_worth(curve, monkeypatch):
    grid, _ = curve
    parent, runs = grid.sweeps[0].info.run_id, [cell.run for cell in grid.cells]
    closing.finish_sweep(grid.store, parent, runs)
    (one,) = worths(grid)
    logged = grid.store.client.get_run(one.cell.run_id).data.metrics
    assert logged["worth/gold_sentences"] == pytest.approx(one.gold.value)
    assert logged["worth/money"] == pytest.approx(one.money(one.gold.value))
    out = io.StringIO()
    monkeypatch.setattr(screen, "console_of", lambda: Console(file=out, width=100))
    closing.show_sweep(grid.store, parent, runs)
    assert "gold_silver for 0.12 USD is worth" in out.getvalue()
    assert f"Next:    touchstone report {parent[:8]}" in out.getvalue()
    assert f"touchstone table a_curve --sweep {parent[:8]}" in out.getvalue()


def test_beyond_the_curve_hours_are_more_than_those_of_the_largest_gold(curve):
    grid, _ = curve
    (one,) = worths(grid, 400)
    beyond = replace(one, own=0, gold=replace(one.gold, value=float("inf")))
    hours = beyond.gold.largest * 3 / 60
    assert f"more than {hours:,.0f} hours of an annotator" in str(beyond)
    assert "worth/hours" not in beyond.metrics()
    below = replace(one, llm_usd=None, gold=replace(one.gold, value=float("-inf")))
    assert str(below).startswith("gold_silver is worth less than")
    assert "of an annotator" not in str(below)


def test_cells_that_differ_in_more_than_gold_size_have_curves_of_their_own():
    store = made.empty_study("two_learners")
    parent = made.log_sweep(store, "two_learners")
    for strength in (1.0, 2.0):
        for patients in (5, 20):
            asked = (
                "study=two_learners",
                "task=ad_binary",
                f"task.gold_patients={patients}",
                f"classifier.C={strength}",
                "mixture=gold",
            )
            made.log(store, parent, *asked, cache=made.cache(), skill=0.4 + strength / 10)
    first, second = curves(collect(store, "two_learners"))
    assert {first.name, second.name} == {
        "ad_binary tfidf_logreg C=1.0",
        "ad_binary tfidf_logreg C=2.0",
    }
    for curve in (first, second):
        assert len(curve.gold) == 2
        assert len({cell.config["classifier"]["C"] for cell in curve.gold.values()}) == 1


def test_the_curve_table_has_a_row_for_each_size_and_a_figure_with_bands(curve):
    grid, scores = curve
    table = curve_table(grid, scores)
    assert [row.labels[1] for row in table.rows] == ["5 patients", "20 patients"]
    assert "gold_silver" in table.rows[0].entries and "gold_silver" not in table.rows[1].entries
    figure = figures.curve_figure(*drawings.curve_figure(grid, scores))
    (ax,) = figure.axes
    assert len(ax.collections) == 2 and ax.get_xscale() == "log" and ax.get_ylabel() == "macro F1"
