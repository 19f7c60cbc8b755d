"""Run a cell again from what its run holds, in a fresh process, and say whether it came out
identical.

Compared: the tables of scores, value for value; the digests of the training, dev and test sets;
and, to explain a difference, the code, the packages, interpreter, platform, threads and model
revision. Recorded LLM answers are replayed; nothing is sent to an endpoint, and a change that would
do so is refused. Works on the project's store, on one that somebody sent (`--store`), and on an
unpacked bundle (`--bundle`, bundle.py).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from touchstone.errors import UserError, no_such


@dataclass(frozen=True)
class Record:
    """What a run holds of its cell.

    Attributes
    ----------
    name : the run's name; run_id : its id.
    config : the composed configuration as plain data.
    scores : table of scope, category, metric, value.
    digests : context (training, dev, test) -> content digest.
    environment : python, platform, cpus, packages; `code` : digest of the package's files; `commit`
        : git commit or None.
    """

    name: str
    run_id: str
    config: Mapping[str, Any]
    scores: pd.DataFrame
    digests: Mapping[str, str]
    environment: Mapping[str, Any]
    code: str
    commit: str | None


@dataclass(frozen=True)
class Verdict:
    """How a reproduction compares: `drifted` (metrics, data) decides, `differs` (code, packages,
    ...) explains."""

    drifted: tuple[str, ...]
    differs: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return not self.drifted


def from_store(run_id: str, store: str | None, root: Path = Path(".")) -> Record:
    """Read the record of a finished cell from a tracking store.

    Parameters
    ----------
    run_id : or an unambiguous beginning of it.
    store : URI, path of a SQLite file, or a folder that holds `mlflow.db`; None = the project's own
        (`mlflow/` below `root`).

    Raises
    ------
    UserError
        If there is no such store or run, the run is not a finished cell, or its artefacts are gone.
    """
    from touchstone import tracking

    opened = tracking.open_existing(store or root / "mlflow")
    run = tracking.find_run(opened, run_id)
    if run.data.tags.get(tracking.KIND) != "cell" or run.info.status != "FINISHED":
        kind = run.data.tags.get(tracking.KIND, "foreign")
        raise UserError(
            f"run {run_id} is a {kind} run with status {run.info.status}; only a finished cell can be reproduced"
        )
    folder = tracking.artifacts(opened, run)
    return from_folder(folder, run.info.run_name, run.info.run_id, run.data.tags)


def from_folder(folder: Path, name: str, run_id: str, tags: Mapping[str, str]) -> Record:
    """Read a record from a run's artefacts and tags."""
    missing = [
        path
        for path in ("config.yaml", "tables/scores.csv", "environment.json", "git.json")
        if not (folder / path).exists()
    ]
    if missing:
        raise UserError(
            f"run {run_id}: its artefacts lack {', '.join(missing)}; the store and its artefact folder must be sent together"
        )
    git = json.loads((folder / "git.json").read_text())
    return Record(
        name=name,
        run_id=run_id,
        config=yaml.safe_load((folder / "config.yaml").read_text()),
        scores=_scores((folder / "tables/scores.csv").read_text()),
        digests={
            key.rpartition(".")[2]: value
            for key, value in tags.items()
            if key.startswith("touchstone.dataset.")
        },
        environment=json.loads((folder / "environment.json").read_text()),
        code=git.get("code") or "",
        commit=git.get("commit"),
    )


def run_again(
    records: Sequence[Record],
    changes: Sequence[str] = (),
    *,
    data: str | None = None,
    recording: str | None = None,
) -> list[Record]:
    """Run cells again in one fresh process with an empty stage cache, offline, and return their new
    records.

    Parameters
    ----------
    changes : overrides (`seed=1`) on top of the recorded configurations.
    data : folder of the corpora, where it is another one than recorded.
    recording : PATH[,PATH] of recorded LLM answers beside the shipped ones.

    Raises
    ------
    UserError If a cell fails, or a change does not fit or names an LLM backend other than
        `recorded`; the message is the cell's.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        replayed = [recording, *_stored_answers(records, folder)]
        jobs = []
        for record in records:
            config = json.loads(json.dumps(record.config))
            config["paths"] |= {"cache": str(folder / "cache"), "store": str(folder / "store")} | (
                {"data": data} if data else {}
            )
            named = ",".join(
                str(path) for path in [config["llm"].get("recording"), *replayed] if path
            )
            config["llm"] |= {
                "backend": "recorded",
                "recording": named or None,
                "estimate_only": False,
                "budget_usd": None,
            }
            jobs.append({"config": config, "changes": list(changes)})
        (folder / "jobs.json").write_text(json.dumps(jobs))
        command = [
            sys.executable,
            "-m",
            "touchstone.reproduce.reproduce",
            str(folder / "jobs.json"),
            str(folder / "done.json"),
        ]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": _source_path()},
        )
        if done.returncode != 0 or not (folder / "done.json").exists():
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                print(done.stderr, file=sys.stderr)
            last = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
            raise UserError(f"the cell could not be run again: {last}")
        results = json.loads((folder / "done.json").read_text())
    return [
        Record(
            record.name,
            "",
            result["config"],
            _scores(result["scores"]),
            result["digests"],
            result["environment"],
            result["code"],
            result["commit"],
        )
        for record, result in zip(records, results, strict=True)
    ]


def compare(before: Record, after: Record) -> Verdict:
    """Compare two records of a cell.

    Metrics are compared value for value (bit for bit), data by digest. What explains a difference
    is listed whether or not there is one.
    """
    drifted = []
    for context in sorted(set(before.digests) | set(after.digests)):
        if before.digests.get(context) != after.digests.get(context):
            drifted.append(
                f"data: the {context} set has another digest ({_short(before.digests.get(context))} -> {_short(after.digests.get(context))})"
            )
    index = ["scope", "category", "metric"]
    both = before.scores.merge(after.scores, on=index, how="outer", suffixes=("_before", "_after"))
    for row in both.itertuples(index=False):
        if row.value_before != row.value_after and not (
            pd.isna(row.value_before) and pd.isna(row.value_after)
        ):
            what = " ".join(
                part
                for part in (row.scope if row.scope != "category" else "", row.category, row.metric)
                if part
            )
            drifted.append(f"metric: {what} {row.value_before:.4f} -> {row.value_after:.4f}")
    return Verdict(tuple(drifted), tuple(_explanations(before, after)))


def _explanations(before: Record, after: Record) -> list[str]:
    lines = []
    ours = {"paths", "tracking", "study", "debug"}  # where things lie, not what is computed
    for key, (old, new) in _changed(_flat(before.config, ours), _flat(after.config, ours)).items():
        if key not in ("llm.backend", "llm.recording", "llm.estimate_only", "llm.budget_usd"):
            lines.append(f"config: {key} {old} -> {new}")
    if before.code != after.code:
        commit = (
            f" (commit {_short(before.commit)} -> {_short(after.commit)})"
            if before.commit != after.commit
            else ""
        )
        lines.append(f"code: the package's files differ{commit}")
    for key in ("python", "platform", "cpus"):
        if before.environment.get(key) != after.environment.get(key):
            lines.append(f"{key}: {before.environment.get(key)} -> {after.environment.get(key)}")
    versions = [
        dict(line.split("==", 1) for line in record.environment.get("packages", []))
        for record in (before, after)
    ]
    for package, (old, new) in _changed(*versions).items():
        lines.append(f"package: {package} {old or 'absent'} -> {new or 'absent'}")
    return lines


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (before.get(key), after.get(key))
        for key in sorted(set(before) | set(after))
        if before.get(key) != after.get(key)
    }


def _flat(config: Mapping[str, Any], without: set[str], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if not prefix and key in without:
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, set(), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _stored_answers(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write the answers in the recorded runs' own response stores, where they are here, as
    recordings to replay."""
    from touchstone.llm import recording
    from touchstone.llm.store import Store

    written = []
    for number, cache in enumerate(
        sorted(
            {
                record.config["paths"]["cache"]
                for record in records
                if record.config["llm"]["backend"] != "recorded"
            }
        )
    ):
        if (Path(cache) / "llm").is_dir():
            with Store(Path(cache) / "llm") as store:
                n, _ = recording.export(store, folder / f"answers-{number}.jsonl", restricted=True)
            written += [folder / f"answers-{number}.jsonl"] if n else []
    return written


def _scores(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text), keep_default_na=False, na_values={"value": [""]})


def _short(value: str | None) -> str:
    return (value or "none")[:12]


def _source_path() -> str:
    return os.pathsep.join(
        [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    )


def _child(jobs: Path, done: Path) -> int:
    """Run the jobs: what the fresh process does."""
    from omegaconf import OmegaConf

    from touchstone.configuration import checked, typed
    from touchstone.pipeline import run_cell
    from touchstone.run.console import explain
    from touchstone.run.job import code_digest, environment, git_state

    results, changes = [], []
    try:
        for job in json.loads(jobs.read_text()):
            changes = job["changes"]
            composed = OmegaConf.merge(typed(job["config"]), OmegaConf.from_dotlist(changes))
            if composed.llm.backend != "recorded":
                backend = composed.llm.backend
                raise UserError(
                    f"llm.backend={backend}: recorded answers are replayed here and nothing is sent; to ask again: python run.py llm={backend}"
                )
            cell = run_cell(checked(composed))
            results.append(
                {
                    "config": OmegaConf.to_container(composed, resolve=True),
                    "scores": cell.tables["scores"].to_csv(index=False),
                    "digests": {context: data.digest for context, data in cell.datasets.items()},
                    "environment": environment(),
                    "code": code_digest(),
                    "commit": git_state()["commit"],
                }
            )
    except Exception as error:  # noqa: BLE001 - told here in one line, which the parent passes on
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exception(error)
        print(explain(error, changes), file=sys.stderr)
        return 1
    done.write_text(json.dumps(results))
    return 0


def add_cli(subparsers: Any) -> None:
    """Add `touchstone reproduce RUN_ID [OVERRIDE ...]`."""
    parser = subparsers.add_parser(
        "reproduce", help="run a cell again from its run id and say what differs"
    )
    parser.add_argument("run_id", nargs="?", help="of a finished cell, or the beginning of it")
    parser.add_argument(
        "changes", nargs="*", metavar="OVERRIDE", help="e.g. seed=1: what does it change?"
    )
    parser.add_argument(
        "--store",
        help="URI, SQLite file or folder of a store that somebody sent (default: mlflow/)",
    )
    parser.add_argument("--bundle", type=Path, help="an unpacked bundle: run all its cells")
    parser.add_argument("--data", help="folder of the corpora, if it is another one than recorded")
    parser.add_argument(
        "--recording", help="PATH[,PATH] of recorded LLM answers beside the shipped ones"
    )
    parser.set_defaults(run=_run_cli)


def _run_cli(arguments: argparse.Namespace) -> int:
    recording = arguments.recording
    if arguments.bundle:
        from touchstone.reproduce.bundle import records_of

        if arguments.run_id:
            arguments.changes.insert(0, arguments.run_id)
        records = records_of(arguments.bundle)
        recording = ",".join(filter(None, [recording, str(arguments.bundle / "recordings")]))
    elif arguments.run_id:
        records = [from_store(arguments.run_id, arguments.store)]
    else:
        raise UserError(
            "name the run to reproduce, or an unpacked bundle: touchstone reproduce RUN_ID | --bundle DIR"
        )
    wrong = [change for change in arguments.changes if "=" not in change]
    if wrong:
        raise UserError(no_such("override", wrong[0], ["key=value"]))
    again = run_again(records, arguments.changes, data=arguments.data, recording=recording)
    status = 0
    for before, after in zip(records, again, strict=True):
        verdict = compare(before, after)
        print(f"{before.name}: {'identical' if verdict.identical else 'not identical'}")
        for line in (*verdict.drifted, *verdict.differs):
            print(f"  {line}")
        status |= not verdict.identical
    return status


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1]), Path(sys.argv[2])))
