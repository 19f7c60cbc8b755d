"""`make evidence`: both papers' questions on public expert-labelled text, written to
docs/evidence.md.

Runs the presets on the demo, HoC, NCBI-disease, BC5CDR-disease and GAD from the shipped recordings
(no LLM is asked) and writes tables, claims and figures as they come out. A corpus that is not in
TOUCHSTONE_DATA is left out, and the page says so. What a folder holds already is not run again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from touchstone.report.study import Study

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ("png",)  # what `touchstone table` draws for the format `write` below
CLOSING_LINES = 12  # of a sweep that did not end well, printed


@dataclass(frozen=True)
class Part:
    """A study of the page: what it answers, its sweeps, and the file that each task needs in
    TOUCHSTONE_DATA (none: the demo)."""

    title: str
    sweeps: tuple[tuple[str, ...], ...]
    corpora: dict[str, str] = field(default_factory=dict)


PARTS = {
    "two_directions": Part(
        "The first paper's questions on the demo, which is fictional",
        (
            ("+experiment=two_directions",),
            ("+experiment=controls",),
            ("+experiment=equal_size",),
            ("+experiment=volume",),
            ("+experiment=bronze_match",),
        ),
    ),
    "hoc": Part(
        "The first paper's questions on Hallmarks of Cancer, labelled by experts",
        (
            ("+experiment=hoc",),
            ("+experiment=controls", "task=hoc"),
            (
                "+experiment=equal_size",
                "task=hoc",
                "mixture.silver.count=240",
                "mixture.bronze.count=240",
            ),
        ),
        {"hoc": "hoc/hoc.jsonl"},
    ),
    "synthetic_mining": Part(
        "The second paper's questions on NCBI-disease, BC5CDR-disease and GAD, labelled by experts",
        (("+experiment=synthetic_mining",),),
        {
            "ncbi_disease": "ncbi_disease/test.tsv",
            "bc5cdr_disease": "bc5cdr_disease/test.tsv",
            "gad": "gad/test.tsv",
        },
    ),
}
HEAD = """# Evidence

Made by `make evidence`: every number below came out of the presets as they are shipped, replayed
from recordings, five draws of gold each. Intervals cover test patients (documents, sentences) and
draws.

Read with this in mind:

- NCBI-disease, BC5CDR, GAD and HoC are public. The LLM that answered (`claude`, November 2026) may
  have read them in training, labels included; its scores on them can be too good.
- The demo is fictional: language models wrote its notes and labelled them. It shows that this
  works, and says nothing about hospitals.
- "Undecided" is not "no effect": beside each claim stands the smallest effect that its test set
  could have shown.
"""


def main() -> int:
    """Run what is missing, write the page and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="evidence", help="store, cache and tables of the runs")
    parser.add_argument("--out", default=str(ROOT / "docs" / "evidence.md"))
    parser.add_argument("--only", default=",".join(PARTS), help="studies, with commas")
    parser.add_argument(
        "--write-only", action="store_true", help="run nothing, write what is there"
    )
    arguments = parser.parse_args()
    folder, out = Path(arguments.folder).resolve(), Path(arguments.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    page = [HEAD]
    for study in arguments.only.split(","):
        if study not in PARTS:
            parser.error(f'no study "{study}": {", ".join(PARTS)}')
        part = PARTS[study]
        page.append(f"## {part.title}\n")
        absent = lacking(part)
        if absent:
            names = ", ".join(part.corpora[task] for task in absent)
            page.append(f"Not run here: TOUCHSTONE_DATA lacks {names}.\n")
        if part.corpora and len(absent) == len(part.corpora):
            continue
        sweeps = [narrowed(overrides, part, absent) for overrides in part.sweeps]
        if not arguments.write_only:
            started = time.monotonic()
            failures = [run(folder, study, number, each) for number, each in enumerate(sweeps)]
            minutes = (time.monotonic() - started) / 60
            page.append(f"{minutes:.0f} minutes on {os.cpu_count()} cores.\n")
            page += [failure for failure in failures if failure]
        page.append(section(folder, out, study, sweeps))
    out.write_text("\n".join(page), encoding="utf-8")
    print(f"{out} written")
    return 0


def lacking(part: Part) -> list[str]:
    """Return the tasks of a part whose corpus is not in TOUCHSTONE_DATA."""
    data = os.environ.get("TOUCHSTONE_DATA")
    return [
        task
        for task, name in part.corpora.items()
        if data is None or not (Path(data) / name).is_file()
    ]


def narrowed(overrides: tuple[str, ...], part: Part, absent: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides of a sweep over the tasks whose corpora are there."""
    if not absent:
        return overrides
    return (*overrides, "task=" + ",".join(task for task in part.corpora if task not in absent))


def run(folder: Path, study: str, number: int, overrides: Sequence[str]) -> str:
    """Run a sweep, or finish one that was stopped; return what the page says where cells failed."""
    log = folder / f"{study}_{number}.log"
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        "-m",
        *overrides,
        f"study={study}",
        f"paths.cache={folder / 'cache'}",
        f"paths.store={folder / 'mlflow'}",
        f"hydra.sweep.dir={folder / f'{study}_{number}'}",
        "tracking.log_models=false",
    ]
    print(f"{' '.join(overrides)}: see {log}", flush=True)
    with log.open("w", encoding="utf-8") as out:
        status = subprocess.run(command, check=False, stdout=out, stderr=subprocess.STDOUT)
    if status.returncode == 0:
        return ""
    print("\n".join(log.read_text(encoding="utf-8").splitlines()[-CLOSING_LINES:]), flush=True)
    return (
        f"`{' '.join(overrides)}` ended with status {status.returncode}: some of its cells did not "
        "run; the first table says which, and why.\n"
    )


def section(folder: Path, out: Path, study: str, sweeps: Sequence[Sequence[str]]) -> str:
    """Return the commands, tables, claims and figures of a study; the figures stand beside the
    page in `evidence/`.

    Raises
    ------
    subprocess.CalledProcessError
        If there are no tables: nothing of the study ran.
    """
    tables = folder / "tables"
    subprocess.run(
        [
            *(sys.executable, "-m", "touchstone", "table", study, "--sweep", "all"),
            *("--store", str(folder / "mlflow"), "--out", str(tables)),
            *("--format", f"{Path(__file__).resolve()}:write", "--figures"),
        ],
        check=True,
    )
    beside = out.parent / "evidence"
    beside.mkdir(exist_ok=True)
    for figure in sorted((tables / "figures").glob(f"{study}_*.png")):
        shutil.copy2(figure, beside / figure.name)
    commands = [f"python run.py -m {' '.join(overrides)} study={study}" for overrides in sweeps]
    commands += [f"touchstone table {study} --sweep all", f"touchstone claims {study} --sweep all"]
    text = (tables / f"{study}_evidence.md").read_text(encoding="utf-8")
    slow = "<!-- slow: `make evidence` runs all of them, about half an hour -->"
    return "\n".join([slow, "```sh", *commands, "```", "", text])


def write(study: Study, folder: Path) -> list[Path]:
    """Write the tables of a study as Markdown with its figures below: a format of one's own for
    `touchstone table`."""
    from touchstone.report.formats.markdown import markdown

    name = study.grid.study
    lines = [markdown(table) for table in study.tables]
    lines += [
        f"![{caption}](evidence/{name}_{key}.png)\n\n{caption}\n"
        for key, caption, _ in study.figures
    ]
    path = folder / f"{name}_evidence.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    return [path]


if __name__ == "__main__":
    sys.exit(main())
