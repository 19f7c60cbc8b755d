"""`touchstone table STUDY`: the tables and figures of a study in the formats of report/formats,
with a sidecar that names their sources.

From the tracking store alone; only the agreement of annotators needs the corpus's files. See
study.py for what there is.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.paths import file_name
from touchstone.progress import working

FORMATS = ("latex", "markdown", "csv", "html")  # by default
TRUST_CODE = "call the functions that `metrics` of a named store's runs name"
OFFERED = ("latex", "markdown", "csv", "html", "xlsx", "docx", "screen")


def add_cli(subparsers) -> None:
    """Add `touchstone table`."""
    parser = subparsers.add_parser(
        "table", help="the paper's tables of a study, as LaTeX, Markdown, CSV and HTML"
    )
    parser.add_argument(
        "study",
        help=(
            "two_directions, synthetic_mining, learning_curve, controls, hoc, or a study of your "
            "own"
        ),
    )
    parser.add_argument(
        "--format",
        default=",".join(FORMATS),
        metavar="F,F",
        help=f"of {', '.join(OFFERED)}, or a writer of your own: MODULE.FUNCTION "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--out", default="out", metavar="DIR", help="folder for the files (default: %(default)s)"
    )
    parser.add_argument(
        "--store",
        default="mlflow",
        metavar="PATH_OR_URI",
        help="tracking store (default: %(default)s)",
    )
    parser.add_argument(
        "--sweep",
        metavar="ID",
        help="run id of a sweep, several with commas, or all (default: the last one of the study)",
    )
    parser.add_argument(
        "--figures",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw figures (default: where a format shows them: latex, html, docx)",
    )
    parser.add_argument("--trust-code", action="store_true", help=TRUST_CODE)
    parser.add_argument(
        "--map",
        choices=("tfidf", "minilm"),
        default="tfidf",
        help="sentence vectors of the map (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone import tracking
    from touchstone.report.grid import collect
    from touchstone.report.study import figures_of, study_of, write, writers
    from touchstone.report.tables.captions import missing_notes

    formats = [name.strip() for name in arguments.format.split(",")]
    shown = [figures_of(writer) for writer in writers(formats).values()]
    drawn = any(kinds is not None for kinds in shown)
    if arguments.figures is not None:
        drawn = arguments.figures
    with working(f"reading the runs of {arguments.study}") as now:
        grid = collect(tracking.open_existing(arguments.store), arguments.study, arguments.sweep)
        if arguments.trust_code:
            grid = replace(grid, runs_code=True)
        now(f"scoring {len(grid.cells)} cells")
        study = study_of(grid, with_figures=drawn, encoder=arguments.map)
    try:
        files = write(study, Path(arguments.out), formats)
    except OSError as error:
        raise UserError(
            f"cannot write to {arguments.out}: {error.strerror}; name another folder: --out DIR"
        ) from error
    tell(
        f"{len(grid.cells)} cells of {_sweeps(grid)}; {len(study.tables)} tables, "
        f"{len(study.figures)} figures"
    )
    for line in (*missing_notes(grid), *(f"Left out: {what}" for what in study.left_out)):
        tell(line)
    for file in files:
        if file.suffix in (".tex", ".md", ".html", ".json", ".xlsx", ".docx") and (
            file.suffix != ".tex" or file.stem == file_name(grid.study)
        ):
            tell(file)
    return 0


def _sweeps(grid) -> str:
    """Say which sweeps the cells are of, and that there are others."""
    from touchstone.report.grid import listed
    from touchstone.report.reading import search

    if not grid.sweeps:
        return "single runs"
    few = 20  # counted up to here: the answer does not wait for the age of the store
    newest = search(grid.store, kind="sweep", study=grid.study, latest=len(grid.sweeps) + few)
    others = len(newest) - len(grid.sweeps)
    count = f"{others} or more others" if others == few else f"{others} other" + "s" * (others > 1)
    more = f" ({count} of this study: --sweep ID, or all)" if others > 0 else ""
    return f"sweep {listed(grid.sweeps)}{more}"
