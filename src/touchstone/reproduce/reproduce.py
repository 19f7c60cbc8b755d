"""Run a cell again from what its run holds, in a fresh process, and say whether it came out
identical.

Compared: the tables of scores, value for value; the digests of the training, dev and test sets;
and, to explain a difference, the code, the packages, interpreter, platform, threads and model
revision. Recorded LLM answers are replayed; nothing is sent to an endpoint, and a change that would
do so is refused. Works on the project's store, on one that somebody sent (`--store`), and on an
bundle, packed or not (`--bundle`, bundle.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd

from touchstone.commands import run_command
from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell
from touchstone.locks import claim, is_held
from touchstone.private import private_folder
from touchstone.reproduce.archive import unpacked
from touchstone.reproduce.foreign import confined
from touchstone.reproduce.record import Record, from_store, records_of, scores_table


@dataclass(frozen=True)
class Verdict:
    """How a reproduction compares: `drifted` (metrics, data) decides, `differs` (code, packages,
    ...) explains."""

    drifted: tuple[str, ...]
    differs: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return not self.drifted


def run_again(
    records: Sequence[Record],
    changes: Sequence[str] = (),
    *,
    data: str | None = None,
    recording: str | None = None,
    sent: bool = False,
    trust_code: bool = False,
) -> list[Record]:
    """Run cells again in one fresh process with an empty stage cache, offline, and return their new
    records.

    Parameters
    ----------
    changes : overrides (`seed=1`) on top of the recorded configurations.
    data : folder of the corpora, where it is another one than recorded.
    recording : PATH[,PATH] of recorded LLM answers beside the shipped ones.
    sent : whether the records are somebody else's: see foreign.py. `trust_code`: whether their code
        may run.

    Raises
    ------
    UserError If a cell fails, or a change does not fit or names an LLM backend other than
        `recorded`; the message is the cell's.
    """
    if sent:
        records = [
            replace(one, config=confined(one.config, one.run_id, trust_code)) for one in records
        ]
    with scratch(".cache" if sent else records[0].config["paths"]["cache"]) as folder:
        replayed = [recording, *([] if sent else _stored_answers(records, folder))]
        jobs: list[dict[str, Any]] = []
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
            own = folder / "own" / str(len(jobs))
            for path, text in record.own_code.items():
                (own / path).parent.mkdir(parents=True, exist_ok=True)
                (own / path).write_text(text, encoding="utf-8")
            jobs.append({"config": config, "changes": list(changes), "own_code": str(own)})
        (folder / "jobs.json").write_text(json.dumps(jobs))
        command = [
            sys.executable,
            "-P",  # nothing is imported from the working folder: it may be somebody's bundle
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
                tell(done.stderr, file=sys.stderr)
            last = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
            raise UserError(f"the cell could not be run again: {last}")
        results = json.loads((folder / "done.json").read_text())
    return [
        Record(
            record.name,
            "",
            result["config"],
            scores_table(result["scores"], result["config"]["task"]["kind"]),
            result["digests"],
            result["environment"],
            result["code"],
            result["commit"],
            result["own_code"],
        )
        for record, result in zip(records, results, strict=True)
    ]


@contextmanager
def scratch(cache: str | Path) -> Iterator[Path]:
    """Give a folder for one reproduction inside the cache, where notes may lie: 0700, removed at
    the end, and by the next reproduction where this one was killed."""
    place = Path(cache).absolute() / "reproduce"
    try:
        private_folder(place)
        for left in place.glob("*.lock"):
            if not is_held(left):
                shutil.rmtree(left.with_suffix(""), ignore_errors=True)
                left.unlink(missing_ok=True)
        folder = Path(tempfile.mkdtemp(dir=place))  # 0700
        lock = claim(f"{folder}.lock")
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.lock").unlink(missing_ok=True)
        if lock is not None:
            lock.release()


def compare(before: Record, after: Record) -> Verdict:
    """Compare two records of a cell.

    Metrics that both have are compared value for value (bit for bit), data by digest: a run of an
    earlier version lacks the scores that came later. What explains a difference is listed whether
    or not there is one.
    """
    drifted = []
    for context in sorted(set(before.digests) | set(after.digests)):
        if before.digests.get(context) != after.digests.get(context):
            drifted.append(
                f"data: the {context} set has another digest "
                f"({_short(before.digests.get(context))} -> {_short(after.digests.get(context))})"
            )
    both = before.scores.merge(after.scores, on="name", how="inner", suffixes=("_before", "_after"))
    for row in both.itertuples(index=False):
        if row.value_before != row.value_after and not (
            pd.isna(row.value_before) and pd.isna(row.value_after)
        ):
            drifted.append(f"metric: {row.name} {row.value_before:.4f} -> {row.value_after:.4f}")
    return Verdict(tuple(drifted), tuple(_explanations(before, after)))


def _explanations(before: Record, after: Record) -> list[str]:
    from touchstone.configuration import upgraded

    lines = []
    ours = {"paths", "tracking", "study", "debug"}  # where things lie, not what is computed
    was, now = _flat(upgraded(before.config), ours), _flat(after.config, ours)
    later = sorted(set(now) - set(was))
    if later:
        lines.append(f"config: {len(later)} keys that the run's version had not, at their defaults")
    for key, (old, new) in _changed(was, now).items():
        if key not in later and key not in (
            "llm.backend",
            "llm.recording",
            "llm.estimate_only",
            "llm.budget_usd",
        ):
            lines.append(f"config: {key} {old} -> {new}")
    if before.code != after.code:
        commit = (
            f" (commit {_short(before.commit)} -> {_short(after.commit)})"
            if before.commit != after.commit
            else ""
        )
        lines.append(f"code: the package's files differ{commit}")
    for path in _changed(before.own_code, after.own_code):
        lines.append(f"code: {path}, your own, differs from the run's")
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


def _short(value: str | None) -> str:
    return (value or "none")[:12]


def _source_path() -> str:
    """Return where the fresh process imports from: this package, and what the user's environment
    names by absolute paths; an empty or relative entry would be the working folder."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([own, *filter(os.path.isabs, inherited)])


def _child(jobs: Path, done: Path) -> int:
    """Run the jobs: what the fresh process does."""
    from omegaconf import DictConfig, OmegaConf

    from touchstone import plugins
    from touchstone.configuration import checked, own_code, typed
    from touchstone.pipeline import run_cell
    from touchstone.run.environment import code_digest, environment, git_state
    from touchstone.run.hydra_errors import explain

    results, changes = [], []
    try:
        for job in json.loads(jobs.read_text()):
            changes = job["changes"]
            plugins.FOLDERS[:] = [Path(job["own_code"])]  # where the project lacks a file
            composed = cast(
                DictConfig, OmegaConf.merge(typed(job["config"]), OmegaConf.from_dotlist(changes))
            )
            if composed.llm.backend != "recorded":
                backend = composed.llm.backend
                raise UserError(
                    f"llm.backend={backend}: recorded answers are replayed here and nothing is "
                    f"sent; to ask again: {run_command([f'llm={backend}'])}"
                )
            config = checked(composed)
            cell = run_cell(config)
            results.append(
                {
                    "config": OmegaConf.to_container(composed, resolve=True),
                    "scores": cell.tables["scores"].to_csv(index=False),
                    "digests": {context: data.digest for context, data in cell.datasets.items()},
                    "environment": environment(),
                    "code": code_digest(),
                    "commit": git_state()["commit"],
                    "own_code": own_code(config),
                }
            )
    except Exception as error:  # noqa: BLE001 - told here in one line, which the parent passes on
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exception(error)
        tell(explain(error, changes), file=sys.stderr)
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
    parser.add_argument("--bundle", type=Path, help="a bundle, unpacked or not: run all its cells")
    parser.add_argument("--data", help="folder of the corpora, if it is another one than recorded")
    parser.add_argument(
        "--recording", help="PATH[,PATH] of recorded LLM answers beside the shipped ones"
    )
    parser.add_argument(
        "--trust-code", action="store_true", help="of a store or bundle that was sent: run its code"
    )
    parser.set_defaults(run=_run_cli)


@contextmanager
def _named_records(arguments: argparse.Namespace) -> Iterator[tuple[list[Record], str | None]]:
    """Give the records that the command names, and the recordings to replay; an archive stays
    unpacked for the body."""
    if arguments.bundle:
        with scratch(".cache") if arguments.bundle.is_file() else nullcontext() as folder:
            bundle = unpacked(arguments.bundle, folder) if folder else arguments.bundle
            named = [arguments.recording, str(bundle / "recordings")]
            yield records_of(bundle), ",".join(filter(None, named))
    elif arguments.run_id:
        yield [from_store(arguments.run_id, arguments.store)], arguments.recording
    else:
        raise UserError(
            "name the run to reproduce, or a bundle: touchstone reproduce RUN_ID | --bundle "
            "FOLDER_OR_ARCHIVE"
        )


def _run_cli(arguments: argparse.Namespace) -> int:
    if arguments.bundle and arguments.run_id:
        arguments.changes.insert(0, arguments.run_id)
    with _named_records(arguments) as (records, recording):
        wrong = [change for change in arguments.changes if "=" not in change]
        if wrong:
            raise UserError(no_such("override", wrong[0], ["key=value"]))
        again = run_again(
            records,
            arguments.changes,
            data=arguments.data,
            recording=recording,
            sent=bool(arguments.bundle or arguments.store),
            trust_code=arguments.trust_code,
        )
    status = 0
    for before, after in zip(records, again, strict=True):
        verdict = compare(before, after)
        tell(f"{before.name}: {'identical' if verdict.identical else 'not identical'}")
        for line in (*verdict.drifted, *verdict.differs):
            tell(f"  {line}")
        status |= not verdict.identical
    return status


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1]), Path(sys.argv[2])))
