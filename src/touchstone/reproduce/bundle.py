"""Everything a sweep needs to be reproduced elsewhere, in one archive: the artefact for a paper's
appendix.

Code, configuration and lock file as they are now; for every finished cell its configuration,
scores, digests and environment; the recorded LLM answers that its data came from; the data sets and
tables (not of restricted corpora); a README with the two commands. `touchstone reproduce --bundle
.` in the unpacked folder runs all cells again, offline. Corpora that are not ours to publish are
not packed: their files are looked for in TOUCHSTONE_DATA, as everywhere.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.paths import conf_dir
from touchstone.plugins import OWN_CODE
from touchstone.reproduce.record import BUNDLE, BUNDLE_FORMAT, from_folder

# Files of a checkout, which every installation carries in touchstone/checkout/
CHECKOUT = {
    "run.py.txt": "run.py",
    "pyproject.toml": "pyproject.toml",
    "constraints.txt": "constraints.txt",
    "Makefile": "Makefile",
    "LICENSE": "LICENSE",
}
PACKAGE = Path(__file__).resolve().parents[1]

README = """# {name}

The artefact of a Touchstone sweep: {n} cells of study {study}, run with

    {command}

Two commands (Python 3.11 and make; the package registry is the only network needed):

    make env
    .venv/bin/touchstone reproduce --bundle .

The first makes the environment that constraints.txt pins, the second runs every cell again from its
recorded configuration and LLM answers and says `identical`, or what drifted and what differs (code,
packages, platform). The whole grid again, with its own store:

    {again}

| folder | what |
|---|---|
| cells/ | a folder a cell: config.yaml, tables/, environment.json, git.json, tags.json{datasets} |
| recordings/ | the LLM's answers, one JSON line each, with the requests |
| tables/ | the sweep's result table |
| conf/, src/, run.py | the configuration and code that was packed |

{corpora}
"""


def bundle(
    sweep: str, out: Path, *, store: str | None = None, root: Path = Path(".")
) -> tuple[Path, int]:
    """Pack a sweep.

    Parameters
    ----------
    sweep : run id of the parent run, or the beginning of it.
    out : archive to write, .tar.gz.
    store : see `tracking.open_existing`; None = the project's own (`mlflow/` below `root`).
    root : the project: its store, and its own conf/, which is packed over the package's.

    Returns
    -------
    path, n_cells.

    Raises
    ------
    UserError
        If there is no such sweep, it has no finished cell, an answer it used cannot be found, or
        code or configuration is missing here.
    """
    from touchstone import tracking
    from touchstone.report import reading

    opened = tracking.open_existing(store or root / "mlflow")
    parent = tracking.find_run(opened, sweep)
    cells = [
        run
        for run in reading.search(opened, kind="cell", parent=parent.info.run_id)
        if run.info.status == "FINISHED"
    ]
    if not cells:
        raise UserError(
            f"run {sweep} is no sweep with finished cells; name a parent run (the run list shows "
            "it above its cells)"
        )
    prefix = out.name.removesuffix(".tar.gz")
    with tempfile.TemporaryDirectory() as temporary:
        staged = Path(temporary)
        files: set[str] = set()
        restricted = corpora = False
        for run in cells:
            folder = tracking.artifacts(opened, run)
            is_restricted = run.data.tags.get("touchstone.restricted") == "true"
            restricted |= is_restricted
            record = from_folder(folder, run.info.run_name, run.info.run_id, run.data.tags)
            corpora |= record.config["corpus"]["name"] != "ad_demo"
            _stage_cell(staged / "cells" / run.info.run_id, folder, run, is_restricted)
            for file in (folder / OWN_CODE).rglob("*.py"):
                _copy(file, staged / file.relative_to(folder / OWN_CODE))
            files |= set() if is_restricted else _answers_used(opened, run)
        _write_recording(
            staged / "recordings" / "answers.jsonl",
            files,
            [tracking.artifacts(opened, run) for run in cells],
        )
        results = tracking.artifacts(opened, parent) / "tables"
        for file in sorted(results.glob("*")) if results.is_dir() else ():
            _copy(file, staged / "tables" / file.name)
        (staged / "README.md").write_text(_readme(parent, cells, prefix, restricted, corpora))
        (staged / BUNDLE).write_text(json.dumps({"format": BUNDLE_FORMAT}) + "\n")
        _stage_code(staged, root)
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = out.with_name(out.name + ".part")
        with tarfile.open(aside, "w:gz") as archive:
            archive.add(staged, prefix, filter=_anonymous)
        aside.replace(out)
    return out, len(cells)


def _stage_cell(target: Path, artifacts: Path, run: Any, restricted: bool) -> None:
    lines = [
        "config.yaml",
        "overrides.json",
        "environment.json",
        "git.json",
        *(f"tables/{path.name}" for path in (artifacts / "tables").glob("*.csv")),
    ]
    if not restricted:
        lines += [
            f"datasets/{path.name}" for path in (artifacts / "datasets").glob("*.parquet")
        ] + ["prompts/example.md"]
    lines += [str(file.relative_to(artifacts)) for file in (artifacts / OWN_CODE).rglob("*.py")]
    for name in lines:
        if (artifacts / name).exists():
            _copy(artifacts / name, target / name)
    tags = {
        key: value
        for key, value in run.data.tags.items()
        if key.startswith("touchstone.") and key not in ("touchstone.host", "touchstone.pid")
    }
    (target / "tags.json").write_text(
        json.dumps(
            {"name": run.info.run_name, "tags": tags, "params": dict(run.data.params)}, indent=1
        )
    )


def _answers_used(store: Any, run: Any) -> set[str]:
    """Return the keys of the LLM responses behind a cell's generated data, those asked again and
    quarantined included.

    Raises
    ------
    UserError
        If requests were given up: what has no answer cannot be replayed.
    """
    from touchstone.report import reading

    digests = [
        value for name, value in run.data.tags.items() if name.startswith("touchstone.generation.")
    ]
    made = [
        found
        for digest in digests
        for found in reading.search(store, kind="generation", **{"touchstone.dataset": digest})
    ]
    for found in made:
        if lacking := int(found.data.metrics.get("llm/failed", 0)):
            raise UserError(
                f"{lacking} requests of {found.info.run_name} were given up (llm.tolerate), so a "
                "bundle could not be run again from its answers; give the sweep's command again "
                "until none lacks"
            )
    return {key for found in made for key in reading.json_file(store, found, "answers.json") or []}


def _write_recording(path: Path, wanted: set[str], artifacts: Sequence[Path]) -> None:
    """Collect the answers from recordings and from the response stores of the cells' caches."""
    import yaml

    from touchstone.llm import recording
    from touchstone.llm.store import Store

    configs = [yaml.safe_load((folder / "config.yaml").read_text()) for folder in artifacts]
    by_key: dict[str, Mapping[str, Any]] = {}
    named = {config["llm"].get("recording") for config in configs} - {None}
    files = [file for name in sorted(named) for file in recording.files(name)] + recording.shipped()
    for file in files:
        by_key |= {
            line["key"]: line
            for line in recording.read(file)
            if line["key"] in wanted and line["key"] not in by_key
        }
    for cache in sorted({config["paths"]["cache"] for config in configs}):
        if wanted - set(by_key) and (Path(cache) / "llm").is_dir():
            with Store(Path(cache) / "llm") as store:
                for response in store.rows():
                    if response.response.key in wanted and not response.restricted:
                        by_key.setdefault(response.response.key, recording.entry(response))
    lost = sorted(wanted - set(by_key))
    if lost:
        raise UserError(
            f"{len(lost)} LLM answers that the sweep used are in no recording or response store "
            f"here, the first is {lost[0][:16]}"
        )
    recording.write(path, (by_key[key] for key in sorted(by_key)))


def _readme(parent: Any, cells: Sequence[Any], name: str, restricted: bool, corpora: bool) -> str:
    command = parent.data.tags.get("touchstone.command", "python run.py -m")
    facts: Iterable[str] = [
        "Data of restricted corpora is not packed: bring the corpus and its answers under your "
        "own agreement."
        if restricted
        else "",
        "Corpora that are not the built-in demo are looked for in the folder that TOUCHSTONE_DATA "
        "names; `touchstone fetch NAME` gets the public ones."
        if corpora
        else "The corpus is the built-in demo, packed with the code.",
    ]
    return README.format(
        name=name,
        n=len(cells),
        study=parent.data.tags.get("touchstone.study", ""),
        command=command,
        again=command.replace("python run.py", ".venv/bin/python run.py")
        + " llm.recording=recordings",
        datasets="" if restricted else ", datasets/",
        corpora="\n".join(filter(None, facts)),
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())


def _stage_code(target: Path, root: Path) -> None:
    """Lay out the code that runs here, and its configuration, as a checkout."""
    plugins = PACKAGE.parent / "hydra_plugins"
    checkout = PACKAGE / "checkout"
    needed = [conf_dir(), plugins / "touchstone_grid.py", *(checkout / name for name in CHECKOUT)]
    for path in needed:
        if not path.exists():
            raise UserError(
                f"{path} is missing: the bundle would not run elsewhere; install touchstone-nlp "
                "again, or work in a whole checkout"
            )
    for name, packed in CHECKOUT.items():
        _copy(checkout / name, target / packed)
    own = target / "src" / "touchstone"
    left_out = shutil.ignore_patterns("__pycache__", ".*", "conf", "checkout")
    shutil.copytree(PACKAGE, own, ignore=left_out)
    for file in sorted(plugins.glob("touchstone_*.py")):
        _copy(file, target / "src" / "hydra_plugins" / file.name)
    shutil.copytree(conf_dir(), target / "conf")
    if (root / "conf").is_dir() and not (root / "conf").samefile(conf_dir()):
        shutil.copytree(root / "conf", target / "conf", dirs_exist_ok=True)
    (own / "conf").symlink_to(Path("..", "..", "conf"))
    (own / "checkout").mkdir()
    for name, packed in CHECKOUT.items():
        (own / "checkout" / name).symlink_to(Path("..", "..", "..", packed))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose files they were."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def add_cli(subparsers: Any) -> None:
    """Add `touchstone bundle SWEEP`."""
    parser = subparsers.add_parser(
        "bundle", help="everything a sweep needs to be reproduced elsewhere, in one archive"
    )
    parser.add_argument("sweep", help="run id of the parent run, or the beginning of it")
    parser.add_argument(
        "--out", type=Path, help="archive to write (default: out/STUDY-SWEEP.tar.gz)"
    )
    parser.add_argument(
        "--store", help="URI, SQLite file or folder of the store (default: mlflow/)"
    )
    parser.set_defaults(run=_run_cli)


def _run_cli(arguments: argparse.Namespace) -> int:
    out = arguments.out or Path("out") / f"touchstone-{arguments.sweep[:8]}.tar.gz"
    if not out.name.endswith(".tar.gz"):
        raise UserError(
            f"--out {out}: the archive is a .tar.gz; name it {out.with_suffix('')}.tar.gz"
        )
    path, n_cells = bundle(arguments.sweep, out, store=arguments.store)
    tell(
        f"{n_cells} cells packed in {path} ({path.stat().st_size / 1e6:.1f} MB). Unpack it "
        "anywhere and follow its README.md"
    )
    return 0
