"""`touchstone worth --gold G --bronze theirs.csv`: what is a set of synthetic sentences worth?

One command without YAML for the commonest question: gold alone, gold with each set, gold repeated
to the same size (is it only more rows?) and the set with its labels shuffled (is it the labels?),
on one test set, with the table, its intervals and the report. Reads the files as
`touchstone inspect` recognises them and leaves in the output folder the conf that it ran: from
there on it is an ordinary study. Asks no LLM.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

import touchstone
from touchstone.data.inspection import Inspection, identifier, inspect, set_keys, taxonomy_yaml
from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell
from touchstone.source_table import SYNTHETIC, TABLE

NAME = "worth"  # of corpus, task, taxonomy and study


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone worth`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "worth", help="what silver or bronze made elsewhere is worth beside your gold"
    )
    parser.add_argument(
        "--gold", required=True, help="expert labels: any format that inspect reads"
    )
    parser.add_argument("--test", help="expert labels to test on (default: a part of the gold)")
    for source in TABLE[1:]:
        parser.add_argument(
            f"--{source.name}", default="", help=f"{source.title}, or made otherwise: FILE[,FILE]"
        )
    parser.add_argument("--out", default=NAME, help="folder of conf and results (default: worth)")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions (default: %(default)s)")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="as for touchstone run")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out)
    sets = {
        source: [name for name in getattr(arguments, source).split(",") if name]
        for source in SYNTHETIC
    }
    overrides = study(out, arguments.gold, arguments.test, sets)
    overrides += [f"seeds={arguments.seeds}", *arguments.changes]
    status = _command(out, "from touchstone.run.console import main", overrides)
    if status:
        return status
    tell(f"conf, results and report are in {out}:")
    return _command(out, "from touchstone.cli import main", ["report"])


def study(out: Path, gold: str, test: str | None, sets: dict[str, list[str]]) -> list[str]:
    """Write the conf of the study into OUT/conf and return the command line that runs it.

    Parameters
    ----------
    sets : silver and bronze -> files.

    Raises
    ------
    UserError
        If a file is not recognised, there is no set, a set has a category that gold has not, or the
        folder holds a conf.
    """
    if not any(sets.values()):
        raise UserError("worth of what? Name it: --bronze FILE[,FILE], or --silver FILE[,FILE]")
    if (out / "conf").exists():
        raise UserError(f"{out}/conf is there already; name another folder: --out FOLDER")
    experts = inspect(gold)
    kind = experts.kind
    corpus: dict[str, Any] = {"name": NAME, "gold": set_keys(experts.files)}
    if test is not None:
        held = _fitting(inspect(test), experts, test)
        kind = "multilabel" if "multilabel" in (kind, held.kind) else kind
        if set_keys(replace(held.files, path=None)) != set_keys(replace(experts.files, path=None)):
            raise UserError(
                f"{test}: is not laid out as {gold}; the two parts of the gold are read alike. "
                "Save them with the same columns"
            )
        corpus["gold"] |= {"train": experts.files.path, "test": held.files.path}
        del corpus["gold"]["path"]
    mixtures: dict[str, dict[str, Any]] = {"gold": {"gold": {"use": True}}}
    for source, names in sets.items():
        if not names:
            continue
        inspections = [_fitting(inspect(name), experts, name) for name in names]
        layouts = [set_keys(replace(one.files, path=None)) for one in inspections]
        if any(layout != layouts[0] for layout in layouts):
            raise UserError(f"--{source}: the files are not laid out alike; ask about each alone")
        paths = [one.files.path for one in inspections]
        corpus[source] = layouts[0] | {"path": paths[0] if len(paths) == 1 else paths}
        corpus[source].setdefault("doc_field", None)
        use: dict[str, Any] = {"gold": {"use": True}}
        mixtures |= {
            f"gold_{source}": use | {source: {"use": True}},
            f"gold_as_many_as_{source}": {"gold": {"use": True, "repeat_to": [source]}},
            f"gold_{source}_shuffled": use | {source: {"use": True, "shuffle_labels": True}},
        }
    _write(out / "conf" / "corpus", NAME, corpus | {"access": "restricted"})
    groups = {"corpus": NAME, "taxonomy": NAME}
    groups |= {"generation": "ner", "classifier": "tagger"} if kind == "ner" else {}
    defaults = [{f"override /{group}@_global_.{group}": name} for group, name in groups.items()]
    task = {
        "defaults": [*defaults, "_self_"],
        "name": NAME,
        "kind": kind,
        "gold_patients": None,
    }
    _write(out / "conf" / "task", NAME, task)
    for name, mixture in mixtures.items():
        _write(out / "conf" / "mixture" / NAME, name, {"name": name, **mixture})
    (out / "conf" / "taxonomy").mkdir(parents=True)
    (out / "conf" / "taxonomy" / f"{NAME}.yaml").write_text(taxonomy_yaml(experts, NAME))
    grid = ",".join(f"{NAME}/{name}" for name in mixtures)
    return ["-m", f"task={NAME}", f"mixture={grid}", f"study={NAME}"]


def _fitting(found: Inspection, experts: Inspection, name: str) -> Inspection:
    """Return a file with the experts' categories for its words.

    Raises
    ------
    UserError
        For a word that is none of them.
    """
    known = set(experts.words.values())
    for word in found.words:
        if identifier(word) not in known:
            raise UserError(
                f"{name}: {no_such('category', identifier(word), known)} (of the gold). Rename it "
                "in the file, or leave such sentences out"
            )
    words = {word: one for word, one in found.words.items() if word != one}
    return replace(found, files=replace(found.files, label_map=words))


def _write(folder: Path, name: str, value: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def _command(out: Path, entry: str, arguments: Sequence[str]) -> int:
    source = str(Path(touchstone.__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    code = f"import sys; {entry}; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=out, env={**os.environ, "PYTHONPATH": path}).returncode
