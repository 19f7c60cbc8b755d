"""Which cells stand in a table: the latest finished run of each configuration of a sweep, named by
its axes, and what is missing.

A cell is named by task, mixture, classifier, prompt, LLM and gold size; where two cells share all
of these (`mixture.bronze.count` was swept, say) the settings in which they differ name them apart.
Cells that learned from the same data with the same classifier are one row: gold alone does not
depend on the prompt, nor bronze alone on how much gold there is. Does not score anything
(comparisons.py) and knows no table (tables.py).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import Any

import pandas as pd

from touchstone.data import people
from touchstone.data.targets import categories as scored_categories
from touchstone.digest import digest
from touchstone.errors import UserError, no_such
from touchstone.paths import conf_names
from touchstone.ranges import bookkeeping_keys
from touchstone.report import reading
from touchstone.schema import CategoryConfig, Config, LabelledExample, LLMConfig, TaxonomyConfig
from touchstone.source_table import SOURCES, SYNTHETIC
from touchstone.taxonomy import Taxonomy, taxonomy_of
from touchstone.tracking import CELL, STATUS, Run, Store, default_uri, latest_children
from touchstone.tracking_errors import readable_uri

AXES = ("task", "mixture", "classifier", "prompt", "llm", "gold", "variant")
MIXTURES = (
    "zero_shot",
    *("_".join(some) for n in range(len(SOURCES)) for some in combinations(SOURCES, n + 1)),
)
# What decides which cells may be compared: the same corpus, task and learner. The other sections
# make the rows of a table.
SHARED = ("corpus", "taxonomy", "task", "classifier", "seed", "seeds")
APART = (
    "corpus.pool",
    "corpus.source",
    "corpus.license",
    "corpus.citation",
    "task.llm_test_sentences",
)  # of SHARED, but not shared
SUPERSEDED = "superseded"  # status of a run that a later one replaced, see closing.py
STORE = "mlflow"  # folder of a project's own store
REASON = 300  # characters of an error that a list of missing cells shows


@dataclass(frozen=True)
class Cell:
    """A finished cell.

    Attributes
    ----------
    run : its run in the store.
    config : the composed configuration.
    axes : name -> value, for `AXES`; '' where an axis does not apply to the cell.
    family : digest of what it shares with the cells it is compared with: corpus, task, gold size,
        test set, classifier, seeds.
    setting : digest of corpus, task and taxonomy alone: where the LLM asked directly, which has no
        classifier, is compared.
    predictions : see evaluate/predictions.py.
    """

    run: Run
    config: Mapping[str, Any]
    axes: Mapping[str, str]
    family: str
    setting: str
    predictions: pd.DataFrame

    @property
    def run_id(self) -> str:
        return self.run.info.run_id

    @property
    def kind(self) -> str:
        return self.config["task"]["kind"]

    @property
    def categories(self) -> tuple[str, ...]:
        """What is scored, in the order of the tables."""
        return scored_categories(self.kind, taxonomy(self.config))

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that its training set mixes; none for the LLM asked directly."""
        if self.axes["mixture"] == "zero_shot":
            return ()
        return tuple(name for name in SOURCES if self.config["mixture"].get(name, {}).get("use"))

    def dataset(self, context: str) -> str:
        """Return the digest of its training, dev or test set, '' where it has none."""
        return self.run.data.tags.get(f"touchstone.dataset.{context}", "")

    def generations(self) -> dict[str, str]:
        """Return stage -> digest of the generated data set that it used."""
        start = "touchstone.generation."
        return {
            tag.removeprefix(start): value
            for tag, value in self.run.data.tags.items()
            if tag.startswith(start)
        }


@dataclass(frozen=True)
class Grid:
    """The cells of a table.

    Attributes
    ----------
    study : its name.
    sweeps : the parent runs, oldest first; empty where the cells were run one by one.
    cells : finished cells in table order.
    missing : DataFrame with the columns of `AXES`, run_id, reason and command: a row for each cell
        without a finished run.
    runs_code : whether functions that its runs name (`metrics`) may be called: those of the
        working folder's own store, not those of one that may be somebody else's.
    """

    store: Store
    study: str
    sweeps: tuple[Run, ...]
    cells: tuple[Cell, ...]
    missing: pd.DataFrame
    runs_code: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a table: the same training data and classifier on every task.

    Attributes
    ----------
    axes : name -> value, for `AXES` but the task.
    cells : task -> finished cell.
    failed : task -> run id of a cell that did not finish.
    """

    axes: Mapping[str, str]
    cells: Mapping[str, Cell]
    failed: Mapping[str, str]


def lines(grid: Grid) -> list[Line]:
    """Return the rows of a grid, finished and missing, in table order."""
    by_axes: dict[tuple, Line] = {}

    def line(axes: Mapping[str, str]) -> Line:
        shared = {name: axes[name] for name in AXES if name != "task"}
        return by_axes.setdefault(tuple(shared.values()), Line(shared, {}, {}))

    for cell in grid.cells:
        line(cell.axes).cells[cell.axes["task"]] = cell  # type: ignore[index]
    for row in grid.missing.to_dict("records"):
        line(row).failed[row["task"]] = row["run_id"]  # type: ignore[index]
    several = len({axes["gold"] for one in by_axes.values() if (axes := one.axes)["gold"]}) > 1
    return sorted(by_axes.values(), key=lambda one: _order(one.axes, several))


def collect(store: Store, study: str, sweep: str | None = None) -> Grid:
    """Collect the latest finished cells of a study.

    Parameters
    ----------
    study : value of `study` in the configuration, e.g. `two_directions`.
    sweep : parent run id or its beginning, several separated by commas, or `all` for every run of
        the study; None takes the last sweep, its missing cells filled with runs of the same command
        outside of it.

    Raises
    ------
    UserError
        If the store has no such study or sweep, or the sweep has no finished cell.
    """
    if sweep is None:
        chosen = reading.search(store, kind="sweep", study=study, latest=1)
    elif sweep == "all":
        chosen = reading.search(store, kind="sweep", study=study)
    else:
        chosen = [_sweep(store, name.strip(), study) for name in sweep.split(",")]
    later: list[Run] = []
    if sweep == "all" or not chosen:
        cells = reading.search(store, kind="cell", study=study)
        if not cells and not chosen:
            raise UserError(_no_study(store, study))
    else:
        cells = [run for parent in chosen for run in _children(store, parent)]
        if sweep is None:
            since = chosen[0].info.start_time
            later = reading.search(store, kind="cell", study=study, since=since)
    runs = _latest([*cells, *later], {_command(run) for run in cells})
    return grid_of(store, study, chosen, runs)


def grid_of(store: Store, study: str, sweeps: Sequence[Run], runs: Sequence[Run]) -> Grid:
    """Return the grid of given runs, one for each cell."""
    read_cells = [_read(store, run) for run in runs if run.info.status == "FINISHED"]
    cells = _merged(_with_variants([cell for cell in read_cells if len(cell.predictions)]))
    failed = [
        run
        for run in runs
        if run.info.status != "FINISHED" and run.data.tags.get(STATUS) != SUPERSEDED
    ]
    sizes = {cell.axes["gold"] for cell in cells if cell.axes["gold"]}
    ordered = sorted(
        cells, key=lambda cell: (*_order(cell.axes, len(sizes) > 1), cell.axes["task"])
    )
    missing = _missing(store, failed, cells)
    own = store.uri == default_uri(STORE)
    return Grid(store, study, tuple(sweeps), tuple(ordered), missing, own)


@lru_cache(maxsize=64)
def _taxonomy(text: str) -> Taxonomy:
    plain = json.loads(text)
    plain["categories"] = [CategoryConfig(**category) for category in plain["categories"]]
    plain["examples"] = [LabelledExample(**example) for example in plain["examples"]]
    return taxonomy_of(TaxonomyConfig(**plain))


def taxonomy(config: Mapping[str, Any]) -> Taxonomy:
    """Return the taxonomy that a cell's configuration holds."""
    return _taxonomy(json.dumps(config["taxonomy"]))


def mixture_order(name: str) -> tuple[int, str]:
    """Return the sort key of a mixture: the papers' order, controls after."""
    return (MIXTURES.index(name) if name in MIXTURES else len(MIXTURES), name)


def gold_size(axis: str) -> float:
    """Return the sort key of a gold size such as `10 patients`; all gold comes last."""
    number = axis.partition(" ")[0].replace(",", "")
    return float(number) if number.isdigit() else float("inf")


def flatten(section: Any, start: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries: dotted key -> value; lists are leaves."""
    if not isinstance(section, Mapping):
        return {start: section}
    out: dict[str, Any] = {}
    for key, value in section.items():
        out |= flatten(value, f"{start}.{key}" if start else str(key))
    return out


def _no_study(store: Store, study: str) -> str:
    """Say why a store has no run of a study: it has none at all, this one was not run yet, or there
    is no such study."""
    there, experiments = (
        reading.studies(store),
        conf_names("experiment"),
    )
    makes = f"python run.py -m +experiment={study if study in experiments else 'NAME'} makes"
    if not there:
        return (
            f"there are no sweeps in {readable_uri(store.uri)}; {makes} one (NAME: "
            f"{', '.join(experiments)})"
        )
    if study in experiments:
        return (
            f"study {study}: no run of it in this store; {makes} them. There are: "
            f"{', '.join(there)}"
        )
    return no_such("study", study, there)


def _sweep(store: Store, name: str, study: str | None) -> Run:
    """Return the sweep whose id begins with `name`."""
    tags: dict[str, Any] = {"kind": "sweep"} | ({"study": study} if study else {})
    runs = []
    if re.fullmatch(r"[0-9a-f]+", name):
        runs = reading.search(store, begins=name, latest=2, **tags)
    if len(runs) != 1:
        where = f"study {study}: " if study else ""
        how_many = "several sweeps begin with" if runs else "no sweep"
        raise UserError(
            f"{where}{how_many} {name}. There are: "
            f"{listed(reading.search(store, latest=20, **tags))}"
        )
    return runs[0]


def _children(store: Store, parent: Run) -> list[Run]:
    return latest_children(
        replace(store, experiment_id=parent.info.experiment_id), parent.info.run_id
    )


def listed(parents: Iterable[Run]) -> str:
    """Return sweeps by the beginning of their id and when they were started."""
    return (
        ", ".join(
            f"{run.info.run_id[:8]} ({pd.Timestamp(run.info.start_time, unit='ms'):%Y-%m-%d %H:%M})"
            for run in parents
        )
        or "none"
    )


def _latest(runs: Iterable[Run], commands: set[tuple]) -> list[Run]:
    """Return for each cell key and each command the latest finished run, else the latest, in the
    order first started."""
    latest: dict[tuple, Run] = {}
    for run in sorted(runs, key=lambda run: run.info.start_time):
        command = _command(run)
        if command in commands and (
            command not in latest
            or run.info.status == "FINISHED"
            or latest[command].info.status != "FINISHED"
        ):
            latest[command] = run
    return list(latest.values())


def _command(run: Run) -> tuple:
    """Return what was asked of a run: the axes and the overrides, in any order, wherever the LLM's
    answers came from.

    Failed runs have no configuration to go by.
    """
    words = [word.strip("'") for word in run.data.tags.get("touchstone.command", "").split()[2:]]
    overrides = tuple(
        sorted(
            word for word in words if not word.startswith(("tracking.", "paths.", "debug=", "llm="))
        )
    )
    params = tuple(
        sorted(
            (name, value)
            for name, value in run.data.params.items()
            if name not in ("llm", "threads")
        )
    )
    return (params, overrides or run.data.tags.get(CELL, run.info.run_id))


def _read(store: Store, run: Run) -> Cell:
    config = reading.config(store, run)
    params = run.data.params
    direct = params.get("mixture") == "zero_shot"
    uses_llm = direct or any(tag.startswith("touchstone.generation.") for tag in run.data.tags)
    axes = {name: params.get(name, "") for name in AXES}
    if not uses_llm:
        axes |= {"prompt": "", "llm": ""}
    predictions = reading.predictions(store, run, with_scores=config["task"]["kind"] == "relation")
    axes |= {"gold": _gold(params, people.gold_unit(predictions)), "variant": ""}
    leaves = flatten({name: config.get(name) for name in SHARED})
    shared = {key: value for key, value in leaves.items() if not key.startswith(APART)}
    family = digest([shared, run.data.tags.get("touchstone.dataset.test", "")])
    apart = ("classifier", "seed", "task.gold_")
    setting = digest({key: value for key, value in shared.items() if not key.startswith(apart)})
    return Cell(
        run,
        config,
        axes,
        family,
        setting,
        predictions,
    )


def _gold(params: Mapping[str, str], counted: str) -> str:
    """Return the size of gold in words; `counted`: patients or documents, as the corpus has."""
    for name, unit in (("gold_sentences", "sentences"), ("gold_patients", counted)):
        if params.get(name, "all") != "all":
            return f"{int(params[name]):,} {unit}"
    return "all"


def _with_variants(cells: list[Cell]) -> list[Cell]:
    """Name cells apart that share all axes: by the settings in which they differ."""
    groups: dict[tuple, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(tuple(cell.axes.values()), []).append(cell)
    out = []
    for group in groups.values():
        leaves = [_leaves(cell) for cell in group]
        keys = sorted(
            {
                key
                for one in leaves
                for key in one
                if len({str(other.get(key)) for other in leaves}) > 1
            }
        )
        for cell, one in zip(group, leaves, strict=True):
            out.append(
                replace(
                    cell,
                    axes={
                        **cell.axes,
                        "variant": ", ".join(
                            f"{_short(key)}={_typed(one.get(key))}" for key in keys
                        ),
                    },
                )
            )
    return out


def _leaves(cell: Cell) -> dict[str, Any]:
    """Return the settings that can make a difference: no bookkeeping, nothing of a source that the
    cell does not use."""
    plain = {
        name: value
        for name, value in cell.config.items()
        if name not in (*bookkeeping_keys(Config), "taxonomy", "prompt", "hydra")
    }
    gold = cell.config["mixture"]["gold"]
    used = {*cell.sources, *gold["repeat_to"], *gold.get("augment_to", [])}
    idle = tuple(f"mixture.{name}." for name in SOURCES if name not in used)
    leaves = {key: value for key, value in flatten(plain).items() if not key.startswith(idle)}
    return {
        key: value
        for key, value in leaves.items()
        if not (key.startswith("llm.") and key.split(".")[1] in bookkeeping_keys(LLMConfig))
    }


def _typed(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _short(key: str) -> str:
    section, _, rest = key.partition(".")
    return rest if section in ("mixture", "generation", "classifier") else key


def _merged(cells: list[Cell]) -> list[Cell]:
    """Keep one of the cells that learned the same: same training data, weights, classifier, seeds
    and test set; the last started.

    Of cells that differ in the gold they were allowed but did not use, the one allowed most is
    kept: it is compared with that gold.
    """
    by_data: dict[tuple, Cell] = {}
    for cell in sorted(
        cells, key=lambda cell: (gold_size(cell.axes["gold"]), cell.run.info.start_time)
    ):
        what = cell.dataset("training") or cell.generations().get("zero_shot", cell.run_id)
        weights = [cell.config["mixture"][name]["weight"] for name in cell.sources]
        settings = digest(
            [flatten(cell.config["classifier"]), cell.config["seed"], cell.config["seeds"], weights]
        )
        own = cell.axes["gold"] if "gold" in cell.sources else ""
        axes = (
            cell.axes["task"],
            cell.axes["mixture"],
            cell.axes["prompt"],
            cell.axes["llm"],
            own,
        )
        key = (what, settings, cell.dataset("test"), *axes)
        variants = [
            one.axes["variant"]
            for one in (by_data.get(key), cell)
            if one is not None and one.axes["variant"]
        ]
        by_data[key] = replace(
            cell, axes={**cell.axes, "variant": " or ".join(dict.fromkeys(variants))}
        )
    alike = Counter(_without_gold(cell) for cell in by_data.values())
    return [
        cell
        if "gold" in cell.sources or alike[_without_gold(cell)] > 1
        else replace(cell, axes={**cell.axes, "gold": ""})
        for cell in by_data.values()
    ]


def _without_gold(cell: Cell) -> tuple[str, ...]:
    return tuple(value for name, value in cell.axes.items() if name != "gold")


def natural(text: str) -> tuple[tuple[float, str], ...]:
    """Return a sort key that orders numbers within text as numbers.

    >>> sorted(["fold=10", "fold=2", "fold=1"], key=natural)
    ['fold=1', 'fold=2', 'fold=10']
    """
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((float(part), "") if at % 2 else (-1.0, part) for at, part in enumerate(parts))


def _order(axes: Mapping[str, str], several_sizes: bool) -> tuple:
    own = gold_size(axes["gold"]) if axes["gold"] and several_sizes else 0
    learns = axes["mixture"] != "zero_shot"
    return (
        learns,
        natural(axes["classifier"]),
        own,
        natural(axes["prompt"]),
        natural(axes["llm"]),
        mixture_order(axes["mixture"]),
        natural(axes["variant"]),
    )


def _missing(store: Store, failed: Iterable[Run], finished: Iterable[Cell]) -> pd.DataFrame:
    """List cells without a result, each once. They have no configuration; what a mixture is made of
    is taken from its name."""
    cells = list(finished)
    known = {_named(cell.axes) for cell in cells}
    units = {cell.axes["task"]: people.gold_unit(cell.predictions) for cell in cells}
    rows = {}
    for run in sorted(failed, key=lambda run: run.info.start_time):
        params = run.data.params
        sources = params.get("mixture", "").split("_")
        axes = {name: params.get(name, "") for name in AXES} | {
            "variant": "",
            "gold": _gold(params, units.get(params.get("task", ""), "patients"))
            if "gold" in sources
            else "",
        }
        if not {*SYNTHETIC, "zero"} & set(sources):
            axes |= {"prompt": "", "llm": ""}
        if _named(axes) not in known:
            command = run.data.tags.get("touchstone.command", "")
            rows[_named(axes)] = {
                **axes,
                "run_id": run.info.run_id,
                "reason": _reason(store, run),
                "command": command,
            }
    return pd.DataFrame(list(rows.values()), columns=[*AXES, "run_id", "reason", "command"])


def _named(axes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(axes[name] for name in AXES if name not in ("llm", "variant"))


def _reason(store: Store, run: Run) -> str:
    """Return why a run has no result: the kind of error and what it said; of a traceback the last
    line."""
    text = reading.text(store, run, "error.txt").strip()
    text = text.splitlines()[-1] if text.startswith("Traceback") else " ".join(text.split())
    text = text if len(text) <= REASON else text[:REASON].rsplit(" ", 1)[0] + " ..."
    state = run.data.tags.get(
        STATUS,
        {"RUNNING": "not finished: still running, or killed"}.get(
            run.info.status, run.info.status.lower()
        ),
    )
    return text if text.startswith(state) else f"{state}: {text}" if text else state


def sweep_of(store: Store, name: str) -> tuple[Run, list[Run]]:
    """Return a sweep by its id or the beginning of it (`last` is the newest), and the latest run of
    each of its cells.

    Raises
    ------
    UserError
        If there is no such sweep; the message lists what there is.
    """
    newest = reading.search(store, kind="sweep", latest=1)
    if not newest:
        raise UserError(
            "the store has no sweep yet; run one: python run.py -m mixture=gold,gold_silver"
        )
    parent = newest[0] if name == "last" else _sweep(store, name, None)
    return parent, _children(store, parent)
