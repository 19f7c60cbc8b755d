"""What MLflow shows of a cell: data sets with their rows and sources, tables that its pages draw,
a model that names what it predicts, the prompts that were used, and the best cell by a name."""

import json

import mlflow
import numpy as np
import pandas as pd
import pytest
import report_store as made
from grid import run, table
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from touchstone import tracking
from touchstone.configuration import checked
from touchstone.data.examples import dataset
from touchstone.errors import UserError
from touchstone.generate.stages import Generated
from touchstone.llm.usage import Usage
from touchstone.reproduce.bundle import _answers_used
from touchstone.run import inputs, logbook, logged_models
from touchstone.run.conf_files import composed
from touchstone.run.served import Served
from touchstone.taxonomy import taxonomy_of


class Halves:
    """A classifier that is half sure of the first category, or of what it is told."""

    def __init__(self, n_classes):
        self.n_classes = n_classes

    def predict_proba(self, texts):
        scores = np.full((len(texts), self.n_classes), 0.5 / (self.n_classes - 1))
        scores[:, 1] = 0.5
        return scores


@pytest.fixture(scope="module")
def cell():
    store = made.empty_study("looked_at")
    mlflow.set_tracking_uri(store.uri)
    run_id = made.log(store, None, "mixture=gold_bronze", cache=made.cache(), model=Halves(10))
    return store, store.client.get_run(run_id)


@pytest.fixture(scope="module")
def taxonomy():
    return taxonomy_of(checked(composed([])).taxonomy)


def test_a_data_set_shows_its_rows_and_a_source_that_loads(cell):
    _, run = cell
    for item in run.inputs.dataset_inputs:
        tags = {tag.key: tag.value for tag in item.tags}
        rows = json.loads(item.dataset.profile)["num_rows"]
        assert rows == int(tags["touchstone.n_examples"]) > 0
        columns = json.loads(item.dataset.schema)["mlflow_colspec"]
        assert {"example_id", "text", "labels"} <= {column["name"] for column in columns}
        where = mlflow.data.get_source(item).load()
        assert len(pd.read_parquet(where)) == rows


def test_predictions_composition_and_generated_data_can_be_looked_at(cell):
    store, run = cell
    listed = [one["path"] for one in json.loads(run.data.tags[MLFLOW_LOGGED_ARTIFACTS])]
    assert listed == ["tables/composition.json", "tables/quarantine.json", "predictions.json"]
    folder = tracking.artifacts(store, run)
    shown = pd.read_json(folder / "predictions.json", orient="split")
    whole = pd.read_parquet(folder / "predictions" / "predictions.parquet")
    assert len(shown) == min(len(whole), inputs.MOST_ROWS)
    assert shown["example_id"].tolist() == whole["example_id"].tolist()[: len(shown)]
    bronze = run.data.tags["touchstone.generation.bronze"]
    (generation,) = tracking.search(
        store,
        f"tags.`touchstone.kind` = 'generation' and tags.`touchstone.dataset` = '{bronze}'",
    )
    examples = tracking.artifacts(store, generation) / "examples.json"
    assert len(pd.read_json(examples, orient="split")) == 240


def test_a_run_links_the_prompts_that_it_used_and_no_other(cell):
    store, run = cell
    links = json.loads(run.data.tags["mlflow.linkedPrompts"])
    assert {link["name"] for link in links} == {
        "guideline.sentences.label_to_data",
        "guideline.sentences.system",
    }
    named = store.client.get_prompt_version_by_alias("guideline.sentences.system", "wording-1")
    assert str(named.version) == next(
        link["version"] for link in links if link["name"].endswith("system")
    )


def test_a_logged_model_names_what_it_predicts_and_carries_its_scores(cell, taxonomy):
    store, run = cell
    served = Served(Halves(len(taxonomy.ids) + 1), "multiclass", taxonomy)
    mlflow.set_tracking_uri(store.uri)
    again = tracking.start_run(store, "gold · all", tags={}, params={})
    model_id = logged_models.log_model(store, again, "gold · all", served)
    logged = store.client.get_logged_model(model_id)
    assert logged.name == "gold_·_all" and logged.source_run_id == again
    loaded = mlflow.pyfunc.load_model(f"models:/{model_id}")
    told = loaded.predict(["MoCA 17/30.", "Lungs clear."])
    assert list(told.columns) == ["labels", *taxonomy.ids]
    assert told["labels"].tolist() == [[taxonomy.ids[0]]] * 2
    assert told[taxonomy.ids[0]].tolist() == [0.5, 0.5]
    frame = pd.DataFrame({"text": ["MoCA 17/30.", "Lungs clear."]})
    assert loaded.predict(frame).equals(told)
    outputs = [column.name for column in loaded.metadata.signature.outputs]
    assert outputs == list(told.columns)


def test_requirements_can_be_installed():
    named = logged_models.requirements()
    assert all("==" in line for line in named) and not any("touchstone" in line for line in named)
    assert {"mlflow", "numpy", "pandas"} <= {line.partition("==")[0] for line in named}


def test_the_best_cell_is_registered_as_champion_again_and_again(cell, taxonomy):
    store, _ = cell
    served = Served(Halves(len(taxonomy.ids) + 1), "multiclass", taxonomy)
    for version in ("1", "2"):
        run_id = tracking.start_run(store, f"cell {version}", tags={}, params={})
        logged_models.log_model(store, run_id, "cell", served)
        best = {"ad_multiclass": store.client.get_run(run_id)}
        (line,) = logged_models.register(store, "alzheimer", best)
        assert line == (
            f"registered: models:/alzheimer@champion is version {version}, cell {version}"
        )
        assert store.client.get_model_version_by_alias("alzheimer", "champion").run_id == run_id


def test_a_name_for_the_registry_without_logged_models_is_refused_at_once(tmp_path):
    done = run(
        *("-m", "mixture=gold", "tracking.register=alzheimer", "tracking.log_models=false"),
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: tracking.register=alzheimer: needs tracking.log_models=true, since what is "
        "registered is a logged model"
    )


def test_a_best_cell_without_a_model_cannot_be_registered(cell):
    store, _ = cell
    run = store.client.get_run(tracking.start_run(store, "no model", tags={}, params={}))
    with pytest.raises(UserError, match="has no logged model .*tracking.log_models=false"):
        logged_models.register(store, "alzheimer", {"ad_multiclass": run})


def test_scores_of_the_test_set_belong_to_the_model_and_to_that_set(cell):
    _, run = cell
    store = cell[0]
    (output,) = run.outputs.model_outputs
    logged = store.client.get_logged_model(output.model_id)
    assert logged.name.startswith("gold_bronze_·_")
    scores = {metric.key: metric for metric in logged.metrics}
    assert scores["test/score"].value == run.data.metrics["test/score"]
    assert "n_train" not in scores and not any(name.startswith("dev/") for name in scores)
    (test,) = [one for one in run.inputs.dataset_inputs if one.dataset.name == "test"]
    assert scores["test/score"].dataset_digest == test.dataset.digest


def test_two_prompts_that_give_the_same_labels_are_two_generations_with_their_answers(tmp_path):
    """A bundle needs the answers of both: the second alone could not be replayed."""
    store = tracking.open_store(None, "twice", tmp_path / "mlflow")
    settings = {"with_text": True, "prompt": None, "restricted": False, "pseudonyms": None}

    def generation(prompt: str, keys: list[str], failed: int = 0) -> Generated:
        rows = table(("p1", "Forgets names.", ["memory"]), source="silver", split="")
        made = dataset(rows, "silver", stage="silver", prompt=prompt, model="m", answer_keys=keys)
        quarantine = pd.DataFrame(columns=["stage", "key", "reason", "text"])
        return Generated("silver", made, quarantine, Usage(failed=failed), (), (), False)

    first, second = generation("minimal", ["a" * 64]), generation("guideline", ["b" * 64])
    assert first.dataset.digest == second.dataset.digest
    runs = {logbook.log_generation(store, one, **settings) for one in (first, second, first)}
    assert len(runs) == 2
    tags = {"touchstone.generation.silver": first.dataset.digest}
    cell_id = tracking.start_run(store, "gold_silver", tags=tags, params={})
    used = _answers_used(store, store.client.get_run(cell_id))
    assert used == {"a" * 64, "b" * 64}
    logbook.log_generation(store, generation("fewshot", ["c" * 64], failed=3), **settings)
    with pytest.raises(UserError, match=r"3 requests of .*fewshot.* given up \(llm.tolerate\)"):
        _answers_used(store, store.client.get_run(cell_id))
