"""`make evidence`: both papers' questions on public expert-labelled text, written to
docs/evidence.md.

Runs the presets on the demo, HoC, NCBI-disease, BC5CDR-disease and GAD from the shipped recordings
(no LLM is asked) and writes the tables and claims as they come out. A corpus that is not in
TOUCHSTONE_DATA is left out, and the page says so. What a folder holds already is not run again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# study -> what it answers, the corpora it needs, the sweeps that make it
STUDIES: dict[str, tuple[str, tuple[str, ...], tuple[tuple[str, ...], ...]]] = {
    "two_directions": (
        "The first paper's questions on the demo, which is fictional",
        (),
        (
            ("+experiment=two_directions",),
            ("+experiment=controls",),
            ("+experiment=equal_size",),
            ("+experiment=volume",),
            ("+experiment=bronze_match",),
        ),
    ),
    "hoc": (
        "The first paper's questions on Hallmarks of Cancer, labelled by experts",
        ("hoc/hoc.jsonl",),
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
    ),
    "synthetic_mining": (
        "The second paper's questions on NCBI-disease, BC5CDR-disease and GAD, labelled by experts",
        ("ncbi_disease/test.tsv", "bc5cdr_disease/test.tsv"),
        (("+experiment=synthetic_mining",),),
    ),
}
HEAD = """# Evidence

Made by `make evidence`: every number below came out of the presets as they are shipped, replayed
from recordings, five draws of gold each. Intervals cover test patients (documents, sentences) and
draws. Run ids stand in the sidecar files beside the tables.

Read with this in mind:

- NCBI-disease, BC5CDR, GAD and HoC are public. The LLM that answered (`claude`, November 2026) may
  have read them in training, labels included; its scores on them can be too good.
- The demo is fictional: language models wrote its notes and labelled them. It shows that this
  works, and says nothing about hospitals.
- "Undecided" is not "no effect": beside each claim stands the smallest effect that its test set
  could have shown.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", default="evidence", help="store, cache and tables of the runs")
    parser.add_argument("--out", default=str(ROOT / "docs" / "evidence.md"))
    parser.add_argument("--only", default=",".join(STUDIES), help="studies, with commas")
    parser.add_argument(
        "--write-only", action="store_true", help="run nothing, write what is there"
    )
    arguments = parser.parse_args()
    folder = Path(arguments.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("TOUCHSTONE_DATA", ""))
    page = [HEAD]
    started = time.monotonic()
    for study in arguments.only.split(","):
        title, needed, sweeps = STUDIES[study]
        page.append(f"## {title}\n")
        absent = [name for name in needed if not (data / name).exists()]
        if absent:
            page.append(f"Not run here: TOUCHSTONE_DATA lacks {', '.join(absent)}.\n")
            continue
        if not arguments.write_only:
            for number, overrides in enumerate(sweeps):
                run(folder, study, number, overrides)
        page += section(folder, study, sweeps)
    minutes = (time.monotonic() - started) / 60
    page.append(f"Written in {minutes:.0f} minutes on {os.cpu_count()} cores.\n")
    Path(arguments.out).write_text("\n".join(page), encoding="utf-8")
    print(f"{arguments.out} written")
    return 0


def run(folder: Path, study: str, number: int, overrides: tuple[str, ...]) -> None:
    """Run a sweep, or finish one that was stopped; cells that cannot run are told on the page."""
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
    subprocess.run(command, check=False)


def section(folder: Path, study: str, sweeps: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return the tables and claims of a study, as the commands write them."""
    store = f"--store={folder / 'mlflow'}"
    touchstone = [sys.executable, "-m", "touchstone"]
    told = ["Commands:\n\n```"]
    told += [f"python run.py -m {' '.join(overrides)} study={study}" for overrides in sweeps]
    told += [f"touchstone table {study} --sweep all", f"touchstone claims {study} --sweep all"]
    told += ["```\n"]
    out = folder / "tables"
    subprocess.run(
        [
            *touchstone,
            "table",
            study,
            store,
            "--sweep",
            "all",
            "--format",
            "markdown",
            "--out",
            str(out),
            "--no-figures",
        ],
        check=True,
    )
    tables = (out / f"{study}.md").read_text(encoding="utf-8")
    return [*told, _deeper(tables)]


def _deeper(markdown: str) -> str:
    """Put the headings of a file below those of the page."""
    lines = markdown.splitlines()
    return "\n".join(f"##{line}" if line.startswith("# ") else line for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
