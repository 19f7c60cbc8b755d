"""`touchstone report SWEEP`: one HTML page about a sweep, for people who would rather look than
read.

Written to a file and to the sweep's run, which links to it; see article.py for what stands in it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.progress import working
from touchstone.report.command import TRUST_CODE


def add_cli(subparsers) -> None:
    """Add `touchstone report`."""
    parser = subparsers.add_parser("report", help="one HTML page about a sweep")
    parser.add_argument(
        "sweep",
        nargs="?",
        default="last",
        help="run id of the sweep or its beginning (default: the last one)",
    )
    parser.add_argument(
        "--store",
        default="mlflow",
        metavar="PATH_OR_URI",
        help="tracking store (default: %(default)s)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where to write the page (default: out/report-ID.html)"
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
    from touchstone.report.article import REPORT, publish, report
    from touchstone.report.formats.screen import say
    from touchstone.report.grid import grid_of, sweep_of
    from touchstone.report.tables.captions import missing_notes

    store = tracking.open_existing(arguments.store)
    with working("reading the runs of the sweep") as now:
        parent, runs = sweep_of(store, arguments.sweep)
        grid = grid_of(store, parent.data.tags.get(tracking.STUDY, "study"), [parent], runs)
        if arguments.trust_code:
            grid = replace(grid, runs_code=True)
        now(f"scoring {len(grid.cells)} cells and drawing their figures")
        text, study = report(grid, parent, encoder=arguments.map)
    out = Path(arguments.out or f"out/report-{parent.info.run_id[:8]}.html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror}; name another file: --out FILE"
        ) from error
    publish(grid, parent, text, study)
    for line in missing_notes(grid):
        tell(line)
    say("", str(out), out.resolve().as_uri())
    tell(f"also on the sweep's run: {REPORT}")
    return 0
