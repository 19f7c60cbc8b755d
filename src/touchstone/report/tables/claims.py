"""The table of claims, and `touchstone claims STUDY`.

One row for each claim and place: verdict, effect with its interval, p after Holm over the table,
the smallest effect that the test set could have shown. Computes nothing (report/claims.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from touchstone.foreign_text import tell
from touchstone.report.claims import SUPPORTED, Finding, claims_of, findings
from touchstone.report.grid import Grid, collect
from touchstone.report.tables.layout import Column, Entry, Row, Table

TOLD = (
    "Effect: difference of the main score unless the claim names another measure, with its 95 % "
    "interval over patients and draws. p is Holm's over this table. Undecided does not mean that "
    "there is no effect: a true one below the smallest that would show can be missed."
)


def claims_table(grid: Grid, found: Sequence[Finding]) -> Table:
    """Return the findings as a table of the report."""
    columns = (
        Column("verdict", "Verdict"),
        Column("effect", "Effect", "", "interval"),
        Column("p_holm", "p"),
        Column("detectable", "would show", rank=1),
        Column("control", "its control", rank=1),
    )
    rows = [Row((one.claim.text, one.place), _entries(one), one.claim.id) for one in found]
    notes = dict.fromkeys(
        f"{one.claim.text}{f' ({one.place})' if one.place else ''}: {one.note}."
        for one in found
        if one.note
    )
    return Table(
        f"{grid.study}_claims",
        "Claims",
        TOLD,
        ("Claim", "Where"),
        columns,
        tuple(rows),
        tuple(notes),
    )


def _entries(finding: Finding) -> dict[str, Entry]:
    effect, runs = finding.effect, finding.runs
    entries = {
        "verdict": Entry(word=finding.verdict, runs=runs, best=finding.verdict == SUPPORTED),
        "effect": Entry(effect.value, effect.low, effect.high, signed=True, runs=runs),
        "p_holm": Entry(finding.p_holm, digits=4, runs=runs),
        "detectable": Entry(effect.detectable, runs=runs),
    }
    if finding.control is not None:
        control = finding.control
        entries["control"] = Entry(control.value, control.low, control.high, signed=True, runs=runs)
    return entries


def add_cli(subparsers: Any) -> None:
    """Add `touchstone claims`."""
    parser = subparsers.add_parser("claims", help="what a study says about the papers' claims")
    parser.add_argument("study", help="two_directions, hoc, synthetic_mining, or one of your own")
    parser.add_argument(
        "--claims", metavar="F,F", help="files of conf/claims (default: those that name the study)"
    )
    parser.add_argument("--store", default="mlflow", metavar="PATH_OR_URI", help="tracking store")
    parser.add_argument(
        "--sweep", metavar="ID", help="run id of a sweep, or all (default: the last one)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone import tracking

    names = arguments.claims.split(",") if arguments.claims else None
    claims = claims_of(arguments.study, names)
    grid = collect(tracking.open_existing(arguments.store), arguments.study, arguments.sweep)
    for one in findings(grid, claims):
        tell(line(one))
    tell(TOLD)
    return 0


def line(finding: Finding) -> str:
    """Return a finding as a few lines of text.

    The numbers are those of the tables, to three digits.
    """
    effect = finding.effect
    where = f" [{finding.place}]" if finding.place else ""
    parts = [f"{finding.verdict.upper()}: {finding.claim.text}{where}"]
    if not np.isnan(effect.value):
        shown = Entry(effect.value, effect.low, effect.high, signed=True)
        told = [f"effect {shown.shown()} {shown.second('interval')}".rstrip()]
        if not np.isnan(finding.p_holm):
            told.append(f"p {finding.p_holm:.4f}")
        if not np.isnan(effect.detectable):
            told.append(f"would have shown from {effect.detectable:.3f}")
        parts.append("  " + ", ".join(told))
    if finding.control is not None:
        shown = Entry(finding.control.value, finding.control.low, finding.control.high, signed=True)
        parts.append(f"  its control: {shown.shown()} {shown.second('interval')}")
    if finding.note:
        parts.append(f"  {finding.note}")
    parts.append(f"  {finding.claim.source}")
    if finding.runs:
        parts.append("  runs: " + ", ".join(run[:12] for run in finding.runs))
    return "\n".join(parts)
