"""One cell of the grid, top to bottom: read, split, generate, mix, fit, predict, score.

The method section of the paper as code. Configuration is read here and nowhere deeper; every stage
receives values and returns data. Nothing is written to the tracking store here (tracking.py does,
from the `Cell` that is returned), and nothing is compared between cells (report/).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from touchstone.cell.memory import remembered
from touchstone.cell.predictions import ask_directly, predict, sample_test
from touchstone.data import foreign, people, targets
from touchstone.data.corpus import Gold, read_gold, read_pool, read_sites
from touchstone.data.examples import Dataset, dataset, examples
from touchstone.data.split import scarce_gold, training_order
from touchstone.digest import digest_columns
from touchstone.errors import EstimateOnly, PendingRequests, UserError
from touchstone.evaluate import own_metrics
from touchstone.evaluate.headline import score
from touchstone.evaluate.headline import values as scores_of
from touchstone.evaluate.sites import score_sites, split_off
from touchstone.evaluate.subgroups import subgroup_metrics, subgroup_table
from touchstone.folds import Fold, fold_table, folds_of, pooled
from touchstone.generate import stages
from touchstone.generate.foreign import expert_scores, from_files
from touchstone.generate.prompts import prompt_of
from touchstone.generate.stages import Generated, Setting
from touchstone.mixture import Mixed, compose
from touchstone.models import build, limit_threads
from touchstone.review.judgements import correct, read_corrections
from touchstone.schema import Config, asks_directly
from touchstone.source_table import SOURCES, SYNTHETIC, TABLE
from touchstone.taxonomy import Taxonomy, taxonomy_of

log = logging.getLogger(__name__)
screen = logging.getLogger("touchstone.console")  # what a person sees at once


@dataclass(frozen=True)
class Cell:
    """What a finished cell yields; everything in it is logged.

    Attributes
    ----------
    metrics : name -> value on the test set, averaged over seeds, as in `evaluate.headline.values`;
        also `dev/score`, for searches.
    predictions : DataFrame[seed, example_id, doc_id, patient_id, true, pred, score]: one row per
        seed and test example.
    tables : name -> DataFrame: scores, composition, categories, dropped, splits, quarantine, seeds,
        repetitions, trivial, (confusion), and for the LLM asked directly `asked`, the test
        sentences it was asked about.
    datasets : context (training, dev, test) -> Dataset.
    generated : the generation stages the cell used.
    model : the classifier of the first seed, None for the LLM.
    warnings : for people; each is logged and becomes a row.
    sites : name of an external test site -> its predictions, as `predictions`.
    """

    metrics: Mapping[str, float]
    predictions: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    datasets: Mapping[str, Dataset]
    generated: tuple[Generated, ...]
    model: Any
    warnings: tuple[str, ...] = field(default=())
    sites: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def in_quarantine(generated: Generated) -> str:
    """Return what a person is told of a stage some of whose answers could not be used."""
    n_requests = int(generated.dataset.provenance["n_requests"])
    lacking, count = len(generated.quarantine), len(generated.dataset)
    return (
        f"{generated.stage}: {count:,} generated; {lacking} of {n_requests} answers unreadable, "
        "in the quarantine table"
    )


@dataclass(frozen=True)
class Repetition:
    """One seed's run: its training set, predictions (per-seed rows of `Cell.predictions`), fitted
    classifier, categories it never saw and main score on dev; the seed whose fit it shares, and the
    digest of its training set."""

    mixed: Mixed | None
    predictions: pd.DataFrame
    model: Any
    unseen: tuple[str, ...]
    dev_score: float | None = None
    seed: int = 0
    fitted: int = 0
    key: str = ""


def run_cell(config: Config, sweep: str = "") -> Cell:
    """Run one cell: once, or for each fold of a cross-validation.

    Parameters
    ----------
    sweep : the sweep whose cells share what an LLM gave, also where it lacks something that is
        tolerated; "" for a single run.

    Raises
    ------
    UserError Anything a user can mend. PendingRequests and EstimateOnly are raised after every
        stage of the cell has been asked, so that one command exports or estimates all of them.
    """
    parts: list[tuple[Fold, Cell]] = []
    held: list[PendingRequests | EstimateOnly] = []
    folds = folds_of(config)
    for fold in folds:
        log.info("fold %d of %d", fold.number, fold.of)
        try:
            parts.append((fold, run_split(fold.config, fold.cut, sweep)))
        except (PendingRequests, EstimateOnly) as stop:
            held.append(stop)
    raise_held(held)
    return over_folds(config, parts) if folds else run_split(config, sweep=sweep)


def run_split(config: Config, cut: tuple[int, int] | None = None, sweep: str = "") -> Cell:
    """Read, split, generate, mix, fit, predict, score: one split of the corpus.

    Parameters
    ----------
    cut : the fold of the patients that is the test set, see `split.assign_splits`.
    sweep : see `run_cell`.
    """
    limit_threads(config.threads)
    taxonomy, paths = taxonomy_of(config.taxonomy), config.paths
    gold = read_gold(config.corpus, config.task, taxonomy, paths.data, paths.cache, cut)
    gold, sites = read_sites(gold, config.corpus, config.task, taxonomy, paths.data)
    train = drawn_gold(gold, config)  # the first draw: what prompts may show, its rest is the pool
    dev, test = gold.part("dev"), gold.part("test")
    log.info(
        "gold: %d training, %d dev, %d test sentences of %s",
        len(train),
        len(dev),
        len(test),
        config.corpus.name,
    )
    generated = generate(config, taxonomy, gold, train, test, sites, sweep)
    if asks_directly(config):
        chosen = sample_test(test, config.task.llm_test_sentences, config.task.split_seed)
        test = test[chosen].reset_index(drop=True)
        answers = [
            ask_directly(frame, generated[stage].dataset.frame, taxonomy, config.task.kind)
            for stage, frame in {"zero_shot": test, **_by_stage(sites)}.items()
        ]
        repetitions = [Repetition(None, pd.concat(answers, ignore_index=True), None, ())]
    else:
        everywhere = pd.concat([test, *sites.values()], ignore_index=True) if sites else test
        repetitions = repeat(config, taxonomy, gold, generated, dev, everywhere)
    generations = tuple(generated.values())
    return assemble(config, taxonomy, gold, dev, test, generations, repetitions, sites)


def _by_stage(sites: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the sites by the name of the stage in which the LLM is asked about them."""
    return {f"zero_shot_{name}": frame for name, frame in sites.items()}


def drawn_gold(gold: Gold, config: Config, draw: int = 0) -> pd.DataFrame:
    """Return the training rows whose labels may be used, as this draw has them."""
    return scarce_gold(
        gold.frame,
        patients=config.task.gold_patients,
        sentences=config.task.gold_sentences,
        seed=config.task.split_seed,
        draw=draw,
    )


def generate(
    config: Config,
    taxonomy: Taxonomy,
    gold: Gold,
    train: pd.DataFrame,
    test: pd.DataFrame,
    sites: Mapping[str, pd.DataFrame],
    sweep: str = "",
) -> dict[str, Generated]:
    """Make the synthetic data that the cell needs: silver, bronze, the round trip of bronze, or the
    LLM's own answers about test and sites. Files of silver and bronze are read, not made."""
    mixture, by_llm = config.mixture, asks_directly(config)
    sized = {*mixture.gold.repeat_to, *mixture.gold.augment_to} if mixture.gold.use else set()
    needed = {
        source
        for source in SYNTHETIC
        if not by_llm and (getattr(mixture, source).use or source in sized)
    }
    if not (needed or by_llm):
        return {}
    setting = Setting(
        prompt=prompt_of(config.prompt, taxonomy, config.task.kind),
        llm=config.llm,
        generation=config.generation,
        cache=Path(config.paths.cache),
        corpus=config.corpus.name,
        restricted=config.corpus.access == "restricted",
        progress=True,
        sweep=sweep,
    )
    generated: dict[str, Generated] = {}
    held: list[PendingRequests | EstimateOnly] = []

    def stage(
        name: str, run: Callable[[], Generated], *inputs: pd.DataFrame | Mapping[str, Any]
    ) -> None:
        """Run a stage; keep exports and estimates for the end, so that the other stages are
        exported and estimated too."""
        try:
            generated[name] = remembered(config, name, inputs, run)
            log.info(
                "%s: %d examples %s",
                name,
                len(generated[name].dataset),
                "reused" if generated[name].reused else "generated",
            )
            if len(generated[name].quarantine) and not generated[name].reused:
                screen.info("%s", in_quarantine(generated[name]))
        except (PendingRequests, EstimateOnly) as stop:
            held.append(stop)

    if by_llm:
        sample = sample_test(test, config.task.llm_test_sentences, config.task.split_seed)
        stage("zero_shot", lambda: stages.zero_shot(setting, test, sample, train), test, train)
        for name, site in _by_stage(sites).items():
            whole = np.ones(len(site), dtype=bool)
            ask = partial(stages.zero_shot, setting, site, pd.Series(whole), train)
            stage(name, ask, site, train)
    tested = people.held_out({"dev": gold.part("dev"), "test": gold.part("test"), **sites})
    for source in SYNTHETIC:
        if source in needed and foreign.paths_of(config.corpus, source):
            read = from_files(config, source, taxonomy)
            frame, left_out = people.kept_apart(
                read.dataset.frame, tested, what=source, overlap=config.corpus.overlap
            )
            data = replace(read.dataset, frame=frame) if left_out else read.dataset
            warning = (f"{left_out} sentences of {source} left out: their people are tested on",)
            generated[source] = replace(read, dataset=data, warnings=warning if left_out else ())
            needed.remove(source)
    for one in TABLE:
        if one.name in needed and not one.template:
            raise UserError(
                f"mixture={mixture.name}: no LLM makes {one.name}; name its files: "
                f"corpus.{one.name}.path=FILE"
            )
    if "silver" in needed:
        rest = rest_of_train(gold.frame, train, config)
        pool = read_pool(
            config.corpus,
            config.generation.seed,
            config.paths.data,
            config.paths.cache,
            rest,
            config.threads,
            tested,
        )
        stage("silver", lambda: stages.silver(setting, pool.parts(), train), pool.key, train)
    if "bronze" in needed and config.task.kind == "ner":
        stage("entity_list", lambda: stages.entity_list(setting))
    if "bronze" in needed and (
        config.task.kind != "ner" or "entity_list" in generated or config.llm.estimate_only
    ):
        names = generated["entity_list"].dataset if "entity_list" in generated else None
        stage(
            "bronze",
            lambda: stages.bronze(setting, train, names),
            train,
            *([names.frame] if names else []),
        )
    if mixture.bronze.use and mixture.bronze.filter == "round_trip" and "bronze" in generated:
        stage(
            "round_trip",
            lambda: stages.round_trip(setting, generated["bronze"].dataset),
            generated["bronze"].dataset.frame,
        )
    raise_held(held)
    return generated


def raise_held(held: Sequence[PendingRequests | EstimateOnly]) -> None:
    """Raise what was kept until every part had been asked, as one."""
    if pending := [stop for stop in held if isinstance(stop, PendingRequests)]:
        raise PendingRequests.merged(pending)
    if estimates := [stop for stop in held if isinstance(stop, EstimateOnly)]:
        raise EstimateOnly.merged(estimates)


def generate_alone(config: Config) -> dict[str, Generated]:
    """Make the synthetic data of a cell without training: with the gold where the corpus has some,
    else of the pool and the taxonomy alone.

    Raises
    ------
    UserError
        As `generate`; and where a prompt is to show gold, or gold is the pool, and there is none.
    """
    taxonomy = taxonomy_of(config.taxonomy)
    if config.corpus.gold is None:
        pool = config.corpus.pool
        if config.prompt.n_shots:
            raise UserError(
                f"prompt={config.prompt.name}: shows {config.prompt.n_shots} gold sentences for "
                "each "
                f"category, and corpus={config.corpus.name} has no gold. Choose prompt=guideline"
            )
        if config.mixture.silver.use and pool is not None and pool.reader == "rest_of_train":
            raise UserError(
                f"corpus={config.corpus.name}: its pool is the rest of its gold, and it has none"
            )
        empty = examples([])
        return generate(config, taxonomy, Gold(empty, pd.DataFrame(), {}), empty, empty, {})
    data, cache = config.paths.data, config.paths.cache
    gold = read_gold(config.corpus, config.task, taxonomy, data, cache)
    gold, sites = read_sites(gold, config.corpus, config.task, taxonomy, data)
    return generate(config, taxonomy, gold, drawn_gold(gold, config), gold.part("test"), sites)


def rest_of_train(frame: pd.DataFrame, train: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Return the training rows that may be the pool: those that the gold leaves out, or those after
    the first `corpus.pool.reserve` documents in the order of the first draw."""
    pool = config.corpus.pool
    rest = frame[(frame["split"] == "train") & ~frame["example_id"].isin(train["example_id"])]
    if pool is None or pool.reserve is None:
        return rest
    reserved = training_order(frame, config.task.split_seed)[: pool.reserve]
    return rest[~rest["patient_id"].isin(reserved)]


def corrected(
    config: Config, taxonomy: Taxonomy, sources: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, pd.DataFrame], dict[str, Collection[str]]]:
    """Put the experts' labels in the place of the LLM's where the mixture names them; return the
    sources and, for each such source, the ids of the examples that were judged."""
    out = dict(sources)
    reviewed: dict[str, Collection[str]] = {}
    for name in out:
        if path := getattr(config.mixture, name).corrections:
            labels = read_corrections(path, taxonomy.ids)
            out[name], reviewed[name] = correct(out[name], labels, name, path)
    return out, reviewed


def repeat(
    config: Config,
    taxonomy: Taxonomy,
    gold: Gold,
    generated: Mapping[str, Generated],
    dev: pd.DataFrame,
    test: pd.DataFrame,
) -> list[Repetition]:
    """Run the repetitions of a cell: each has its own draw of the gold, its own samples of the
    other sources and its own initialisation; the test set stays.

    A classifier in which nothing is drawn is fitted once for each training set.
    """
    sources = {name: generated[name].dataset.frame for name in SYNTHETIC if name in generated}
    trusted = None
    if "round_trip" in generated:
        written, again = generated["bronze"].dataset, generated["round_trip"].dataset
        trusted = stages.agreeing(written, again, taxonomy.primary)
    repetitions: list[Repetition] = []
    for seed in range(config.seed, config.seed + config.seeds):
        mixed = mix(config, taxonomy, drawn_gold(gold, config, seed), sources, test, trusted, seed)
        model = classifier(config, taxonomy, seed)
        key = digest_columns(mixed.train, ("example_id", "text", "labels", "spans", "weight"))
        same = [one for one in repetitions if one.key == key]
        if same and getattr(model, "draws_nothing", False):
            predictions = same[0].predictions.assign(seed=seed)
            repetitions.append(replace(same[0], mixed=mixed, seed=seed, predictions=predictions))
        else:
            repetitions.append(fit_predict(model, config, taxonomy, mixed, key, dev, test, seed))
    return repetitions


def mix(
    config: Config,
    taxonomy: Taxonomy,
    train: pd.DataFrame,
    sources: Mapping[str, pd.DataFrame],
    test: pd.DataFrame,
    trusted: list[str] | None,
    seed: int,
) -> Mixed:
    """Compose the training set of one repetition; documents that it has as gold leave its silver
    where both come from the training documents."""
    sources, reviewed = corrected(config, taxonomy, sources)
    pool = config.corpus.pool
    shared = config.mixture.gold.use and pool is not None and pool.reader == "rest_of_train"
    return compose(
        {"gold": train, **sources},
        config.mixture,
        test_texts=test["text"].tolist(),
        seed=seed,
        threads=config.threads,
        round_trip=trusted,
        marks=taxonomy.marks,
        gold_documents=set(train["doc_id"]) if shared else (),
        reviewed=reviewed,
        cache=Path(config.paths.cache),
    )


def classifier(config: Config, taxonomy: Taxonomy, seed: int) -> Any:
    """Return the classifier of one repetition, not fitted yet."""
    return build(
        config.classifier,
        config.task.kind,
        targets.n_classes(config.task.kind, taxonomy),
        seed=seed,
        threads=config.threads,
        cache=Path(config.paths.cache),
        types=taxonomy.ids,
        restricted=config.corpus.access == "restricted",
    )


def fit_predict(
    model: Any,
    config: Config,
    taxonomy: Taxonomy,
    mixed: Mixed,
    key: str,
    dev: pd.DataFrame,
    test: pd.DataFrame,
    seed: int,
) -> Repetition:
    """Fit the classifier on the training set of one repetition and predict the test set."""
    kind = config.task.kind
    y = targets.encode(mixed.train, taxonomy, kind)
    unseen = tuple(targets.unseen(y, taxonomy, kind))
    if len(unseen) == len(targets.categories(kind, taxonomy)):
        raise UserError(
            f"mixture={config.mixture.name}: no training example has any category of "
            f"task={config.task.name}; use more gold or another mixture"
        )
    dev_set = (dev["text"].tolist(), targets.encode(dev, taxonomy, kind)) if len(dev) else None
    model.fit(
        mixed.train["text"].tolist(), y, sample_weight=mixed.train["weight"].to_numpy(), dev=dev_set
    )
    predictions = predict(model, test, taxonomy, kind, seed)
    dev_score = None
    if len(dev):
        on_dev = predict(model, dev, taxonomy, kind, seed)
        dev_score = scores_of(on_dev, targets.categories(kind, taxonomy), kind).get("score")
    return Repetition(mixed, predictions, model, unseen, dev_score, seed, seed, key)


def assemble(
    config: Config,
    taxonomy: Taxonomy,
    gold: Gold,
    dev: pd.DataFrame,
    test: pd.DataFrame,
    generated: tuple[Generated, ...],
    repetitions: list[Repetition],
    sites: Mapping[str, pd.DataFrame],
) -> Cell:
    """Gather what the cell yields."""
    predictions, elsewhere = split_off(
        pd.concat([repetition.predictions for repetition in repetitions], ignore_index=True), sites
    )
    values, tables = score(
        predictions, targets.categories(config.task.kind, taxonomy), config.task.kind
    )
    _score_own_metrics(config, predictions, values, tables)
    warnings = [warning for stage in generated for warning in stage.warnings]
    first = repetitions[0]
    datasets = {"test": dataset(test, f"{config.corpus.name}/test", **gold.provenance)}
    if len(dev):
        datasets["dev"] = dataset(dev, f"{config.corpus.name}/dev", **gold.provenance)
    categories = targets.categories(config.task.kind, taxonomy)
    if sites:
        at_sites, tables["sites"] = score_sites(elsewhere, categories, config.task.kind)
        values |= at_sites
        datasets |= {
            f"site_{name}": dataset(frame, f"{config.corpus.name}/{name}")
            for name, frame in sites.items()
        }
    if config.task.subgroups:
        named = dict(zip(test["example_id"], test["subgroups"], strict=True))
        tables["subgroups"] = subgroup_table(
            predictions,
            [named[example_id] for example_id in predictions["example_id"]],
            config.task.subgroups,
            categories,
            config.task.kind,
        )
        values |= subgroup_metrics(tables["subgroups"])
    silver = next((stage.dataset for stage in generated if stage.stage == "silver"), None)
    if silver is not None and config.corpus.pool is not None and config.corpus.pool.labels:
        tables["silver_by_experts"] = expert_scores(silver.frame, config, taxonomy)
    tables["splits"] = gold.splits
    tables["quarantine"] = (
        pd.concat([stage.quarantine for stage in generated], ignore_index=True)
        if generated
        else pd.DataFrame()
    )
    if first.mixed is None:
        tables["asked"], notes = _asked(gold.part("test"), test, generated[0].dataset.frame, config)
        warnings += notes
    else:
        datasets["training"] = dataset(
            first.mixed.train, f"{config.corpus.name}/{config.mixture.name}"
        )
        tables |= {
            "composition": first.mixed.composition,
            "categories": first.mixed.categories,
            "dropped": first.mixed.dropped,
        }
        tables["repetitions"] = _repetitions(repetitions)
        values["n_train"] = float(round(tables["repetitions"]["n_train"].mean()))
        for source in first.mixed.composition.loc[first.mixed.composition["used"] == 0, "source"]:
            warnings.append(f"nothing of {source} is left: see the table of what was dropped")
        warnings += _never_seen(repetitions)
        resembling = int(first.mixed.composition["resembles_test"].sum())
        if resembling:
            warnings.append(
                f"{resembling} gold training sentences are as close to a test sentence as the "
                "leakage guard allows no synthetic one to be"
            )
    values["n_test"] = float(len(test))
    dev_scores = [one.dev_score for one in repetitions if one.dev_score is not None]
    if dev_scores:
        values["dev/score"] = float(np.mean(dev_scores))
    for warning in warnings:
        log.warning(warning)
    return Cell(
        values,
        predictions,
        tables,
        datasets,
        generated,
        first.model,
        tuple(dict.fromkeys(warnings)),
        elsewhere,
    )


def _repetitions(repetitions: Sequence[Repetition]) -> pd.DataFrame:
    """Say of each repetition how much it learned from, and whose fit it shares (nothing was drawn
    and the training set is the same)."""
    rows = []
    for one in repetitions:
        assert one.mixed is not None
        sources = one.mixed.train["source"].value_counts()
        rows.append(
            {
                "seed": one.seed,
                **{f"n_{name}": int(sources.get(name, 0)) for name in SOURCES},
                "n_train": len(one.mixed.train),
                "is_gold": int(one.mixed.composition["is_gold"].sum()),
                "fitted_with_seed": one.fitted,
                "dev_score": one.dev_score,
            }
        )
    return pd.DataFrame(rows)


def _never_seen(repetitions: Sequence[Repetition]) -> list[str]:
    """Say which categories no training example has, in how many repetitions."""
    counts = Counter(category for one in repetitions for category in one.unseen)
    lines = []
    for category in dict.fromkeys(category for one in repetitions for category in one.unseen):
        some = counts[category] < len(repetitions)
        where = f" in {counts[category]} of {len(repetitions)} repetitions" if some else ""
        lines.append(
            f"no training example of {category}{where}: it is never predicted, and its F1 is 0"
        )
    return lines


def over_folds(config: Config, parts: Sequence[tuple[Fold, Cell]]) -> Cell:
    """Return the cells of all folds as one: scored on their predictions together, with the scores
    of each fold and their mean beside it; what a cell shows of one training set is the first's."""
    taxonomy, kind = taxonomy_of(config.taxonomy), config.task.kind
    (_, first), cells = parts[0], [cell for _, cell in parts]
    predictions = pooled([(fold, cell.predictions) for fold, cell in parts])
    values, tables = score(predictions, targets.categories(kind, taxonomy), kind)
    _score_own_metrics(config, predictions, values, tables)
    tables = {**first.tables, **tables}
    tables["folds"] = fold_table({fold.number: cell.metrics for fold, cell in parts})
    for name in ("quarantine", "asked"):
        if name in tables:
            tables[name] = pd.concat([cell.tables[name] for cell in cells], ignore_index=True)
    means = tables["folds"].query("fold == 'mean'").set_index("metric")["value"]
    values |= {name: means[name] for name in means.index if name.startswith(("n_train", "dev/"))}
    values |= {f"folds/{name}": value for name, value in means.items() if name in values}
    values["n_test"] = float(predictions["example_id"].nunique())
    datasets = {
        context: dataset(
            pooled(
                [(fold, cell.datasets[context].frame) for fold, cell in parts],
                shared=context != "test",
            ),
            first.datasets[context].name,
        )
        for context in first.datasets
    }
    shown = "f1" if kind in ("binary", "relation", "ner") else "macro_f1"
    note = (
        f"{len(parts)} folds: the row is scored on the predictions of all folds together; the mean "
        f"over folds, as the papers report it, is {shown} {means[shown]:.3f}"
    )
    warnings = (note, *(warning for cell in cells for warning in cell.warnings))
    generated = {made.dataset.digest: made for cell in cells for made in cell.generated}
    return Cell(
        values,
        predictions,
        tables,
        datasets,
        tuple(generated.values()),
        first.model,
        tuple(dict.fromkeys(warnings)),
    )


def _score_own_metrics(
    config: Config,
    predictions: pd.DataFrame,
    values: dict[str, float],
    tables: dict[str, pd.DataFrame],
) -> None:
    """Add the scores of the user's own (`metrics`) to the metrics of the run and to its score
    table."""
    restricted = config.corpus.access == "restricted"
    rows = []
    for metric in own_metrics.metrics_of(config.metrics, restricted=restricted):
        if metric.name in values:
            raise UserError(f"metrics={metric.path}: {metric.name} is a built-in score; rename it")
        value = own_metrics.value_of(metric, predictions)
        low, high = own_metrics.interval_of(metric, predictions, seed=config.seed)
        named = {metric.name: value, f"{metric.name}_low": low, f"{metric.name}_high": high}
        values |= {name: number for name, number in named.items() if not np.isnan(number)}
        row = {"name": metric.name, "category": "", "metric": metric.name, "value": value}
        rows.append(row)
    if rows:
        tables["scores"] = pd.concat([tables["scores"], pd.DataFrame(rows)], ignore_index=True)


def _asked(
    whole: pd.DataFrame, test: pd.DataFrame, answers: pd.DataFrame, config: Config
) -> tuple[pd.DataFrame, list[str]]:
    """Say what part of the test set the LLM was asked about and answered: a table of one row, and
    warnings where it is not all."""
    size, answered = (
        config.task.llm_test_sentences,
        int(test["example_id"].isin(answers["example_id"]).sum()),
    )
    lines = []
    if len(test) < len(whole):
        lines.append(
            f"scored on a seeded sample of {len(test)} of {len(whole)} test sentences "
            f"(task.llm_test_sentences={size})"
        )
    if answered < len(test):
        lines.append(
            f"{len(test) - answered} of {len(test)} test sentences have no usable answer (see "
            "quarantine); they count as none found"
        )
    row = {
        "test_sentences": len(whole),
        "asked": len(test),
        "answered": answered,
        "sample_seed": config.task.split_seed,
    }
    return pd.DataFrame([row]), lines
