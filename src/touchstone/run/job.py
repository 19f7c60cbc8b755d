"""One Hydra job: check the configuration, find out whether the cell is done, run it, log it.

Around `pipeline.run_cell`: names, the cell key, resume, and what goes into the run besides the
results. Does not know how cells are launched (sweep.py) or what a method does (pipeline.py).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from touchstone.commands import run_command
from touchstone.configuration import checked, own_code
from touchstone.digest import digest
from touchstone.errors import EstimateOnly, MissingRecording, PendingRequests, UserError
from touchstone.foreign_text import clean_log_lines
from touchstone.llm.secrets import refuse_secrets
from touchstone.plugins import OWN_CODE
from touchstone.run import live, places
from touchstone.run.environment import environment, git_state, standard_tags
from touchstone.run.fast import as_yaml
from touchstone.run.identity import cell_key, params
from touchstone.run.names import cell_name, run_name
from touchstone.schema import Config

if TYPE_CHECKING:
    from touchstone.run.sweep import Parent
    from touchstone.tracking import Run, Store

log = logging.getLogger(__name__)

DEV_METRIC = "dev/score"


def run_job(composed: DictConfig) -> float | None:
    """Run, or find already finished, the cell that Hydra composed.

    Returns
    -------
    the main score on the dev set, None without one: the only number that a sweeper which optimises
    ever sees; test stays out of a search. In a grid over several tasks and classifiers a
    combination that does not fit (a tagger of entities for relations) is left out.

    Raises
    ------
    UserError
        Anything a user can mend; what was computed before stays in cache and store.
    """
    from touchstone import locks as claims
    from touchstone import tracking
    from touchstone.run import sweep, sweep_store

    clean_log_lines()  # this may be a worker
    parent = sweep.parent_of_this_job()
    if parent is not None and not optimises() and not _fits(composed):
        log.info(
            "left out: classifier=%s does not do task=%s (%s)",
            composed.classifier.name,
            composed.task.name,
            composed.task.kind,
        )
        return None
    store = sweep_store.of_job(composed)
    from touchstone.tracking_errors import telling_trouble

    with telling_trouble(store.uri):
        with _failing_on_a_run(store, parent, composed):
            config = checked(composed)
            refuse_secrets(config.llm)
            if parent is None and (grid := _grid_of_a_preset()):
                raise UserError(
                    f"a grid over {', '.join(grid)} needs -m: "
                    f"{run_command(['-m', *HydraConfig.get().overrides.task])}"
                )
            key = cell_key(config)
            if (
                optimises()
                and not config.task.dev_fraction
                and not (config.corpus.gold and config.corpus.gold.dev)
            ):
                raise UserError(
                    "a search needs a dev set to look at: set task.dev_fraction above 0"
                )
        if parent is None:
            return _run_cell(composed, config, store, key, None)
        lock = tracking.lock_of_cell(store, parent.run_id, key)
        with claims.claimed(lock, run_name(config)):
            if done := _finished(store, parent, key):
                _tell(config, "finished before, not run again", 0.0)
                return done.data.metrics.get(DEV_METRIC)
            return _run_cell(composed, config, store, key, parent)


def _grid_of_a_preset() -> list[str]:
    """Return the axes that `+experiment=...` sweeps over."""
    return (
        sorted(HydraConfig.get().sweeper.get("params") or {}) if HydraConfig.initialized() else []
    )


def _fits(composed: DictConfig) -> bool:
    """Return whether the classifier can do the task; the LLM asked directly can do any."""
    kinds = composed.classifier.kinds
    return composed.mixture.direct or not kinds or composed.task.kind in kinds


def _run_cell(
    composed: DictConfig, config: Config, store: Store, key: str, parent: Parent | None
) -> float | None:
    started = time.time()
    from touchstone import pipeline, tracking
    from touchstone.data import people
    from touchstone.evaluate.headline import main_score
    from touchstone.generate.prompts import prompt_of
    from touchstone.llm.secrets import scrub
    from touchstone.pseudonyms import pseudonyms_of
    from touchstone.run import logbook, sweep
    from touchstone.taxonomy import taxonomy_of

    restricted = config.corpus.access == "restricted"
    run_id = tracking.start_run(
        store,
        run_name(config),
        parent=parent.run_id if parent else None,
        params=params(config),
        tags={
            tracking.KIND: "cell",
            tracking.CELL: key,
            tracking.STUDY: config.study,
            **(
                {"touchstone.remote_code": config.llm.model} if config.llm.trust_remote_code else {}
            ),
            **_launched(parent),
        },
    )
    with tracking.failing_clearly(store, run_id, restricted), _told_if_missing(config, started):
        cell = pipeline.run_cell(config, sweep=parent.run_id if parent else "")
        uses_llm = bool(cell.generated)
        logbook.log_cell(
            store,
            run_id,
            cell,
            files=files(composed, scrub)
            | {f"{OWN_CODE}/{path}": text for path, text in own_code(config).items()},
            prompt=prompt_of(config.prompt, taxonomy_of(config.taxonomy), config.task.kind)
            if uses_llm
            else None,
            with_text=not restricted or config.tracking.log_restricted_text,
            with_model=config.tracking.log_models,
            with_traces=config.tracking.traces,
            kind=config.task.kind,
            taxonomy=taxonomy_of(config.taxonomy),
            restricted=restricted,
            pseudonyms=pseudonyms_of(config.paths.cache) if restricted else None,
        )
    score = cell.metrics.get("score", float("nan"))
    result = f"{main_score(config.task.kind).title} {score:.3f}"
    _tell(config, result, time.time() - started, people.gold_unit(cell.predictions))
    sweep.note_run(store, run_id, config.tracking.register)
    return cell.metrics.get(DEV_METRIC)


def _tell(config: Config, result: str, seconds: float, unit: str = "") -> None:
    """Tell in one line that this cell has ended, with its place in the sweep."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    folder = Path(hydra.sweep.dir) if hydra and hydra.mode == RunMode.MULTIRUN else None
    grid = places.read_grid(folder) if folder else None
    name = cell_name(config, grid.varying if grid else (), unit)
    number = int(getattr(hydra.job, "num", 0) or 0) if hydra and folder else 0
    places.tell(folder, number, name, result, seconds)
    live.refresh()


@contextmanager
def _told_if_missing(config: Config, started: float) -> Iterator[None]:
    """Tell a cell that could not be finished as one that has ended, and pass the error on."""
    try:
        yield
    except (PendingRequests, EstimateOnly):
        raise  # told at the end, with what is to be done
    except Exception as error:
        why = "not recorded" if isinstance(error, MissingRecording) else "failed"
        _tell(config, why, time.time() - started)
        raise


def _finished(store: Store, parent: Parent, key: str) -> Run | None:
    """Return the finished run of a cell under its parent; what a killed or failed attempt left is
    marked as superseded."""
    from touchstone import tracking

    earlier = tracking.cell_runs(store, parent.run_id, key)
    done = next((run for run in earlier if run.info.status == "FINISHED"), None)
    if done is None:
        for run in earlier:
            tracking.supersede(store, run)
    elif done.data.tags.get(tracking.LAUNCH) != str(parent.launch):
        tracking.set_tags(
            store,
            done.info.run_id,
            {tracking.LAUNCH: str(parent.launch), tracking.STATUS: "completed"},
        )
    return done


@contextmanager
def _failing_on_a_run(store: Store, parent: Parent | None, composed: DictConfig) -> Iterator[None]:
    """Give a cell of a sweep that fails before it has a run one of its own, so that the closing
    table shows it."""
    from touchstone import tracking

    try:
        yield
    except Exception:
        if parent is None:
            raise
        overrides, choices = (
            list(HydraConfig.get().overrides.task),
            HydraConfig.get().runtime.choices,
        )
        tags = {
            tracking.KIND: "cell",
            tracking.CELL: digest({"overrides": overrides}),
            **_launched(parent),
        }
        axes: dict[str, Any] = {
            axis: choices[axis]
            for axis in ("mixture", "classifier", "prompt", "task")
            if axis in choices
        }
        for size in ("gold_patients", "gold_sentences"):
            axes[size] = "all" if composed.task.get(size) is None else composed.task[size]
        run_id = tracking.start_run(
            store, " ".join(overrides)[:60], parent=parent.run_id, params=axes, tags=tags
        )
        with tracking.failing_clearly(store, run_id):
            raise


def _launched(parent: Parent | None) -> dict[str, str]:
    from touchstone import tracking

    return {
        **standard_tags(),
        tracking.COMMAND: command(),
        **({tracking.LAUNCH: str(parent.launch)} if parent else {}),
    }


def optimises() -> bool:
    """Return whether this job was launched by a sweeper that looks at what jobs return."""
    return HydraConfig.initialized() and not HydraConfig.get().sweeper["_target_"].endswith(
        ("GridSweeper", "BasicSweeper")
    )


def files(composed: DictConfig, scrub: Any) -> dict[str, str]:
    """Return what a run needs to be run again: composed config (scrubbed), overrides, git state,
    environment."""
    plain = scrub(OmegaConf.to_container(composed, resolve=True, enum_to_str=True))
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    return {
        "config.yaml": as_yaml(plain),
        "overrides.json": json.dumps(scrub(overrides), indent=1),
        "git.json": json.dumps(git_state(), indent=1),
        "environment.json": json.dumps(environment(), indent=1),
    }


def command() -> str:
    """Return the overrides of this job as a command line, for running it again."""
    return run_command(HydraConfig.get().overrides.task if HydraConfig.initialized() else [])
