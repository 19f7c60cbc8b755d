"""A small tracking store for tests of the reports: real configurations and demo gold, simulated
predictions and synthetic data.

Cells are logged through the functions that the product uses, so a change of what a run holds is
seen by these tests.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from preloaded import copy_store

from touchstone import configuration, tracking
from touchstone.data.corpus import Gold, read_gold
from touchstone.data.examples import dataset, examples
from touchstone.data.split import scarce_gold
from touchstone.data.targets import categories, decode, encode
from touchstone.evaluate.headline import score
from touchstone.evaluate.sites import score_sites
from touchstone.evaluate.subgroups import subgroup_table
from touchstone.generate.prompts import prompt_of
from touchstone.generate.stages import Generated
from touchstone.llm.usage import Usage
from touchstone.mixture import compose as mix
from touchstone.pipeline import Cell
from touchstone.pseudonyms import pseudonyms_of
from touchstone.report.grid import collect
from touchstone.report.study import Study, study_of
from touchstone.run import conf_files, logbook
from touchstone.run.identity import cell_key, params
from touchstone.run.names import run_name
from touchstone.schema import asks_directly
from touchstone.taxonomy import taxonomy_of

SKILL = {
    "gold": 0.55,
    "silver": 0.6,
    "bronze": 0.5,
    "gold_silver": 0.75,
    "gold_bronze": 0.7,
    "silver_bronze": 0.65,
    "gold_silver_bronze": 0.8,
}


def composed(*overrides: str):
    """Compose a configuration as run.py would."""
    return conf_files.composed(overrides)


@lru_cache(maxsize=4)
def demo_gold(task: str, cache: str):
    config = configuration.checked(composed(f"task={task}"))
    taxonomy = taxonomy_of(config.taxonomy)
    return read_gold(config.corpus, config.task, taxonomy, None, cache), taxonomy


def simulated(frame: pd.DataFrame, taxonomy, kind: str, skill: float, seeds: int) -> pd.DataFrame:
    """Predictions that are right with chance `skill`, else those of a random other test
    sentence."""
    true = decode(encode(frame, taxonomy, kind), taxonomy, kind)
    parts = []
    for seed in range(seeds):
        rng = np.random.default_rng([int(skill * 1000), seed])
        other = rng.permutation(len(frame))
        right = rng.random(len(frame)) < skill
        pred = [true[i] if right[i] else true[other[i]] for i in range(len(frame))]
        names = list(categories(kind, taxonomy))
        scores = [[float(name in labels) for name in names] for labels in pred]
        part = frame[["example_id", "doc_id", "patient_id"]].assign(
            true=true, pred=pred, score=scores
        )
        part.insert(0, "seed", seed)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def made(stage: str, frame: pd.DataFrame, prompt, restricted: bool = False) -> Generated:
    data = dataset(
        frame,
        f"{prompt.name}/{stage}",
        stage=stage,
        prompt=prompt.name,
        prompt_version=prompt.version,
        prompt_digest=prompt.digest,
        model="claude",
        served_models=["claude-1"],
        n_requests=7,
        responses_digest="f" * 64,
        restricted=restricted,
    )
    refused = pd.DataFrame(
        [
            {
                "stage": stage,
                "key": "ab" * 32,
                "reason": "sentence 3 has no answer",
                "text": '{"labels": [<b>1, 2]}',
            }
        ]
    )
    usage = Usage(
        requests=7,
        cached=0,
        sent=7,
        prompt_tokens=9000,
        completion_tokens=2100,
        answers_prompt_tokens=9000,
        answers_completion_tokens=2100,
        cost_usd=0.12,
        served_models=("claude-1",),
    )
    return Generated(
        stage,
        data,
        refused,
        usage,
        (),
        ({"role": "system", "content": "You label."}, {"role": "user", "content": "1. A."}),
        False,
    )


def synthetic(gold: Gold, prompt, restricted: bool = False) -> dict[str, Generated]:
    """Silver: training sentences that scarce gold leaves out, every tenth with a wrong label.
    Bronze: sentences put together anew."""
    train = gold.part("train")
    rest = train[
        ~train["patient_id"].isin(
            scarce_gold(gold.frame, patients=10, sentences=None, seed=0)["patient_id"]
        )
    ].reset_index(drop=True)
    labels = [([] if i % 10 == 0 else row) for i, row in enumerate(rest["labels"])]
    silver = rest.assign(
        source="silver",
        split="",
        labels=labels,
        origin="a" * 64,
        confidence="high",
        example_id=[f"pool/{i}" for i in rest["example_id"]],
    )
    known = train[train["labels"].map(len) > 0]["text"].tolist()
    when = (
        "month" if restricted else "week"
    )  # other sentences than those that public tests log in the open
    bronze = examples(
        {
            "example_id": f"{i:04d}/0",
            "text": f"Family reports: {text.split('.')[0].lower()}, {i} times this {when}.",
            "labels": list(row),
            "source": "bronze",
            "doc_id": f"request-{i // 10}",
            "patient_id": f"request-{i // 10}",
        }
        for i, (text, row) in enumerate(
            zip(known[:240], train[train["labels"].map(len) > 0]["labels"][:240], strict=True)
        )
    )
    again = bronze.assign(labels=[row if i % 5 else [] for i, row in enumerate(bronze["labels"])])
    return {
        "silver": made("silver", silver, prompt, restricted),
        "bronze": made("bronze", bronze, prompt, restricted),
        "round_trip": made("round_trip", again, prompt, restricted),
    }


def log(
    store,
    parent: str | None,
    *overrides: str,
    cache: str,
    skill: float | None = None,
    restricted: bool = False,
    model=None,
    elsewhere: bool = False,
) -> str:
    """Log one finished cell of the demo grid, with a model where one is given; return its run
    id."""
    raw = composed(*overrides)
    config = configuration.checked(raw)
    gold, taxonomy = demo_gold(config.task.name, cache)
    kind, name = config.task.kind, config.mixture.name
    prompt = prompt_of(config.prompt, taxonomy, kind)
    train = scarce_gold(gold.frame, patients=config.task.gold_patients, sentences=None, seed=0)
    test = gold.part("test")
    if asks_directly(config):
        test = test.iloc[: config.task.llm_test_sentences].reset_index(drop=True)
        used, mixed, config.seeds = (
            (made("zero_shot", test.assign(source="silver"), prompt),),
            None,
            1,
        )
    else:
        stages = synthetic(gold, prompt, restricted)
        if config.corpus.pool.reader == "rest_of_train":
            frame = stages["silver"].dataset.frame
            own = frame.assign(example_id=frame["example_id"].str.removeprefix("pool/"))
            stages["silver"] = made("silver", own, prompt, restricted)
        used = tuple(stages[s] for s in ("silver", "bronze") if getattr(config.mixture, s).use)
        mixed = mix(
            {"gold": train} | {g.stage: g.dataset.frame for g in used},
            config.mixture,
            test_texts=test["text"].tolist(),
            seed=0,
        )
        if config.mixture.bronze.use and name == "bronze":
            used = (*used, stages["round_trip"])
    predictions = simulated(
        test, taxonomy, kind, skill if skill is not None else SKILL.get(name, 0.55), config.seeds
    )
    values, tables = score(predictions, categories(kind, taxonomy), kind)
    tables |= {
        "splits": gold.splits,
        "quarantine": pd.concat([g.quarantine for g in used], ignore_index=True)
        if used
        else pd.DataFrame(),
    }
    data = {"dev": dataset(gold.part("dev"), "dev"), "test": dataset(test, "test")}
    values["n_test"] = float(len(test))
    if mixed is not None:
        tables |= {
            "composition": mixed.composition,
            "categories": mixed.categories,
            "dropped": mixed.dropped,
        }
        data["training"] = dataset(mixed.train, f"{config.corpus.name}/{name}")
        values["n_train"] = float(len(mixed.train))
    sites = {}
    if elsewhere:  # a test site, and subgroups, of the simulated predictions' own patients
        people = sorted(set(predictions["patient_id"]))
        there = predictions[predictions["patient_id"].isin(people[::2])].reset_index(drop=True)
        sites = {"rural": there}
        at_site, tables["sites"] = score_sites(sites, categories(kind, taxonomy), kind)
        values |= at_site
        said = [
            json.dumps({"sex": "F" if one in people[:2] else "M"})
            for one in predictions["patient_id"]
        ]
        tables["subgroups"] = subgroup_table(
            predictions, said, ["sex"], categories(kind, taxonomy), kind
        )
    cell = Cell(values, predictions, tables, data, used, model, (), sites=sites)
    run_id = start(store, parent, config, overrides)
    files = {
        "config.yaml": OmegaConf.to_yaml(raw, resolve=True),
        "overrides.json": json.dumps(list(overrides)),
        "git.json": '{"commit": "c0ffee", "dirty": false, "code": "beef"}',
    }
    logbook.log_cell(
        store,
        run_id,
        cell,
        files=files,
        prompt=prompt if used else None,
        with_text=not restricted,
        with_model=model is not None,
        kind=kind,
        taxonomy=taxonomy,
        restricted=restricted,
        pseudonyms=pseudonyms_of(cache) if restricted else None,
    )
    return run_id


def start(store, parent: str | None, config, overrides) -> str:
    return tracking.start_run(
        store,
        run_name(config),
        parent=parent,
        params=params(config),
        tags={
            tracking.KIND: "cell",
            tracking.CELL: cell_key(config),
            tracking.STUDY: config.study,
            "touchstone.command": "python run.py " + " ".join(overrides),
        },
    )


def log_failure(store, parent: str | None, *overrides: str, told: str) -> str:
    """Log one cell that failed with a message."""
    from touchstone.errors import MissingRecording

    run_id = start(store, parent, configuration.checked(composed(*overrides)), overrides)
    try:
        with tracking.failing_clearly(store, run_id):
            raise MissingRecording(told)
    except MissingRecording:
        return run_id


def log_sweep(store, study: str, name: str = "a sweep") -> str:
    tags = {
        tracking.KIND: "sweep",
        tracking.STUDY: study,
        "touchstone.command": f"python run.py -m +experiment={study}",
    }
    return tracking.start_run(store, name, tags=tags, params={})


def two_directions(
    folder: Path,
    *,
    tasks=("ad_binary", "ad_multiclass"),
    mixtures=tuple(SKILL),
    failing: str = "silver_bronze",
    seeds: int = 3,
):
    """A store with one sweep of the first paper's grid; `failing` is a mixture whose binary cell is
    missing. Returns store, parent id."""
    store = tracking.open_store(None, "two_directions", copy_store(folder / "mlflow"))
    parent = log_sweep(store, "two_directions")
    for task in tasks:
        for mixture in mixtures:
            overrides = (f"task={task}", f"mixture={mixture}", f"seeds={seeds}")
            if mixture == failing and task == tasks[0]:
                log_failure(
                    store,
                    parent,
                    *overrides,
                    told=(
                        "60 of 60 requests are not in the recording, the first is 00ff (claude "
                        "at file)"
                    ),
                )
            else:
                log(store, parent, *overrides, cache=str(folder / "cache"))
    tracking.end_run(store, parent, "FAILED" if failing else "FINISHED")
    return store, parent


def prompt(name: str):
    """Return the configuration of a prompt variant."""
    return configuration.checked(composed(f"prompt={name}")).prompt


def stage_folder(root: Path, stage: str) -> Path:
    """Return a folder where a stage of the cache could lie."""
    folder = root / stage / "0123"
    folder.mkdir(parents=True)
    return folder


@lru_cache(maxsize=1)
def shared():
    """Return (folder, store, parent) of a small two_directions store that several test files read;
    made once per process, never changed."""
    folder = Path(tempfile.mkdtemp(prefix="touchstone-report-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, *two_directions(
        folder, mixtures=("gold", "bronze", "gold_silver", "gold_bronze"), failing="gold_bronze"
    )


@lru_cache(maxsize=1)
def shared_study() -> Study:
    """Return the study of the `shared` store, its tables and figures; made once per process, never
    changed."""
    return study_of(collect(shared()[1], "two_directions"))


@lru_cache(maxsize=1)
def _spare() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="touchstone-report-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def empty_study(name: str):
    """Return a store with an empty study of this name: one database for all tests of a process,
    since making one takes seconds."""
    return tracking.open_store(None, name, copy_store(_spare() / "mlflow"))


def cache() -> str:
    """Return a stage cache that holds the demo corpus."""
    return str(_spare() / "cache")
