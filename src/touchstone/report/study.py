"""A study put together: its tables and figures from a grid, and the files they are written to.

Which tables: scores and data always; by category, learning curve, controls, quality where the grid
has what they show. Measures the quality of generated data when it was not measured yet
(data_quality.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from touchstone import plugins
from touchstone.errors import UserError
from touchstone.paths import file_name
from touchstone.report.claims import claims_about, findings
from touchstone.report.comparisons import compared
from touchstone.report.figures import draw as figures
from touchstone.report.figures import study as drawings
from touchstone.report.grid import Grid
from touchstone.report.provenance import sidecar
from touchstone.report.tables import controls, curves
from touchstone.report.tables import data as data_tables
from touchstone.report.tables import quality as data_quality
from touchstone.report.tables import scores as studies
from touchstone.report.tables.captions import missing_notes, tasks_of
from touchstone.report.tables.categories import category_table
from touchstone.report.tables.claims import claims_table
from touchstone.report.tables.elsewhere import site_table, subgroup_table
from touchstone.report.tables.layout import Table
from touchstone.report.tables.prevalence import prevalence_table
from touchstone.report.tables.reviewed import review_table
from touchstone.report.tables.worth import Worth

Writer = Callable[["Study", Path], list[Path]]


@dataclass(frozen=True)
class Study:
    """Everything that tables, figures and pages show of a study.

    Attributes
    ----------
    grid, scores : see grid.collect and comparisons.compared.
    tables : in the order of printing.
    figures : see figures/study.py.
    left_out : what is not there, and why.
    worths : how many gold sentences each mixture is worth.
    """

    grid: Grid
    scores: pd.DataFrame
    tables: tuple[Table, ...]
    figures: tuple[drawings.Drawing, ...]
    left_out: tuple[str, ...]
    worths: tuple[Worth, ...] = ()


def study_of(grid: Grid, *, with_figures: bool = True, encoder: str = "tfidf") -> Study:
    """Make the tables and figures of a grid.

    Raises
    ------
    UserError
        If the grid has no finished cell; the message gives the reasons of the missing ones.
    """
    if not grid.cells:
        told = " ".join(missing_notes(grid)) or "the sweep has no cells yet"
        raise UserError(f"study {grid.study}: there is no finished cell to make tables of. {told}")
    scores = compared(grid)
    tables = [studies.score_table(grid, scores)]
    worths: list[Worth] = []
    if curves.curves(grid):
        worths = curves.worths(grid)
        tables += [curves.curve_table(grid, scores), curves.equivalent_table(grid, scores, worths)]
    if comparison := controls.control_table(grid):
        tables.append(comparison)
    if claims := claims_about(grid.study):
        tables.append(claims_table(grid, findings(grid, claims, scores)))
    if elsewhere := site_table(grid, scores):
        tables.append(elsewhere)
    if groups := subgroup_table(grid):
        tables.append(groups)
    if judged := review_table(grid):
        tables.append(judged)
    for task, kind in tasks_of(grid.cells).items():
        names = next(cell.categories for cell in grid.cells if cell.axes["task"] == task)
        if kind in ("multiclass", "multilabel") or kind == "ner" and len(names) > 1:
            tables.append(category_table(grid, scores, task))
    drawn = list(drawings.of_scores(grid, scores)) if with_figures else []
    left_out: list[str] = []
    for corpus, part in by_corpus(grid).items():
        more, pictures, reasons = _about_data(part, with_figures, encoder)
        several = part is not grid
        tables += (
            [replace(table, title=f"{table.title}, {corpus}") for table in more]
            if several
            else more
        )
        drawn += (
            [
                replace(one, name=f"{one.name}_{corpus}", caption=f"{corpus}: {one.caption}")
                for one in pictures
            ]
            if several
            else pictures
        )
        left_out += [f"{corpus}, {reason}" for reason in reasons] if several else reasons
    return Study(grid, scores, tuple(tables), tuple(drawn), tuple(left_out), tuple(worths))


def by_corpus(grid: Grid) -> dict[str, Grid]:
    """Return the cells of each corpus as a grid of its own: data of different corpora are not
    compared. One corpus is the grid itself."""
    names = list(dict.fromkeys(cell.config["corpus"]["name"] for cell in grid.cells))
    if len(names) == 1:
        return {names[0]: grid}
    return {
        name: replace(
            grid,
            study=f"{grid.study}_{name}",
            cells=tuple(c for c in grid.cells if c.config["corpus"]["name"] == name),
        )
        for name in names
    }


def _about_data(
    grid: Grid, with_figures: bool, encoder: str
) -> tuple[list[Table], list[drawings.Drawing], list[str]]:
    """Return tables, figures and what was left out of the part of a study that is about the data of
    one corpus."""
    sets = data_quality.generated(grid)
    gold, _, _ = data_quality.training_gold(grid)
    quality = data_quality.measured(grid)
    tables, left_out = (
        [data_tables.statistics_table(grid, sets), data_tables.composition_table(grid)],
        [],
    )
    if sets:
        tables += [
            data_tables.quality_table(grid, quality),
            data_tables.quality_by_category(grid, quality),
        ]
    else:
        left_out.append("quality of generated data: no finished cell used any")
    if corrected := prevalence_table(grid, sets):
        tables.append(corrected)
    agreed, reason = data_tables.agreement_table(grid)
    tables += [agreed] if agreed else []
    left_out += [f"agreement of annotators: {reason}"] if reason else []
    return (
        tables,
        list(drawings.of_data(grid, sets, gold, quality, encoder)) if with_figures else [],
        left_out,
    )


FORMATS = "touchstone.report.formats"  # the folder of what --format offers


def writers(names: Sequence[str]) -> dict[str, Writer]:
    """Return the writer of each format: a file of report/formats, or one of the user's own
    (MODULE.FUNCTION, FILE.py:FUNCTION or an entry point of the group touchstone.formats).

    A writer takes the study and the folder, writes its files and returns them. A module that shows
    figures says so: FIGURES, the kinds of files that are saved for it (`pdf`, `png`), may be empty
    where it draws them itself.

    Raises
    ------
    UserError
        If there is no such format.
    """
    return {name: plugins.load("format", name, FORMATS, "write") for name in names}


def figures_of(writer: Writer) -> Sequence[str] | None:
    """Return the kinds of figure files that a format wants; None where it shows no figures."""
    return getattr(sys.modules.get(writer.__module__), "FIGURES", None)


def write(study: Study, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write the tables of a study in the given formats, the sidecar, and the figures that the
    formats show; return the files."""
    # a study's name may hold what leaves the folder
    tables = tuple(replace(table, name=file_name(table.name)) for table in study.tables)
    grid = replace(study.grid, study=file_name(study.grid.study))
    study = replace(study, grid=grid, tables=tables)
    folder.mkdir(parents=True, exist_ok=True)
    name = study.grid.study
    text = json.dumps(
        sidecar(study.grid, study.tables), indent=1, ensure_ascii=False, allow_nan=False
    )
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    out = [folder / f"{name}.json"]
    chosen = writers(formats)
    kinds = {kind: None for writer in chosen.values() for kind in figures_of(writer) or ()}
    for one in study.figures if kinds else ():
        out += figures.save(one.figure, folder / "figures", f"{name}_{one.name}", list(kinds))
    for kind, writer in chosen.items():
        with plugins.blaming("format", kind):
            out += writer(study, folder)
    return out


def footer(study: Study) -> str:
    """Return where the numbers of a study's page come from."""
    sweeps = ", ".join(run.info.run_id for run in study.grid.sweeps) or "single runs"
    return (
        f"Study {study.grid.study}, {len(study.grid.cells)} cells of {sweeps}. Point at a number "
        "for its run; the sidecar JSON has all."
    )
