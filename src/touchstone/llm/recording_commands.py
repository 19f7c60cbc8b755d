"""`touchstone recording export|import|verify`: move LLM answers between the response store and JSON
lines, with the requests, without them, or without any text of the corpus (standoff.py).

Does not read or write the lines itself: recording.py does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell
from touchstone.llm.recording import export, export_stand_off, import_, shipped, verify
from touchstone.llm.store import Store


def add_cli(subparsers: Any) -> None:
    """Add `recording export|import|verify` to a command line; each sets `run`, a function of the
    parsed arguments."""
    parser = subparsers.add_parser(
        "recording", help="move LLM answers between the response store and JSON lines"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    out = actions.add_parser("export", help="write the store's answers as a recording")
    out.add_argument("file")
    out.add_argument("--stage", help="only this stage")
    out.add_argument("--model", help="only this model")
    out.add_argument(
        "--without-requests", action="store_true", help="keys only: the text asked is left out"
    )
    out.add_argument(
        "--restricted",
        action="store_true",
        help="also answers about restricted text; the file is readable to you only",
    )
    out.add_argument(
        "--stand-off",
        action="store_true",
        help="labels, offsets and digests of sentences only: no text of the corpus",
    )
    out.add_argument("--purpose", help="with --stand-off --restricted: what the labels are for")
    out.set_defaults(run=_run_export)
    into = actions.add_parser("import", help="put a recording's answers into the store")
    into.add_argument("file", nargs="+")
    into.set_defaults(run=_run_import)
    check = actions.add_parser("verify", help="check a recording")
    check.add_argument("file", nargs="*", help="default: the shipped recordings")
    check.set_defaults(run=_run_verify)
    for action in (out, into):
        action.add_argument(
            "--cache", default=".cache", help="paths.cache of the runs (default .cache)"
        )


def _run_export(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.cache) / "llm"
    if not (folder / "responses.sqlite").is_file():
        raise UserError(
            f"no response store in {folder}; name paths.cache of the runs that asked: --cache "
            "FOLDER"
        )
    if arguments.stand_off:
        return _run_stand_off(arguments, folder)
    if arguments.purpose:
        raise UserError("--purpose belongs to --stand-off --restricted; leave it out")
    with Store(folder) as store:
        written, left_out = export(
            store,
            arguments.file,
            stage=arguments.stage,
            model=arguments.model,
            with_requests=not arguments.without_requests,
            restricted=arguments.restricted,
        )
        note = f"{left_out} answers about restricted text left out; --restricted writes them too"
        if not written:
            raise UserError(
                f"nothing written to {arguments.file}: "
                f"{note if left_out else _what_there_is(store, arguments)}"
            )
    tell(f"{written} answers written to {arguments.file}")
    if left_out:
        tell(note)
    return 0


def _run_stand_off(arguments: argparse.Namespace, folder: Path) -> int:
    if arguments.restricted != bool((arguments.purpose or "").strip()):
        raise UserError(
            "labels of restricted text are written with --restricted and --purpose 'WHAT FOR', both"
        )
    if arguments.without_requests:
        raise UserError("--stand-off never writes requests; leave --without-requests out")
    with Store(folder) as store:
        written, restricted, other = export_stand_off(
            store,
            arguments.file,
            stage=arguments.stage,
            model=arguments.model,
            purpose=arguments.purpose,
        )
        left_out = [
            f"{restricted} answers about restricted text left out; --restricted --purpose 'WHAT "
            "FOR' "
            "writes their labels too"
            if restricted
            else "",
            f"{other} answers left out: not about numbered sentences, they have no stand-off form"
            if other
            else "",
        ]
        note = "; ".join(filter(None, left_out))
        if not written:
            raise UserError(
                f"nothing written to {arguments.file}: {note or _what_there_is(store, arguments)}"
            )
    tell(f"{written} answers written to {arguments.file}, without text of the corpus")
    if note:
        tell(note)
    return 0


def _what_there_is(store: Store, arguments: argparse.Namespace) -> str:
    """Say which stages and models a store has answers of, and which one asked for is none of
    them."""
    known = store.db.execute("SELECT DISTINCT stage, asked_model FROM responses").fetchall()
    if not known:
        return f"{store.path} has no answers yet"
    parts = []
    for name, asked, found in (
        ("stage", arguments.stage, {row[0] for row in known}),
        ("model", arguments.model, {row[1] for row in known}),
    ):
        parts.append(
            f"{name}s: {', '.join(sorted(found))}"
            if asked in (None, *found)
            else no_such(name, asked, found)
        )
    return "; ".join(parts)


def _run_import(arguments: argparse.Namespace) -> int:
    with Store(Path(arguments.cache) / "llm") as store:
        for path in arguments.file:
            added, conflicts = import_(store, path)
            tell(
                f"{path}: {added} answers added"
                + (f", {conflicts} differ from the store, which keeps its own" if conflicts else "")
            )
    return 0


def _run_verify(arguments: argparse.Namespace) -> int:
    failed = False
    for path in arguments.file or shipped():
        faults = verify(path)
        tell(
            f"{path}: {faults.lines} answers, {faults.recomputed} keys recomputed, "
            f"{len(faults.problems)} problems"
        )
        for problem in faults.problems:
            tell(f"  {problem}")
        failed = failed or bool(faults.problems)
    return 1 if failed else 0
