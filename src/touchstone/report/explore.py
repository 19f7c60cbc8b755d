"""`touchstone explore SWEEP`: the explorer of the report as a page alone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from touchstone.errors import UserError


def add_cli(subparsers: Any) -> None:
    """Add `touchstone explore`."""
    text = "a page of the sentences that cells gain, lose and confuse, and of what the LLM made"
    parser = subparsers.add_parser("explore", help=text)
    parser.add_argument(
        "sweep",
        nargs="?",
        default="last",
        metavar="SWEEP",
        help="sweep or cell, by its run id or the beginning of it (default: the last sweep)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where to write the page (default: out/explore-ID.html)"
    )
    parser.add_argument(
        "--store",
        default="mlflow",
        metavar="PATH_OR_URI",
        help="tracking store (default: %(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone import tracking
    from touchstone.report import explorer
    from touchstone.report.choosing import chosen
    from touchstone.report.formats import html
    from touchstone.report.formats.screen import say
    from touchstone.report.tables.captions import setting

    grid = chosen(tracking.open_existing(arguments.store), arguments.sweep)
    name = grid.sweeps[0].info.run_id if grid.sweeps else grid.cells[0].run_id
    text = html.page(
        "Which sentences are gained and lost?",
        kicker=f"Touchstone explorer · {grid.study.replace('_', ' ')}",
        lead=setting(grid.cells),
        answer=[],
        strip=[],
        script=explorer.script_hash(),
        sections=[("Explorer", [explorer.section(grid)])],
        footer=f"{name}, {len(grid.cells)} finished cells.",
    )
    out = Path(arguments.out or f"out/explore-{name[:8]}.html")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror}; name another file: --out FILE"
        ) from error
    say("", str(out), out.resolve().as_uri())
    return 0
