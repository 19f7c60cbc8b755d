"""`touchstone generate task=... mixture=silver llm=...`: make silver or bronze before there is
gold.

A pool and a taxonomy are enough: experts and LLM can start the same day. Writes each set as JSONL
(text, labels, spans, confidence, doc_id, patient_id, origin), which `corpus.silver.path` or
`corpus.bronze.path` reads later; with llm=batch_file it exports requests and, run again, takes the
answers. Nothing is trained or scored.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.errors import PendingRequests, UserError
from touchstone.foreign_text import tell
from touchstone.source_table import SYNTHETIC

WRITTEN = ("text", "labels", "spans", "confidence", "doc_id", "patient_id", "origin")


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone generate`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "generate", help="make silver or bronze of a pool and a taxonomy, without gold"
    )
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="as for touchstone run")
    parser.add_argument("--out", default="generated", help="folder (default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone.configuration import checked
    from touchstone.pipeline import generate_alone
    from touchstone.run.conf_files import composed

    config = checked(composed(arguments.overrides))
    out = Path(arguments.out)
    try:
        stages = generate_alone(config)
    except PendingRequests as stop:
        tell(stop)
        return 0
    for name, stage in stages.items():
        path = out / f"{name}.jsonl"
        write(stage.dataset.frame, path)
        refused = len(stage.quarantine)
        tell(f"{path}: {len(stage.dataset)} sentences, {refused} answers could not be used")
        if name in SYNTHETIC:
            tell(f"use it: corpus.{name}.path={path} corpus.{name}.doc_field=doc_id")
    return 0


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write an example table as JSONL that only its owner can read.

    Raises
    ------
    UserError
        If the file is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UserError(f"{path} is there already; choose another folder: --out FOLDER") from None
    with open(opened, "w", encoding="utf-8") as handle:
        for row in frame[list(WRITTEN)].to_dict("records"):
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
