"""The logbook: what a cell yields becomes the artefacts, metrics, inputs and model of its MLflow
run.

Text of restricted corpora is replaced by digests unless `tracking.log_restricted_text` says
otherwise. Does not decide what is logged (`pipeline.Cell` holds it), and does not open stores or
end sweeps (tracking.py).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from filelock import FileLock
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.entities import DatasetInput, InputTag, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import TraceTagKey
from mlflow.utils import environment

from touchstone.data.examples import Dataset
from touchstone.digest import digest
from touchstone.generate.prompts import Prompt
from touchstone.generate.stages import Generated
from touchstone.llm.guard import publishable
from touchstone.llm.usage import Usage
from touchstone.pipeline import Cell
from touchstone.pseudonyms import NOT_SHOWN, Pseudonyms
from touchstone.svg import confusion_svg
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
)

# What this process has found in the store or put there: neither disappears from it while a sweep
# runs.
_generations: dict[tuple[str, str], str] = {}
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
            restricted=restricted,
            pseudonyms=pseudonyms,
        )
    store.client.log_inputs(
        run_id, [_input(data, context) for context, data in cell.datasets.items()]
    )
    if with_model and with_text and cell.model is not None:
        _log_model(store, run_id, cell.model)
    tags = [
        RunTag(name, value[:5000])
        for name, value in (_tags(cell, restricted) | _prompt_links(store, prompt)).items()
    ]
    store.client.log_batch(run_id, metrics=entries(_numbers(cell)), tags=tags)
    end_run(store, run_id, "FINISHED")


def at_sites(cell: Cell) -> dict[str, Any]:
    """Return the predictions at each site by the name of their file."""
    return {f"site_{name}": predictions for name, predictions in cell.sites.items()}


def log_generation(
    store: Store,
    generated: Generated,
    *,
    with_text: bool,
    prompt: Prompt | None,
    restricted: bool,
    pseudonyms: Pseudonyms | None,
) -> str:
    """Log a generated data set as a run of its own, once per content; return the run's id."""
    made = generated.dataset
    place = (store.uri, made.digest)
    if place in _generations:
        return _generations[place]
    with FileLock(str(store.folder / "locks" / f"generation-{made.digest[:16]}.lock")):
        filters = f"tags.`touchstone.dataset` = '{made.digest}' and tags.`{KIND}` = 'generation'"
        found = store.client.search_runs([store.experiment_id], filters)
        done = next((run for run in found if run.info.status == "FINISHED"), None)
        if done is not None:
            return _generations.setdefault(place, done.info.run_id)
        for run in found:
            supersede(store, run)
        provenance = {
            key: value
            for key, value in made.provenance.items()
            if not isinstance(value, (list, dict))
        }
        run_id = start_run(
            store,
            f"{made.provenance['stage']}|{made.provenance['prompt']}|{made.provenance['model']}"[
                :60
            ],
            tags={KIND: "generation", "touchstone.dataset": made.digest},
            params={"dataset": made.name, "digest": made.digest, **provenance},
        )
        with failing_clearly(store, run_id, restricted), artifact_folder(store, run_id) as folder:
            publishable(made.frame, with_text, pseudonyms).to_parquet(
                folder / "examples.parquet", index=False
            )
            _write(
                folder / "quarantine.csv",
                publishable(generated.quarantine, with_text, pseudonyms).to_csv(index=False),
            )
            _write(folder / "prompt.md", _messages((generated,), with_text))
            keys = made.provenance.get("answer_keys", [])
            if not with_text and pseudonyms is not None:
                keys = [pseudonyms.request(key) for key in keys]
            # what a recording needs to replay it
            _write(folder / "answers.json", json.dumps(keys))
        with failing_clearly(store, run_id, restricted):
            usage = {f"llm/{name}": value for name, value in _usage(generated.usage).items()}
            numbers = {**usage, "n_examples": len(made), "n_quarantined": len(generated.quarantine)}
            tags = [RunTag(name, value) for name, value in _prompt_links(store, prompt).items()]
            store.client.log_batch(run_id, metrics=entries(numbers), tags=tags)
            store.client.log_inputs(run_id, [_input(made, "generated")])
            end_run(store, run_id, "FINISHED")
        return _generations.setdefault(place, run_id)


def _numbers(cell: Cell) -> dict[str, float]:
    """Return a cell's metrics by their names in the store: test/..., dev/..., n_... and llm/...
    (summed over its stages)."""
    values = {
        name if name.startswith(("n_", "dev/", "site/", "subgroup/")) else f"test/{name}": value
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


def _input(data: Dataset, context: str) -> DatasetInput:
    """Describe a data set by digest, schema and size. MLflow's own digest misses changes in long
    tables, so ours is given."""
    columns = pd.DataFrame(
        {
            "example_id": pd.Series(dtype=str),
            "source": pd.Series(dtype=str),
            "labels": pd.Series(dtype=str),
        }
    )
    source = CodeDatasetSource(tags={"touchstone": f"datasets/{context}.parquet of this run"})
    described = mlflow.data.from_pandas(
        columns, source=source, name=data.name, digest=data.digest[:36]
    )
    tags = [
        InputTag("mlflow.data.context", context),
        InputTag("touchstone.digest", data.digest),
        InputTag("touchstone.n_examples", str(len(data))),
    ]
    return DatasetInput(dataset=described._to_mlflow_entity(), tags=tags)


def _prompt_links(store: Store, prompt: Prompt | None) -> dict[str, str]:
    """Return the tag that links each template of the variant to a run, as MLflow's
    `link_prompt_version_to_run` sets it one by one."""
    if prompt is None:
        return {}
    links = []
    for stage in sorted(prompt.templates):
        identity = digest({"template": prompt.templates[stage], "version": prompt.version})
        place = (store.uri, f"{prompt.name}.{prompt.family}.{stage}/{identity}")
        if place not in _prompts:
            _prompts[place] = _registered(store, prompt, stage, identity)
        links.append({"name": _prompts[place].name, "version": str(_prompts[place].version)})
    return {TraceTagKey.LINKED_PROMPTS: json.dumps(links)}


def _registered(store: Store, prompt: Prompt, stage: str, identity: str) -> Any:
    """Return the template's version in the registry, after registering it unless the latest version
    has the same text."""
    name = f"{prompt.name}.{prompt.family}.{stage}"
    with FileLock(str(store.folder / "locks" / "prompts.lock")):
        try:
            latest = store.client.load_prompt(f"prompts:/{name}@latest")
        except MlflowException:
            latest = None
        if latest is not None and latest.tags.get("touchstone.digest") == identity:
            return latest
        tags = {
            "touchstone.digest": identity,
            "touchstone.version": str(prompt.version),
            "touchstone.prompt": prompt.digest,
        }
        # Jinja blocks stay as they are: MLflow only knows {{ variables }}, the rest is text to it
        return store.client.register_prompt(
            name, prompt.templates[stage], commit_message=f"version {prompt.version}", tags=tags
        )


def _log_model(store: Store, run_id: str, model: Any) -> None:
    """Log the classifier by `Model.log`, which takes a run; `pyfunc.log_model` wants it active, and
    the run is finished on leaving that."""
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from touchstone import plugins
    from touchstone.models import serving

    own = plugins.own_files((getattr(model, "target", ""), None))
    mlflow.set_experiment(experiment_id=store.experiment_id)  # the logged model's, too
    with (
        TemporaryDirectory() as temporary,
        warnings.catch_warnings(),
        _without_search_of_packages(),
    ):
        warnings.filterwarnings(
            "ignore", "(?s).*input example"
        )  # it would be a sentence of the corpus
        Model.log(
            artifact_path=None,
            name="model",
            flavor=mlflow.pyfunc,
            run_id=run_id,
            loader_module="touchstone.models.serving",
            data_path=str(serving.save(model, Path(temporary))),
            signature=ModelSignature(inputs=Schema([ColSpec(DataType.string, "text")])),
            pip_requirements=["touchstone-nlp"],
            code_paths=sorted({str(plugins.code_root(file)) for file in own}) or None,
        )


@contextmanager
def _without_search_of_packages() -> Iterator[None]:
    """Keep MLflow from reading the file list of every installed package, half a second, to check
    that touchstone and mlflow are there."""
    name = "warn_dependency_requirement_mismatches"
    check = getattr(
        environment, name, None
    )  # private: where MLflow renames it, it just takes longer
    if check is not None:
        setattr(environment, name, lambda requirements: None)
    try:
        yield
    finally:
        if check is not None:
            setattr(environment, name, check)


def _messages(generated: tuple[Generated, ...], with_text: bool) -> str:
    parts = []
    for made in generated:
        parts.append(f"# {made.stage}: the first request\n")
        for message in made.messages:
            content = message["content"] if with_text else NOT_SHOWN
            parts.append(f"## {message['role']}\n\n{content}\n")
    return "\n".join(parts)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
