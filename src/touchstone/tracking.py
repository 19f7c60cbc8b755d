"""The tracking store: experiments, runs and their places. With logbook.py, which writes what a cell
yields, all that imports mlflow.

One experiment per study, one parent run per sweep, one child run per cell; each generated data set
is a run of its own that the cells link to. A run becomes FINISHED last, so a reader of finished
runs never meets a half-written one. Default store: SQLite with an absolute path and an explicit
artefact folder (without one, artefacts land in whatever working folder created the experiment). A
server that does not answer is waited for: MLflow's client repeats a request
MLFLOW_HTTP_REQUEST_MAX_RETRIES times (here 8, about 6 minutes), after which the cell fails and says
how to go on. One that is only to be read must answer within 15 s.
"""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "8")  # waits of 0, 4, 8, ... 120 s

import mlflow
import pandas as pd
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag, Span
from mlflow.entities.model_registry import PromptVersion
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList
from mlflow.tracing.client import TracingClient
from requests.exceptions import RequestException
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import Pool

from touchstone.artifact_places import absent, is_fetched, named_folder
from touchstone.errors import UserError
from touchstone.paths import file_name, path_of, path_of_sqlite, sqlite_uri, uri_of
from touchstone.tracking_errors import is_away, readable_uri, reason, traceback_of

log = logging.getLogger(__name__)
for _name in ("mlflow.store.db.utils", "alembic", "mlflow.tracking.fluent"):
    logging.getLogger(_name).setLevel(
        logging.CRITICAL
    )  # a new database is no news, and what fails is raised

CELL, STATUS, STUDY, KIND, SWEEP = (
    "touchstone.cell",
    "touchstone.status",
    "touchstone.study",
    "touchstone.kind",
    "touchstone.sweep",
)
PARENT = "mlflow.parentRunId"
FOLDER, HOST, LAUNCH, COMMAND = (
    "touchstone.sweep_dir",
    "touchstone.host",
    "touchstone.launch",
    "touchstone.command",
)
ORIGIN = "touchstone.origin"  # of a copy: the id that the run has where it was made
SUPERSEDED = "superseded"  # the status of a run that a later one replaced
READING = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": 3,
    "MLFLOW_HTTP_REQUEST_TIMEOUT": 15,
}  # waits of 0, 4 and 8 s
# What databases say of a row that another process has written since we looked, or of two that wait
# for each other.
RACE = re.compile(
    r"UniqueViolation|UNIQUE constraint failed|Duplicate entry|duplicate key value"
    r"|DeadlockDetected|SerializationFailure|database is locked"
)
RACES = 8  # tries after the first
PAGE = 1000  # runs that are read at a time; with their metrics, some 3 MB
BANNER = (
    "What is LLM-made training data worth? Rows are cells of the grid; sort by `test/score`. "
    "Parents are sweeps and carry the result table; `generation` runs hold the synthetic data."
)


class Client(MlflowClient):
    """MLflow's client, which repeats a write that lost a race with another process.

    MLflow looks whether a data set, an experiment or a prompt is there and then writes it; of two
    processes that do so at the same moment one is refused by the database, with nothing written.
    """

    def log_inputs(self, *args: Any, **kwargs: Any) -> None:
        _repeated(super().log_inputs, *args, **kwargs)

    def log_batch(self, *args: Any, **kwargs: Any) -> Any:
        return _repeated(super().log_batch, *args, **kwargs)

    def create_experiment(self, *args: Any, **kwargs: Any) -> str:
        return _repeated(super().create_experiment, *args, **kwargs)

    def set_experiment_tag(self, *args: Any, **kwargs: Any) -> None:
        _repeated(super().set_experiment_tag, *args, **kwargs)

    def register_prompt(self, *args: Any, **kwargs: Any) -> Any:
        return _repeated(super().register_prompt, *args, **kwargs)

    def log_spans(self, experiment_id: str, spans: Sequence[Span]) -> None:
        """Write spans of any number of traces at once; their root spans make the traces."""
        _repeated(TracingClient(self.tracking_uri).log_spans, experiment_id, list(spans))

    def link_prompts(self, trace_id: str, prompts: Sequence[Mapping[str, str]]) -> None:
        """Let the pages of prompts, {"name", "version"} each, list a trace: in one write, where
        `link_prompt_versions_to_trace` reads the trace and sets its tag, too."""
        versions = [
            PromptVersion(one["name"], int(one["version"]), "")  # type: ignore[abstract]
            for one in prompts
        ]
        store = TracingClient(self.tracking_uri).store
        _repeated(store.link_prompts_to_trace, trace_id, versions)


def _repeated(write: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a write returns, after up to `RACES` more tries where another process wrote the
    same row first."""
    for lost in range(RACES):
        try:
            return write(*args, **kwargs)
        except MlflowException as error:
            if not RACE.search(str(error)):
                raise
            time.sleep(random.uniform(0, 0.02 * 2**lost))
    return write(*args, **kwargs)


@dataclass(frozen=True)
class Store:
    """An opened tracking store: client, URI, the experiment's id, name and artefact location, and
    the local folder for locks."""

    client: Client
    uri: str
    experiment_id: str
    experiment: str
    folder: Path
    location: str = ""


def default_uri(folder: str | Path) -> str:
    """Return the URI of the embedded store in `folder`."""
    return sqlite_uri(Path(folder).resolve() / "mlflow.db")


def open_store(uri: str | None, experiment: str, folder: str | Path) -> Store:
    """Open the store, creating database and experiment where they are missing.

    Two processes that meet a missing database would race in its migration, so creation happens
    under a file lock, and aside: a process killed in a migration leaves a database that cannot be
    opened again.

    Raises
    ------
    UserError
        If the store cannot be reached or written.
    """
    if not experiment.strip():
        raise UserError("study= and tracking.experiment=: must be a name, not empty")
    if uri is not None and "://" not in uri:
        raise UserError(
            f"tracking.uri={uri}: not a URI. Write http://HOST:PORT, postgresql://..., "
            "sqlite:////FOLDER/mlflow.db, or sweep; null is the embedded store in paths.store"
        )
    _tell_of_a_silent_database(uri)
    folder = Path(folder).resolve()
    embedded = uri is None
    uri = uri if uri is not None else default_uri(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(folder / "store.lock")):
            if embedded or (uri.startswith("sqlite") and path_of_sqlite(uri).is_absolute()):
                create(path_of_sqlite(uri))
            mlflow.set_tracking_uri(uri)
            client = Client(tracking_uri=uri)
            entry = client.get_experiment_by_name(experiment)
            if entry is None:
                location = (
                    uri_of(folder / "artifacts" / file_name(experiment))
                    if embedded or uri.startswith("sqlite")
                    else None
                )
                tags = {
                    "mlflow.note.content": BANNER,
                    "mlflow.experimentKind": "custom_model_development",
                }
                try:
                    client.create_experiment(experiment, artifact_location=location, tags=tags)
                except MlflowException as error:  # another machine was faster
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                entry = client.get_experiment_by_name(experiment)
            elif entry.lifecycle_stage == "deleted":
                raise UserError(
                    f"experiment {experiment!r} was deleted in the store; restore it, or choose "
                    "another: tracking.experiment=NAME"
                )
    except OSError as error:
        raise UserError(
            f"cannot write the tracking store in {folder}: {error.strerror}; set paths.store, or "
            "a server: tracking.uri=..."
        ) from error
    except (MlflowException, SQLAlchemyError, ImportError) as error:  # the last of a driver
        raise UserError(
            f"cannot open the tracking store {readable_uri(uri)}: {reason(error)}"
        ) from error
    assert entry is not None, "it was made above"
    return Store(client, uri, entry.experiment_id, experiment, folder, entry.artifact_location)


def _tell_of_a_silent_database(uri: str | None) -> None:
    """Say that a database server is waited for: MLflow tries it for two minutes without a word."""
    parts = urlsplit(uri or "")
    if parts.scheme.partition("+")[0] not in ("postgresql", "mysql", "mssql") or not parts.hostname:
        return
    port = parts.port or {"p": 5432, "m": 3306}[parts.scheme[0]]
    try:
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except OSError as error:
        log.warning(
            "the database at %s:%s does not answer (%s); waiting two minutes for it",
            parts.hostname,
            port,
            error.strerror or error,
        )


def create(database: Path) -> None:
    """Make an empty database where there is none: aside, then renamed.

    MLflow's own experiment `Default` keeps its artefacts beside the database, too: MLflow would let
    it point to ./mlruns of whatever folder this was called in.
    """
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    aside = database.with_name("new-mlflow.db")
    for remains in database.parent.glob("new-mlflow.db*"):
        remains.unlink()
    MlflowClient(tracking_uri=sqlite_uri(aside)).search_experiments(max_results=1)
    with closing(sqlite3.connect(aside)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'Default'",
            [uri_of(database.parent / "artifacts" / "Default")],
        )
    aside.replace(database)


def open_existing(where: str | Path) -> Store:
    """Open a store for reading: a folder with mlflow.db (one that somebody sent, too), the database
    file, or a URI.

    The store belongs to no experiment; nothing is created, and no database of something else is
    made into a store.

    Raises
    ------
    UserError If there is no store, it cannot be opened by this version of MLflow, or the server
        does not answer within 15 s.
    """
    uri = str(where)
    folder = Path.cwd()
    if "://" not in uri or uri.startswith("sqlite"):
        path = path_of_sqlite(uri) if uri.startswith("sqlite") and "://" in uri else Path(uri)
        path = path.expanduser().resolve()
        path = path / "mlflow.db" if path.is_dir() else path
        if not path.is_file():
            raise UserError(
                f"no tracking store in {where}; run a sweep first, or name the store: --store "
                "FOLDER_OR_URI"
            )
        _check_tables(path)
        folder, uri = path.parent, sqlite_uri(path)
    try:
        with _less_patience():
            mlflow.set_tracking_uri(uri)
            client = Client(tracking_uri=uri)
            client.search_experiments(max_results=1)
    except (
        MlflowException,
        RequestException,
        SQLAlchemyError,
        ImportError,
        ValueError,
    ) as error:  # ImportError: of a database's driver
        if is_away(error):
            told = (
                f"the tracking server {readable_uri(uri)} does not answer; start it, or name "
                "another store: --store FOLDER_OR_URI"
            )
            raise UserError(told) from error
        raise UserError(
            f"cannot open the tracking store {readable_uri(uri)}: {reason(error)}"
        ) from error
    return Store(client, uri, "", "", folder)


def _check_tables(path: Path) -> None:
    """Refuse a file that is no database of MLflow: MLflow would put its tables into any SQLite
    file, an empty one too."""
    try:
        # rw, which creates nothing: what a killed writer left is rolled back, as MLflow would
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
            tables = {
                name
                for (name,) in database.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table'"
                )
            }
    except sqlite3.Error as error:
        raise UserError(f"cannot open the tracking store {path}: {error}") from error
    if not {"experiments", "runs"} <= tables:
        raise UserError(
            f"{path} is no tracking store: it has no tables of MLflow; name the store: --store "
            "FOLDER_OR_URI"
        )


@contextmanager
def _less_patience() -> Iterator[None]:
    """Ask a server a few times only: who reads loses nothing, and can give the command again."""
    before = {name: os.environ.get(name) for name in READING}
    os.environ.update(
        {name: str(min(most, int(before[name] or most))) for name, most in READING.items()}
    )
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def find_run(store: Store, run_id: str) -> Run:
    """Return a run by its id or by an unambiguous beginning of it; a copy, by the id of what it is
    a copy of, too.

    Raises
    ------
    UserError
        If there is none, or several.
    """
    try:
        return store.client.get_run(run_id)
    except MlflowException:
        pass
    runs = []
    if re.fullmatch(r"[0-9a-f]+", run_id):
        runs = search(store, f"attributes.run_id LIKE '{run_id}%'", most=2) or search(
            store, f"tags.`{ORIGIN}` LIKE '{run_id}%'", most=2
        )
    if len(runs) != 1:
        raise UserError(
            f"{'several runs' if runs else 'no run'} with an id that begins with {run_id!r}"
            f" in {readable_uri(store.uri)}"
        )
    return runs[0]


def search(
    store: Store,
    filters: str,
    *,
    experiments: Sequence[str] | None = None,
    newest_first: bool = False,
    most: int | None = None,
) -> list[Run]:
    """Return the active runs that fit, to the last page, or the first `most` of them.

    The store is asked for what is wanted and for no more: what comes back, and the time that it
    takes, do not grow with what else the store holds.

    Parameters
    ----------
    filters : in MLflow's language, e.g. of `where`.
    experiments : ids; None for all of the store.
    newest_first : order by start; else oldest first.
    """
    if experiments is None:
        every = _pages(lambda token: store.client.search_experiments(page_token=token), None)
        experiments = [experiment.experiment_id for experiment in every]
    if not experiments:
        return []
    order = f"attributes.start_time {'DESC' if newest_first else 'ASC'}"

    def page(token: str | None) -> PagedList[Run]:
        size = PAGE if most is None else min(most, PAGE)
        return store.client.search_runs(
            list(experiments), filters, max_results=size, order_by=[order], page_token=token
        )

    return _pages(page, most)


def where(tags: Mapping[str, str], since: int | None = None) -> str:
    """Return the filter for runs that have all these tags, and were started at `since` (ms since
    1970) or later."""
    conditions = [f"tags.`{name}` = {quoted(value)}" for name, value in tags.items()]
    if since is not None:
        conditions.append(f"attributes.start_time >= {since}")
    return " and ".join(conditions)


def quoted(value: str) -> str:
    """Return a text as it stands in a filter of MLflow, which knows no escapes.

    Raises
    ------
    UserError
        If it holds both kinds of quotes.
    """
    if "'" not in value:
        return f"'{value}'"
    if '"' in value:
        raise UserError(f"{value}: a name with both ' and \" cannot be looked up in the store")
    return f'"{value}"'


def _pages(page: Callable[[str | None], PagedList[Any]], most: int | None) -> list[Any]:
    items: list[Any] = []
    token: str | None = None
    while most is None or len(items) < most:
        part = page(token)
        items += part
        token = part.token
        if not token:
            break
    return items[:most]


def artifacts(store: Store, run: Run) -> Path:
    """Return a local folder with a run's artefacts, also when the store was moved since: the paths
    inside it are absolute.

    Raises
    ------
    UserError
        If the artefacts are not where the store says, nor beside it (see artifact_places.py).
    """
    uri, run_id = run.info.artifact_uri, run.info.run_id
    if is_fetched(store.uri, uri):
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, tracking_uri=store.uri))
    if folder := named_folder(run_id, uri):
        return folder
    experiment = store.client.get_experiment(run.info.experiment_id).name
    beside = store.folder / "artifacts" / file_name(experiment) / run_id / "artifacts"
    if not beside.exists():
        raise absent(run_id, uri, beside)
    return beside


def start_run(
    store: Store,
    name: str,
    *,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    parent: str | None = None,
) -> str:
    """Start a run and return its id; it stays RUNNING until `end_run`."""
    all_tags = {**tags, **({PARENT: parent} if parent else {})}
    run = store.client.create_run(store.experiment_id, run_name=name, tags=all_tags)
    if params:
        store.client.log_batch(
            run.info.run_id, params=[Param(key, str(value)) for key, value in params.items()]
        )
    return run.info.run_id


def end_run(store: Store, run_id: str, status: str) -> None:
    """Close a run: FINISHED, FAILED or KILLED."""
    store.client.set_terminated(run_id, status)


@contextmanager
def failing_clearly(store: Store, run_id: str, restricted: bool = False) -> Iterator[None]:
    """Mark the run FAILED with the traceback in error.txt when the body raises, and pass the error
    on.

    For restricted corpora the file names the error's type and place only: the message of a foreign
    exception could quote text.
    """
    try:
        yield
    except BaseException as error:
        if not is_away(
            error
        ):  # to a server that does not answer, its own failure cannot be told either
            text = str(error) if isinstance(error, UserError) else traceback_of(error, restricted)
            with _best_effort(run_id):
                set_tags(store, run_id, {STATUS: type(error).__name__})
                end_run(
                    store, run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
                )
                log_text(store, run_id, text + "\n", "error.txt")
        raise


@contextmanager
def _best_effort(run_id: str) -> Iterator[None]:
    """Let the writing of a failure fail, with a warning: the failure itself must be told."""
    try:
        yield
    except (MlflowException, OSError) as error:
        log.warning(
            "the failure of run %s could not be written to the store: %s", run_id, reason(error)
        )


@contextmanager
def artifact_folder(store: Store, run_id: str) -> Iterator[Path]:
    """Give a folder whose files become the run's artefacts: in place where the store is a local
    one, else uploaded at the end."""
    if store.location.startswith("file:"):
        folder = path_of(store.location) / run_id / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
        store.client.log_artifacts(run_id, temporary)


def cell_runs(store: Store, parent: str, key: str) -> list[Run]:
    """Return the runs of one cell under a parent, latest first."""
    return search(
        store,
        where({PARENT: parent, CELL: key}),
        experiments=[store.experiment_id],
        newest_first=True,
    )


def lock_of_cell(store: Store, parent: str, key: str) -> Path:
    """Return the lock that the process holds which works on a cell."""
    return store.folder / "locks" / f"{parent}-{key[:16]}.lock"


def supersede(store: Store, run: Run) -> None:
    """Mark a run that another one replaces; one that its process left RUNNING becomes KILLED."""
    set_tags(store, run.info.run_id, {STATUS: SUPERSEDED})
    if run.info.status == "RUNNING":
        end_run(store, run.info.run_id, "KILLED")


def unfinished_sweeps(store: Store, key: str) -> Iterator[Run]:
    """Yield the parents of sweeps with one command and code, latest first, up to the first that
    finished."""
    for run in search(
        store, where({SWEEP: key}), experiments=[store.experiment_id], newest_first=True
    ):
        if run.info.status == "FINISHED":
            return
        yield run


def reopen_run(store: Store, run_id: str) -> int:
    """Set a parent to RUNNING again and return how often its sweep was launched before."""
    launches = int(store.client.get_run(run_id).data.tags.get(LAUNCH, "1"))
    store.client.update_run(run_id, status="RUNNING")
    return launches


def children(store: Store, parent: str) -> list[Run]:
    """Return the runs of a parent's cells, oldest first; a cell run again after a failure has
    several."""
    return search(store, where({PARENT: parent}), experiments=[store.experiment_id])


def latest_children(store: Store, parent: str) -> list[Run]:
    """Return one run per cell of a parent: the finished one, else the latest; in the order in which
    the cells were first started."""
    latest: dict[str, Run] = {}
    for run in children(store, parent):
        if run.data.tags.get(STATUS) == SUPERSEDED:
            continue
        key = run.data.tags.get(CELL, run.info.run_id)
        if key not in latest or latest[key].info.status != "FINISHED":
            latest[key] = run
    return list(latest.values())


def table(store: Store, run_id: str, name: str) -> pd.DataFrame:
    """Read back a table of a cell: `tables/NAME.csv`."""
    path = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path=f"tables/{name}.csv", tracking_uri=store.uri
    )
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def log_text(store: Store, run_id: str, text: str, path: str) -> None:
    """Write a text artefact to a run."""
    store.client.log_text(run_id, text, path)


def set_tags(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run."""
    store.client.log_batch(
        run_id, tags=[RunTag(key, str(value)[:5000]) for key, value in tags.items()]
    )


def log_metrics(store: Store, run_id: str, values: Mapping[str, float]) -> None:
    """Log metrics, in full."""
    store.client.log_batch(run_id, metrics=entries(values))


def entries(values: Mapping[str, float]) -> list[Metric]:
    """Return metrics as MLflow takes them."""
    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, 0) for key, value in values.items()]


# Connections of the process that forked this one: neither used nor closed here, since closing says
# goodbye to the database in that process's name.
_of_parent: list[Any] = []


def _opened(connection: Any, record: Any) -> None:
    record.info["pid"] = os.getpid()


def _taken(connection: Any, record: Any, proxy: Any) -> None:
    """Open a new connection in a forked process (SQLAlchemy, Connection Pools with
    Multiprocessing)."""
    if record.info["pid"] != os.getpid():
        _of_parent.append(connection)
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("this connection belongs to another process")


event.listen(Pool, "connect", _opened)
event.listen(Pool, "checkout", _taken)


class _Waiting(logging.Filter):
    """Tells a repeated request to the tracking server in words; urllib3 prints the representation
    of its objects."""

    def filter(self, record: logging.LogRecord) -> bool:
        retrying = re.match(r"Retrying \(Retry\(total=(\d+)", record.getMessage())
        if retrying:
            record.msg = "the tracking server does not answer; waiting, %s more tries"
            record.args = (retrying[1],)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_Waiting())


def delete_run(store: Store, run_id: str) -> None:
    """Delete a run and what it wrote to the embedded store."""
    location = store.client.get_run(run_id).info.artifact_uri
    store.client.delete_run(run_id)
    if location.startswith("file:"):
        shutil.rmtree(path_of(location), ignore_errors=True)
