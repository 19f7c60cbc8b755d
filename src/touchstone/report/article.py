"""The report page of a sweep, put together: question, answer, tables, figures and the sections
around them, and its place on the run.

Self-contained HTML. Sentences of restricted corpora are never shown. Does not compute anything
(study.py) and has no command (page.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from touchstone import tracking
from touchstone.evaluate.headline import main_score
from touchstone.report import explorer, reviewed, sections
from touchstone.report.closing import port
from touchstone.report.comparisons import unit_of
from touchstone.report.figures import draw as figures
from touchstone.report.formats import html, markdown
from touchstone.report.grid import Grid
from touchstone.report.study import Study, study_of
from touchstone.report.tables.captions import mixture_label, row_name, setting, tasks_of
from touchstone.report.tables.curves import scarcest
from touchstone.report.tables.entries import entry_of
from touchstone.report.tables.layout import number
from touchstone.tracking import Run
from touchstone.tracking_errors import readable_uri

QUESTIONS = {
    "two_directions": (
        "What are LLM-labelled notes and LLM-written sentences worth beside a little expert gold?"
    ),
    "synthetic_mining": "Ask the LLM directly, or train a local model on text that it wrote?",
    "learning_curve": "How much expert gold is LLM-made data worth?",
    "controls": "Is it the data, or only their number?",
    "hoc": "Does LLM-made data help where the gold is real and expert?",
}
QUESTION = "What is LLM-made training data worth?"
ANSWERS = {  # what each section answers, for the table of contents
    "Result": "Which mixture scores best, and is it more than chance?",
    "By category": "Where does it gain, where does it lose?",
    "Explorer": "Which sentences are gained and lost, and what did the LLM make?",
    "The data": "What went in, what was dropped, and why?",
    "Quality of the generated data": "How far is it from gold?",
    "Experts' review": "How often do experts agree with the LLM's labels?",
    "Examples": "How does it read?",
    "Setting": "What was run?",
    "Data statement": "Whose data, and what do the results not say?",
    "Cost": "What did the LLM take?",
    "Run it again": "How do I get the same numbers?",
}
LOCAL = "http://127.0.0.1"  # where `make ui` serves the embedded store
REPORT = "report/report.html"
NOTE = "mlflow.note.content"


def report(grid: Grid, parent: Run, *, encoder: str = "tfidf") -> tuple[str, Study]:
    """Return the page about a sweep, and the study that it shows.

    Parameters
    ----------
    grid : see grid.grid_of.
    parent : the sweep's run.

    Raises
    ------
    UserError
        If the sweep has no finished cell.
    """
    study = study_of(grid, encoder=encoder)
    tables = {
        table.name.removeprefix(f"{grid.study}_"): html.table(table, run_link(grid))
        for table in study.tables
    }
    drawn = {one.name: html.drawing(one) for one in study.figures}
    quality = [
        *_take(drawn, "quality"),
        *_take(tables, "quality", "quality_categories", "prevalence"),
    ]
    result = [
        *_take(drawn, "curves", "scores"),
        *_take(tables, "scores", "sites", "subgroups", "curve", "equivalents", "controls"),
        sections.missing(grid),
    ]
    by_category = [*_take(drawn, "gain", "confusion"), *_take(tables, "categories")]
    parts = [
        ("Result", result),
        ("By category", by_category),
        ("Explorer", [explorer.section(grid)]),
        ("The data", [*drawn.values(), *tables.values()]),
        ("Quality of the generated data", quality),
        ("Experts' review", reviewed.section(grid)),
        ("Examples", sections.examples(grid)),
        ("Setting", [html.facts(sections.setting(grid))]),
        ("Data statement", sections.statement(grid, study.left_out)),
        ("Cost", sections.cost(grid)),
        ("Run it again", sections.again(grid, parent)),
    ]
    text = html.page(
        QUESTIONS.get(grid.study, QUESTION),
        kicker=f"Touchstone report · {grid.study.replace('_', ' ')}",
        lead=setting(grid.cells),
        answer=_answers(study),
        strip=_strip(study),
        script=explorer.script_hash(),
        contents=ANSWERS,
        sections=[
            (heading, [part for part in contents if part])
            for heading, contents in parts
            if any(contents)
        ],
        footer=(
            f"Sweep {parent.info.run_id}, {len(grid.cells)} finished cells, code "
            f"{sections.code(grid)}. Point at a number of a table for its run."
        ),
    )
    return text, study


def run_link(grid: Grid) -> Callable[[str], str]:
    """Return run id -> its page in MLflow, on the server of the store; of an embedded store, where
    `make ui` serves it."""
    uri = grid.store.uri
    local = f"{LOCAL}:{port(grid.store)}"
    base = readable_uri(uri).rstrip("/") if uri.startswith("http") else local
    experiment = grid.cells[0].run.info.experiment_id
    return lambda run_id: f"{base}/#/experiments/{experiment}/runs/{run_id}"


def publish(grid: Grid, parent: Run, text: str, study: Study) -> None:
    """Put the page, its tables and its figures on the parent run, and link the page from there."""
    store, run_id = grid.store, parent.info.run_id
    tracking.log_text(store, run_id, text, REPORT)
    tracking.log_text(
        store,
        run_id,
        "\n".join(markdown.markdown(table) for table in study.tables),
        "report/tables.md",
    )
    with tempfile.TemporaryDirectory() as temporary:
        for one in study.figures:
            figures.save(one.figure, Path(temporary), one.name)
        store.client.log_artifacts(run_id, temporary, "report/figures")
    link = f"#/experiments/{parent.info.experiment_id}/runs/{run_id}/artifacts/{REPORT}"
    note = f"**[Report of this sweep]({link})**\n\n" + "\n\n".join(_answers(study))
    tracking.set_tags(store, run_id, {"touchstone.report": REPORT, NOTE: note})


def _take(parts: dict[str, Any], *names: str) -> list[Any]:
    """Take out the parts of these names, in their order: `categories_TASK` is one of categories,
    `CORPUS_quality` one of quality."""
    taken = []
    for name in names:
        taken += [
            parts.pop(key)
            for key in list(parts)
            if key == name or key.startswith(f"{name}_") or key.endswith(f"_{name}")
        ]
    return taken


def _answers(study: Study) -> list[str]:
    """Say in a sentence for each task what came out: the best row, and which rows are better or
    worse than gold beyond chance."""
    lines = []
    for task, kind in tasks_of(study.grid.cells).items():
        score = main_score(kind)
        entries = [
            (cell, entry_of(study.scores, cell, score))
            for cell in study.grid.cells
            if cell.axes["task"] == task
        ]
        entries = [(cell, entry) for cell, entry in entries if not np.isnan(entry.value)]
        if not entries:
            continue
        cell, best = max(entries, key=lambda pair: pair[1].value)
        text = f"{task}: {row_name(cell, study.grid)} scores best, {score.title} {best.value:.3f}"
        if not np.isnan(best.change):
            text += (
                f", {number(best.change, 3, True)} {best.second('change').partition(' ')[2]} "
                "against gold"
            )
            text += (
                f" (p = {best.p_holm:.3f} after Holm's correction)"
                if best.p_holm >= 0.001
                else " (p < 0.001 after Holm's correction)"
            )
        compared = [(one, entry) for one, entry in entries if not np.isnan(entry.change)]
        better = [
            row_name(one, study.grid) for one, entry in compared if entry.mark and entry.change > 0
        ]
        worse = [
            row_name(one, study.grid) for one, entry in compared if entry.mark and entry.change < 0
        ]
        if compared:
            text += f". Better than gold beyond chance: {_listed(better)}; worse: {_listed(worse)}"
        lines.append(text + ".")
    return lines + _worth(study)


def _worth(study: Study) -> list[str]:
    """Say for each learning curve what the best mixture is worth, without gold and where gold is
    scarcest; in money and hours where the runs say what an expert's labels cost."""
    lines = []
    for one in scarcest(study.worths):
        with_gold = f"with {one.cell.axes['gold']} of gold, " if one.own else ""
        lines.append(f"{one.curve}: {with_gold}{one}.")
    return lines


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "none"


def _strip(study: Study) -> list[tuple[str, str]]:
    """Return the numbers at the top: best score of the last task, its gain, the test set, what was
    sent."""
    grid = study.grid
    task, kind = list(tasks_of(grid.cells).items())[-1]
    score = main_score(kind)
    entries = [
        (cell, entry_of(study.scores, cell, score))
        for cell in grid.cells
        if cell.axes["task"] == task
    ]
    cell, best = max(entries, key=lambda pair: np.nan_to_num(pair[1].value, nan=-1))
    table = cell.predictions
    strip = [(f"{best.value:.3f}", f"{score.title} of {mixture_label(cell)}, {task}")]
    if not np.isnan(best.change):
        strip.append(
            (
                number(best.change, 3, True) + best.mark,
                f"against gold, {best.second('change').partition(' ')[2]}",
            )
        )
    strip.append(
        (
            f"{table['example_id'].nunique():,}",
            f"test sentences of {table['patient_id'].nunique():,} {unit_of(cell)}",
        )
    )
    n = cell.run.data.metrics.get("n_train")
    return strip + ([(f"{n:,.0f}", "training sentences in the best row")] if n else [])
