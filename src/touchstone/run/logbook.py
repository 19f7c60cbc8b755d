"""The logbook: what a cell yields becomes the artefacts, metrics, inputs and model of its MLflow
run.

Text of restricted corpora is replaced by digests unless `tracking.log_restricted_text` says
otherwise. Does not decide what is logged (`pipeline.Cell` holds it), and does not open stores or
end sweeps (tracking.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import TraceTagKey

from touchstone.digest import digest
from touchstone.generate.prompts import Prompt
from touchstone.generate.stages import Generated
from touchstone.llm.guard import publishable
from touchstone.llm.usage import Usage
from touchstone.pipeline import Cell
from touchstone.pseudonyms import NOT_SHOWN, Pseudonyms
from touchstone.run import inputs
from touchstone.run.environment import standard_tags
from touchstone.run.logged_models import log_model
from touchstone.run.served import Served
from touchstone.run.traces import log_traces
from touchstone.source_table import TABLE
from touchstone.svg import confusion_svg
from touchstone.taxonomy import Taxonomy
from touchstone.tracking import (
    KIND,
    STATUS,
    Store,
    artifact_folder,
    end_run,
    entries,
    failing_clearly,
    start_run,
    supersede,
    where,
)

# generation stage -> templates of the prompt that it asks with, beside `system`
TEMPLATES = {
    **{source.name: (source.template,) for source in TABLE if source.template},
    "zero_shot": ("data_to_label",),
    "round_trip": ("data_to_label",),
    "entity_list": ("entity_list",),
}

# What this process has found in the store or put there: neither disappears from it while a sweep
# runs.
_generations: dict[tuple[str, str, str], str] = {}
_prompts: dict[tuple[str, str], Any] = {}


def log_cell(
    store: Store,
    run_id: str,
    cell: Cell,
    *,
    files: Mapping[str, str],
    prompt: Prompt | None,
    with_text: bool,
    with_model: bool,
    with_traces: bool = True,
    kind: str = "",
    taxonomy: Taxonomy | None = None,
    restricted: bool,
    pseudonyms: Pseudonyms | None,
) -> None:
    """Write everything a cell yields to its run, then mark the run FINISHED.

    Parameters
    ----------
    files : artefact path -> text: the composed config, overrides, git state, environment.
    prompt : registered (once per wording) and linked where the cell used an LLM.
    with_text : whether example text and ids may be written; False replaces them by keyed digests.
    pseudonyms : the key of those digests; None only with_text.
    with_model : whether the classifier is logged; never without with_text, since a vocabulary is
        text.
    with_traces : whether the LLM's requests are logged as traces, see traces.py.
    kind, taxonomy : of the task; what the model predicts is named by them.
    restricted : a note on the run.
    """
    with artifact_folder(store, run_id) as folder:
        for name, text in files.items():
            _write(folder / name, text)
        for name, table in cell.tables.items():
            _write(
                folder / "tables" / f"{name}.csv",
                publishable(table, with_text, pseudonyms).to_csv(index=False),
            )
        (folder / "predictions").mkdir(exist_ok=True)
        for name, predictions in {"predictions": cell.predictions, **at_sites(cell)}.items():
            publishable(predictions, with_text, pseudonyms).to_parquet(
                folder / "predictions" / f"{name}.parquet", index=False
            )
        (folder / "datasets").mkdir(exist_ok=True)
        for context, data in cell.datasets.items():
            publishable(data.frame, with_text, pseudonyms).to_parquet(
                folder / "datasets" / f"{context}.parquet", index=False
            )
        tables = {
            f"tables/{name}.json": publishable(cell.tables[name], with_text, pseudonyms)
            for name in ("composition", "quarantine")
            if name in cell.tables
        }
        tables["predictions.json"] = publishable(cell.predictions, with_text, pseudonyms)
        shown = inputs.write_tables(folder, tables)
        if cell.generated:
            _write(folder / "prompts" / "example.md", _messages(cell.generated, with_text))
        if "confusion" in cell.tables:
            _write(folder / "figures" / "confusion.svg", confusion_svg(cell.tables["confusion"]))
    for generated in cell.generated:
        log_generation(
            store,
            generated,
            with_text=with_text,
            prompt=prompt,
            with_traces=with_traces,
            restricted=restricted,
            pseudonyms=pseudonyms,
        )
    store.client.log_inputs(
        run_id,
        [
            inputs.described(data, context, _uri(store, run_id, f"datasets/{context}.parquet"))
            for context, data in cell.datasets.items()
        ],
    )
    numbers = entries(_numbers(cell))
    if with_model and with_text and cell.model is not None and taxonomy is not None:
        name = store.client.get_run(run_id).info.run_name
        model_id = log_model(store, run_id, name, Served(cell.model, kind, taxonomy))
        numbers = _of_model(numbers, model_id, cell)
    used = [stage.stage for stage in cell.generated]
    tags = [
        RunTag(name, value[:5000])
        for name, value in (
            _tags(cell, restricted) | shown | _prompt_links(store, prompt, used)
        ).items()
    ]
    store.client.log_batch(run_id, metrics=numbers, tags=tags)
    end_run(store, run_id, "FINISHED")


def _uri(store: Store, run_id: str, path: str) -> str:
    return f"{store.location}/{run_id}/artifacts/{path}"


def _of_model(numbers: list[Metric], model_id: str, cell: Cell) -> list[Metric]:
    """Return the metrics with the model that earned those on the test set, and that set."""
    test = cell.datasets.get("test")
    place = (
        {"dataset_name": test.name, "dataset_digest": test.digest[: inputs.DIGEST]} if test else {}
    )
    return [
        Metric(one.key, one.value, one.timestamp, one.step, model_id=model_id, **place)
        if one.key.startswith("test/")
        else one
        for one in numbers
    ]


def at_sites(cell: Cell) -> dict[str, Any]:
    """Return the predictions at each site by the name of their file."""
    return {f"site_{name}": predictions for name, predictions in cell.sites.items()}


def log_generation(
    store: Store,
    generated: Generated,
    *,
    with_text: bool,
    prompt: Prompt | None,
    with_traces: bool = True,
    restricted: bool,
    pseudonyms: Pseudonyms | None,
) -> str:
    """Log a generated data set as a run of its own, once per content and answers; return the run's
    id. Two prompts may give the same labels, and a bundle needs the answers of both."""
    data = generated.dataset
    keys = data.provenance.get("answer_keys", [])  # what a recording needs to replay it
    if not with_text and pseudonyms is not None:
        keys = [pseudonyms.request(key) for key in keys]
    tags = {
        KIND: "generation",
        "touchstone.dataset": data.digest,
        "touchstone.answers": digest({"answers": sorted(keys)}),
    }
    place = (store.uri, data.digest, tags["touchstone.answers"])
    if place in _generations:
        return _generations[place]
    with FileLock(str(store.folder / "locks" / f"generation-{data.digest[:16]}.lock")):
        runs = store.client.search_runs([store.experiment_id], where(tags))
        done = next((run for run in runs if run.info.status == "FINISHED"), None)
        if done is not None:
            return _generations.setdefault(place, done.info.run_id)
        for run in runs:
            supersede(store, run)
        provenance = {
            key: value
            for key, value in data.provenance.items()
            if not isinstance(value, (list, dict))
        }
        run_id = start_run(
            store,
            f"{data.provenance['stage']}|{data.provenance['prompt']}|{data.provenance['model']}"[
                :60
            ],
            tags=standard_tags() | tags,
            params={"dataset": data.name, "digest": data.digest, **provenance},
        )
        with failing_clearly(store, run_id, restricted), artifact_folder(store, run_id) as folder:
            publishable(data.frame, with_text, pseudonyms).to_parquet(
                folder / "examples.parquet", index=False
            )
            _write(
                folder / "quarantine.csv",
                publishable(generated.quarantine, with_text, pseudonyms).to_csv(index=False),
            )
            tables = {
                "examples.json": publishable(data.frame, with_text, pseudonyms),
                "quarantine.json": publishable(generated.quarantine, with_text, pseudonyms),
            }
            shown = inputs.write_tables(folder, tables)
            _write(folder / "prompt.md", _messages((generated,), with_text))
            _write(folder / "answers.json", json.dumps(keys))
        with failing_clearly(store, run_id, restricted):
            usage = {f"llm/{name}": value for name, value in _usage(generated.usage).items()}
            numbers = {**usage, "n_examples": len(data), "n_quarantined": len(generated.quarantine)}
            links = _prompt_links(store, prompt, [generated.stage])
            said = [RunTag(name, value) for name, value in (links | shown).items()]
            store.client.log_batch(run_id, metrics=entries(numbers), tags=said)
            store.client.log_inputs(
                run_id,
                [inputs.described(data, "generated", _uri(store, run_id, "examples.parquet"))],
            )
            if with_traces and not restricted and generated.exchanges:
                linked = json.loads(links.get(TraceTagKey.LINKED_PROMPTS, "[]"))
                log_traces(store, run_id, generated.exchanges, linked)
            end_run(store, run_id, "FINISHED")
        return _generations.setdefault(place, run_id)


def _numbers(cell: Cell) -> dict[str, float]:
    """Return a cell's metrics by their names in the store: test/..., dev/..., folds/..., n_... and
    llm/... (summed over its stages)."""
    elsewhere = ("n_", "dev/", "site/", "subgroup/", "folds/")
    values = {
        name if name.startswith(elsewhere) else f"test/{name}": value
        for name, value in cell.metrics.items()
    }
    for generated in cell.generated:
        for name, value in _usage(generated.usage).items():
            values[f"llm/{name}"] = values.get(f"llm/{name}", 0) + value
    return values


def _tags(cell: Cell, restricted: bool) -> dict[str, str]:
    tags = {f"touchstone.dataset.{context}": data.digest for context, data in cell.datasets.items()}
    tags |= {f"touchstone.generation.{made.stage}": made.dataset.digest for made in cell.generated}
    tags |= {"touchstone.warnings": " | ".join(cell.warnings)} if cell.warnings else {}
    served = sorted({model for made in cell.generated for model in made.usage.served_models})
    tags |= {"touchstone.served_models": ", ".join(served)} if served else {}
    return tags | {STATUS: "completed", "touchstone.restricted": str(restricted).lower()}


def _usage(usage: Usage) -> dict[str, float]:
    """Return the counts and the cost of a usage; an unknown cost is left out, never 0."""
    return {
        field.name: value
        for field in fields(usage)
        if isinstance(value := getattr(usage, field.name), (int, float))
    }


def _templates_of(stages: Iterable[str]) -> set[str]:
    """Return the templates that generation stages use; parts of a stage are named `STAGE/...`."""
    used = {name for stage in stages for name in TEMPLATES.get(stage.split("/")[0], ())}
    return used | {"system"}


def _prompt_links(store: Store, prompt: Prompt | None, stages: Iterable[str]) -> dict[str, str]:
    """Return the tag that links the templates that these stages used to a run, as MLflow's
    `link_prompt_version_to_run` sets it one by one."""
    if prompt is None:
        return {}
    links = []
    for stage in sorted(_templates_of(stages) & set(prompt.templates)):
        identity = digest({"template": prompt.templates[stage], "version": prompt.version})
        place = (store.uri, f"{prompt.name}.{prompt.family}.{stage}/{identity}")
        if place not in _prompts:
            tags = {
                "touchstone.digest": identity,
                "touchstone.version": str(prompt.version),
                "touchstone.prompt": prompt.digest,
            }
            name = f"{prompt.name}.{prompt.family}.{stage}"
            message = f"version {prompt.version}"
            _prompts[place], _ = registered(store, name, prompt.templates[stage], tags, message)
        links.append({"name": _prompts[place].name, "version": str(_prompts[place].version)})
    return {TraceTagKey.LINKED_PROMPTS: json.dumps(links)}


def registered(
    store: Store, name: str, template: Any, tags: Mapping[str, str], message: str
) -> tuple[Any, bool]:
    """Return a template's version in the registry, and whether it is new: it is registered unless
    the latest version has the same text, told by the tag `touchstone.digest`."""
    with FileLock(str(store.folder / "locks" / "prompts.lock")):
        try:
            latest = store.client.load_prompt(f"prompts:/{name}@latest")
        except MlflowException:
            latest = None
        if latest is not None and latest.tags.get("touchstone.digest") == tags["touchstone.digest"]:
            return latest, False
        # Jinja blocks stay as they are: MLflow only knows {{ variables }}, the rest is text to it
        entry = store.client.register_prompt(
            name, template, commit_message=message, tags=dict(tags)
        )
        # the wording of the version that the YAML states, e.g. `wording-1`, whatever came after
        alias = f"wording-{tags['touchstone.version']}"
        store.client.set_prompt_alias(name, alias, entry.version)
        return entry, True


def _messages(generated: tuple[Generated, ...], with_text: bool) -> str:
    parts = []
    for stage in generated:
        parts.append(f"# {stage.stage}: the first request\n")
        for message in stage.messages:
            content = message["content"] if with_text else NOT_SHOWN
            parts.append(f"## {message['role']}\n\n{content}\n")
    return "\n".join(parts)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
