"""`touchstone init FOLDER`: a project of one's own, which holds only what differs from the package.

Copies the template (a corpus, a task, a taxonomy and a dozen made-up sentences), so that what it
makes runs at once; the user replaces the sentences by her own. Never writes over a file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from touchstone.errors import UserError
from touchstone.foreign_text import tell

TEMPLATE = Path(__file__).resolve().parents[1] / "template"

RUN = '''"""The same as `touchstone run`: python run.py -m task=mine mixture=gold,gold_silver"""

import sys

from touchstone.cli import main

sys.exit(main(["run", *sys.argv[1:]], program="python run.py"))
'''

# All of it can hold text of notes, or is made again.
IGNORED = """.cache/
mlflow/
multirun/
batch/
out/
data/
*.jsonl
.env
__pycache__/
"""

README = """# {name}

What is LLM-made training data worth for my model? Only what differs from the package stands here.

    touchstone run task=mine   # the sentences of data/, gold alone
    touchstone run -m task=mine mixture=gold,gold_silver llm=ollama   # a local LLM labels notes.csv
    touchstone table           # the results again, as LaTeX, Markdown, CSV or HTML

`conf/corpus/mine.yaml` says where the texts are, `conf/taxonomy/mine.yaml` is the guideline,
`conf/task/mine.yaml` what is predicted. Replace data/ by your own. `touchstone run --help` lists
what the package has; a file of the same name below conf/ counts instead of it.
"""


def init(folder: Path) -> list[Path]:
    """Make a project and return the files written, in order.

    Raises
    ------
    UserError
        If a file that would be written is already there, or the folder cannot be written.
    """
    files = {
        path.relative_to(TEMPLATE): path.read_text(encoding="utf-8")
        for path in sorted(TEMPLATE.rglob("*"))
        if path.is_file()
    }
    if not files:
        raise UserError(f"{TEMPLATE} is missing: install the package again")
    name = folder.resolve().name
    files |= {
        Path("run.py"): RUN,
        Path(".gitignore"): IGNORED,
        Path("README.md"): README.format(name=name),
    }
    there = [str(folder / path) for path in files if (folder / path).exists()]
    if there:
        raise UserError(f"{there[0]} is there already and is not overwritten; choose a new folder")
    try:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {error.filename}: {error.strerror}") from error
    return [folder / path for path in files]


def add_cli(subparsers: Any) -> None:
    """Add `touchstone init FOLDER`."""
    parser = subparsers.add_parser("init", help="make a project of your own that runs at once")
    parser.add_argument("folder", type=Path, help="made where it is missing")
    parser.add_argument(
        "--from",
        dest="labels",
        metavar="FILE",
        help="expert labels in any format: corpus, task and taxonomy named after the folder",
    )
    parser.set_defaults(run=_run_cli)


def _run_cli(arguments: argparse.Namespace) -> int:
    folder = None
    if arguments.labels:
        from touchstone.data.inspection import described, identifier, inspect, saved

        folder = inspect(arguments.labels)
        tell("\n".join(described(folder)))
    for path in init(arguments.folder):
        tell(path)
    if folder is not None:
        name = identifier(arguments.folder.resolve().name)
        tell(*saved(folder, name, arguments.folder / "conf"), sep="\n")
        return 0
    tell(f"try it: cd {arguments.folder} && touchstone run task=mine")
    return 0
