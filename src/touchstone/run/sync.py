"""Copy what a store holds into another one: `touchstone sync DIR --to URI`.

For nodes that reach no tracking server, and for laptops. Copied are finished cells and generations,
the parents of sweeps as they stand, prompts, models and artefacts: each once, however often the
command is given, and a copy that was cut off is made again. The target gives its own ids; a copy
carries the id that it had as the tag `touchstone.origin`, by which it is found too
(`tracking.find_run`), and ids in the texts of a sweep are replaced. Failed cells and traces are not
copied. Does not change the source.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.tracing.constant import TraceTagKey

from touchstone import locks, tracking
from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.paths import file_name, path_of, path_of_sqlite
from touchstone.tracking import KIND, ORIGIN, PARENT, STATUS, SUPERSEDED, Run, Store, where
from touchstone.tracking_errors import readable_uri, telling_trouble

RUN_ID = re.compile(r"\b[0-9a-f]{32}\b")
OWN_TAGS = ("mlflow.runName", PARENT, ORIGIN, TraceTagKey.LINKED_PROMPTS)  # set anew in the target
MODEL = "m-"  # before the 32 digits of a model's id
LOCK = ".sync.lock"
METRICS_AT_ONCE, PARAMS_AT_ONCE = 1000, 100  # that MLflow takes in one request
TEXTS = {".csv", ".md", ".svg", ".json", ".html", ".txt"}
KINDS = {"sweep": "sweeps", "cell": "cells", "generation": "generations"}


@dataclass
class Copied:
    """What a sync did.

    Attributes
    ----------
    new, known : how many runs of each kind were copied, and were there already.
    unfinished : cells that are not finished, and stay where they are.
    prompts : prompt versions that were registered.
    """

    new: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    unfinished: int = 0
    prompts: int = 0


@dataclass
class Copying:
    """Two stores of one experiment, and what is known of the copies so far: ids of runs, versions
    of prompts."""

    source: Store
    target: Store
    done: Copied
    link: bool = False  # artefacts as hard links where both stores are on one disk
    ids: dict[str, str] = field(default_factory=dict)
    prompts: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)


def sync(folder: str | Path, to: str) -> Copied:
    """Copy the finished runs of a store into another one.

    Parameters
    ----------
    folder : of the source: a sweep's folder (`tracking.uri=sweep`) or one with an mlflow.db.
    to : URI of the target, or the folder of an embedded store.

    Raises
    ------
    UserError
        If there is no store in `folder`, the target is that store or cannot be reached, or another
        sync is at it.
    """
    source = tracking.open_existing(folder)
    if not source.uri.startswith("sqlite:"):
        raise UserError(f"{folder}: sync copies from a folder of this machine; name one, not a URI")
    lock = locks.claim(source.folder / LOCK)
    if lock is None:
        raise UserError(f"{folder}: another sync is at it; wait for it to end")
    done = Copied()
    try:
        for experiment in source.client.search_experiments():
            of_one = tracking.Store(
                source.client,
                source.uri,
                experiment.experiment_id,
                experiment.name,
                source.folder,
                experiment.artifact_location,
            )
            if not tracking.search(of_one, "", experiments=[experiment.experiment_id], most=1):
                continue
            target = _opened(to, experiment.name, source)
            with telling_trouble(target.uri):
                _copy_experiment(Copying(of_one, target, done))
    finally:
        lock.release()
    return done


def _opened(to: str, experiment: str, source: Store) -> Store:
    if "://" not in to:
        uri, folder = None, Path(to).expanduser().resolve()
        folder = folder.parent if folder.suffix == ".db" else folder
    elif to.startswith("sqlite:"):
        uri, folder = to, path_of_sqlite(to).resolve().parent
    else:
        uri, folder = to, source.folder
    if folder == source.folder and (uri is None or uri.startswith("sqlite:")):
        raise UserError(f"--to {to}: is the store that is copied; name another")
    return tracking.open_store(uri, experiment, folder)


def _copy_experiment(stores: Copying) -> None:
    """Copy generations, then sweep by sweep the parent and its cells, then cells of no sweep."""
    for run in _of_kind(stores.source, "generation"):
        if run.info.status == "FINISHED" and run.data.tags.get(STATUS) != SUPERSEDED:
            copy_generation(stores, run)
    cells: dict[str | None, list[Run]] = {}
    for run in _of_kind(stores.source, "cell"):
        if run.info.status != "FINISHED":
            stores.done.unfinished += run.data.tags.get(STATUS) != SUPERSEDED
        elif run.data.tags.get(STATUS) != SUPERSEDED:
            cells.setdefault(run.data.tags.get(PARENT), []).append(run)
    for parent in _of_kind(stores.source, "sweep"):
        children = cells.pop(parent.info.run_id, [])
        if children:
            _copy_sweep(stores, parent, children)
    for run in (run for twins in cells.values() for run in twins):
        copy_run(stores, run, copies_of(stores, run.info.run_id))


def _of_kind(store: Store, kind: str) -> list[Run]:
    return tracking.search(store, where({KIND: kind}), experiments=[store.experiment_id])


def copies_of(stores: Copying, run_id: str) -> list[Run]:
    """Return the runs of the target that are copies of a run."""
    experiments = [stores.target.experiment_id]
    return tracking.search(stores.target, where({ORIGIN: run_id}), experiments=experiments)


def copy_generation(stores: Copying, run: Run) -> None:
    """Copy the run of a generated data set, unless the target has one of that content, made from
    the same answers."""
    same_of = (KIND, "touchstone.dataset", "touchstone.answers")  # older runs lack the last
    tags = {name: run.data.tags[name] for name in same_of if name in run.data.tags}
    same = [
        found
        for found in tracking.search(
            stores.target, where(tags), experiments=[stores.target.experiment_id]
        )
        if found.info.status == "FINISHED"
    ]
    if same:
        stores.ids[run.info.run_id] = same[0].info.run_id
        stores.done.known["generation"] += 1
    else:
        copy_run(stores, run, copies_of(stores, run.info.run_id))


def _copy_sweep(stores: Copying, parent: Run, cells: Iterable[Run]) -> None:
    """Copy the parent, its cells, and last what the parent says of them: its table names their
    ids."""
    earlier = copies_of(stores, parent.info.run_id)
    stores.done.known["sweep"] += bool(earlier)
    stores.done.new["sweep"] += not earlier
    new_id = earlier[0].info.run_id if earlier else _created(stores, parent)
    stores.ids[parent.info.run_id] = new_id
    children = tracking.children(stores.target, new_id)
    for run in cells:
        origin = run.info.run_id
        copy_run(stores, run, [one for one in children if one.data.tags.get(ORIGIN) == origin])
    _put_numbers(stores, parent, new_id)
    _put_artifacts(stores, parent, new_id, lambda text: _renamed(stores, text))
    stores.target.client.update_run(new_id, status="RUNNING")
    if parent.info.status != "RUNNING":
        stores.target.client.set_terminated(new_id, parent.info.status, parent.info.end_time)


def copy_run(stores: Copying, run: Run, copies: Iterable[Run]) -> None:
    """Copy a run that has ended; of one that was copied before, only metrics and tags that changed
    since.

    Its copy ends last, so that one which still runs was cut off: it is deleted and made again.
    """
    kind = run.data.tags.get(KIND, "")
    whole = None
    for copy in copies:
        if copy.info.status == "RUNNING":
            tracking.delete_run(stores.target, copy.info.run_id)
        else:
            whole = copy
    if whole is not None:
        stores.ids[run.info.run_id] = whole.info.run_id
        stores.done.known[kind] += 1
        changed = _tags(stores, run).items() - whole.data.tags.items()
        if changed or whole.data.metrics != run.data.metrics:
            _put_numbers(stores, run, whole.info.run_id)
        return
    new_id = _created(stores, run)
    stores.ids[run.info.run_id] = new_id
    _put_artifacts(stores, run, new_id)
    client = stores.target.client
    if run.inputs and run.inputs.dataset_inputs:
        client.log_inputs(new_id, run.inputs.dataset_inputs)
    for output in run.outputs.model_outputs if run.outputs else []:
        _copy_model(stores, run, new_id, output)
    _put_numbers(stores, run, new_id)
    client.set_terminated(new_id, run.info.status, run.info.end_time)
    stores.done.new[kind] += 1


def _created(stores: Copying, run: Run) -> str:
    twin = stores.target.client.create_run(
        stores.target.experiment_id,
        start_time=run.info.start_time,
        run_name=run.info.run_name,
        tags=_tags(stores, run),
    )
    params = [Param(key, value) for key, value in run.data.params.items()]
    for start in range(0, len(params), PARAMS_AT_ONCE):
        part = params[start : start + PARAMS_AT_ONCE]
        stores.target.client.log_batch(twin.info.run_id, params=part)
    return twin.info.run_id


def _tags(stores: Copying, run: Run) -> dict[str, str]:
    """Return the tags of a copy: those of the run, with the ids and prompts of the target."""
    tags = {
        key: _renamed(stores, value) for key, value in run.data.tags.items() if key not in OWN_TAGS
    }
    tags[ORIGIN] = run.info.run_id
    if parent := run.data.tags.get(PARENT):
        tags[PARENT] = stores.ids.get(parent, parent)
    if linked := run.data.tags.get(TraceTagKey.LINKED_PROMPTS):
        links = [_prompt(stores, link["name"], link["version"]) for link in json.loads(linked)]
        tags[TraceTagKey.LINKED_PROMPTS] = json.dumps(links)
    return tags


def _renamed(stores: Copying, text: str) -> str:
    """Put the ids of the target for those of the source."""
    return RUN_ID.sub(lambda match: stores.ids.get(match[0], match[0]), text)


def _put_numbers(stores: Copying, run: Run, new_id: str) -> None:
    """Write metrics, with their history, and tags."""
    metrics: list[Metric] = []
    for key in run.data.metrics:
        metrics += stores.source.client.get_metric_history(run.info.run_id, key)
    for start in range(0, len(metrics), METRICS_AT_ONCE):
        part = metrics[start : start + METRICS_AT_ONCE]
        stores.target.client.log_batch(new_id, metrics=part)
    tags = [RunTag(key, value) for key, value in _tags(stores, run).items()]
    stores.target.client.log_batch(new_id, tags=tags)


def _put_artifacts(
    stores: Copying, run: Run, new_id: str, rewritten: Callable[[str], str] | None = None
) -> None:
    """Copy the files of a run, the texts among them `rewritten`."""
    try:
        folder = tracking.artifacts(stores.source, run)
    except UserError:  # a run that wrote nothing has no folder
        return
    with tracking.artifact_folder(stores.target, new_id) as place:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            copy = place / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if rewritten is not None and file.suffix in TEXTS:
                copy.write_text(rewritten(file.read_text(encoding="utf-8")), encoding="utf-8")
            else:
                _copy_file(file, copy, stores.link)


def _copy_file(file: Path, copy: Path, link: bool) -> None:
    if link:
        try:
            copy.hardlink_to(file)
            return
        except OSError:  # another disk, or one without links
            pass
    shutil.copyfile(file, copy)


def _copy_model(stores: Copying, run: Run, new_id: str, output: LoggedModelOutput) -> None:
    """Copy a logged model with its files; the file MLmodel names its own ids."""
    model = stores.source.client.get_logged_model(output.model_id)
    folder = path_of(model.artifact_location)
    if not folder.exists():  # the store was moved
        parts = (
            "artifacts",
            file_name(stores.source.experiment),
            "models",
            model.model_id,
            "artifacts",
        )
        folder = stores.source.folder.joinpath(*parts)
    if not folder.exists():
        raise UserError(f"run {run.info.run_id}: its model is not at {folder}; copy it there")
    client = stores.target.client
    entry = client.create_logged_model(
        stores.target.experiment_id,
        name=model.name,
        source_run_id=new_id,
        tags={key: value for key, value in model.tags.items() if not key.startswith("mlflow.")},
        params=model.params,
        model_type=model.model_type,
    )
    with TemporaryDirectory() as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        about = Path(temporary) / "MLmodel"
        text = about.read_text(encoding="utf-8").replace(model.model_id, entry.model_id)
        about.write_text(text.replace(run.info.run_id, new_id), encoding="utf-8")
        client.log_model_artifacts(entry.model_id, temporary)
    stores.ids[model.model_id.removeprefix(MODEL)] = entry.model_id.removeprefix(MODEL)
    client.finalize_logged_model(entry.model_id, "READY")
    metrics = [
        Metric(
            one.key,
            one.value,
            one.timestamp,
            one.step,
            model_id=entry.model_id,
            dataset_name=one.dataset_name,
            dataset_digest=one.dataset_digest,
        )
        for one in model.metrics or []
    ]
    for start in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(new_id, metrics=metrics[start : start + METRICS_AT_ONCE])
    client.log_outputs(new_id, [LoggedModelOutput(entry.model_id, output.step)])


def _prompt(stores: Copying, name: str, version: str) -> dict[str, str]:
    """Return the target's link to a prompt of the source, registered there where it is not."""
    from touchstone.run.logbook import registered

    if (name, version) not in stores.prompts:
        prompt = stores.source.client.load_prompt(f"prompts:/{name}/{version}")
        tags = {key: value for key, value in prompt.tags.items() if not key.startswith("mlflow.")}
        copy, is_new = registered(
            stores.target, name, prompt.template, tags, prompt.commit_message or ""
        )
        stores.done.prompts += is_new
        stores.prompts[name, version] = {"name": copy.name, "version": str(copy.version)}
    return stores.prompts[name, version]


def add_cli(subparsers: Any) -> None:
    """Add `touchstone sync DIR --to URI`."""
    parser = subparsers.add_parser(
        "sync", help="copy the finished runs of a store, or of one sweep, into another store"
    )
    parser.add_argument(
        "folder", metavar="DIR", help="a sweep's folder (tracking.uri=sweep), or a store's (mlflow)"
    )
    parser.add_argument("--to", required=True, metavar="URI", help="server, database or folder")
    parser.set_defaults(run=_run_cli)


def _run_cli(arguments: argparse.Namespace) -> int:
    done = sync(arguments.folder, arguments.to)
    new = ", ".join(f"{done.new[kind]} {plural}" for kind, plural in KINDS.items())
    tell(
        f"copied to {readable_uri(arguments.to)}: {new}, {done.prompts} prompts; "
        f"{sum(done.known.values())} runs were there already"
    )
    if done.unfinished:
        tell(
            f"{done.unfinished} cells are not finished and were left: finish them, then sync again"
        )
    return 0
