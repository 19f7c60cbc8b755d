"""The second paper end to end: zero-shot, silver, bronze and gold cells for entities and relations,
through run.py."""

import json
import re

import pandas as pd
import pytest
from fake_annotator import annotate, invented, small_corpora
from fake_llm_server import FakeLLM
from preloaded import completed as run

from touchstone import tracking
from touchstone.cli import main as touchstone
from touchstone.report.grid import collect
from touchstone.report.study import study_of

SMALL = (
    "generation.bronze_per_category=12",
    "generation.bronze_none=6",
    "generation.sentences_per_request=6",
    "generation.entities_per_type=24",
    "task.gold_sentences=12",
    "task.dev_fraction=0.2",
    "corpus.pool.reserve=null",
    "tracking.log_models=false",
    "tracking.experiment=mining",
)
MIXTURES = ("baseline/zero_shot", "silver", "bronze", "gold_bronze")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_corpora(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, data):
    """The preset with silver too, answered by a model behind HTTP: the folder, what was printed,
    and the endpoint."""
    folder = tmp_path_factory.mktemp("mining")
    with FakeLLM(answer=annotate) as server:
        done = run(
            "-m",
            "+experiment=synthetic_mining",
            f"mixture={','.join(MIXTURES)}",
            "task=ncbi_disease,gad",
            "task.llm_test_sentences=9",
            "llm=openai",
            f"llm.endpoint={server.url}",
            "llm.model=fake",
            "llm.api_key_env=FAKE_KEY",
            *SMALL,
            cwd=folder,
            TOUCHSTONE_DATA=str(data),
            FAKE_KEY="k",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return folder, done, server.url


def cells(folder):
    store = tracking.open_store(None, "mining", folder / "mlflow")
    found = store.client.search_runs([store.experiment_id], f"tags.`{tracking.KIND}` = 'cell'")
    last = sorted(found, key=lambda cell: cell.info.start_time)
    return store, {(cell.data.params["task"], cell.data.params["mixture"]): cell for cell in last}


def artifact(store, cell, path):
    return tracking.artifacts(store, cell) / path


def test_zero_shot_silver_and_bronze_cells_finish_for_entities_and_relations(sweep):
    folder, done, _ = sweep
    _, found = cells(folder)
    assert {cell.info.status for cell in found.values()} == {"FINISHED"}
    assert set(found) == {
        (task, mixture.rpartition("/")[2])
        for task in ("ncbi_disease", "gad")
        for mixture in MIXTURES
    }
    # the model knows every disease and relation of the corpora, so it is right wherever it is asked
    # directly
    assert (
        found["ncbi_disease", "zero_shot"].data.metrics["test/f1"] == 1
        and found["gad", "zero_shot"].data.metrics["test/f1"] == 1
    )
    assert (
        "test/relaxed_f1" in found["ncbi_disease", "bronze"].data.metrics
        and "test/auc" in found["gad", "bronze"].data.metrics
    )


def test_zero_shot_is_scored_on_the_seeded_sample_and_says_so(sweep):
    folder, done, _ = sweep
    said = " ".join(done.stdout.split())
    assert "warning: scored on a seeded sample of 9 of 12 test sentences" in said
    for task in ("ncbi_disease", "gad"):
        assert f"{task}, zero_shot: a seeded sample of 9 test sentences" in said
    store, found = cells(folder)
    for task in ("ncbi_disease", "gad"):
        cell = found[task, "zero_shot"]
        assert (
            cell.data.params["llm_test_sentences"] == "9"
            and cell.data.params["classifier"] == "llm"
            and cell.data.metrics["n_test"] == 9
        )
        asked = tracking.table(store, cell.info.run_id, "asked").iloc[0]
        assert (
            asked["test_sentences"],
            asked["asked"],
            asked["answered"],
            asked["sample_seed"],
        ) == (12, 9, 9, 0)
        assert "seeded sample of 9 of 12 test sentences" in cell.data.tags["touchstone.warnings"]
        sample = set(
            pd.read_parquet(artifact(store, cell, "predictions/predictions.parquet"))["example_id"]
        )
        whole = set(
            pd.read_parquet(
                artifact(store, found[task, "bronze"], "predictions/predictions.parquet")
            )["example_id"]
        )
        assert len(sample) == 9 and len(whole) == 12 and sample < whole


def test_training_sets_hold_the_marked_and_judged_sentences(sweep):
    folder, _, _ = sweep
    store, found = cells(folder)
    silver = pd.read_parquet(
        artifact(store, found["ncbi_disease", "silver"], "datasets/training.parquet")
    )
    assert len(silver) == 28 and set(silver["source"]) == {
        "silver"
    }  # 40 training sentences without the 12 of the gold
    assert all(
        row.text[span["start"] : span["end"]] in row.text and span["type"] == "Disease"
        for row in silver.itertuples()
        for span in row.spans
    )
    mixed = pd.read_parquet(
        artifact(store, found["gad", "gold_bronze"], "datasets/training.parquet")
    )
    assert (
        set(mixed["source"]) == {"gold", "bronze"}
        and mixed.loc[mixed["source"] == "bronze", "text"].str.contains("@GENE$", regex=False).all()
    )


def test_the_entity_list_is_a_data_set_of_its_own(sweep):
    folder, _, _ = sweep
    store, found = cells(folder)
    stages = {
        made.data.params["stage"]: made
        for made in store.client.search_runs(
            [store.experiment_id], f"tags.`{tracking.KIND}` = 'generation'"
        )
    }
    assert {"entity_list", "bronze", "silver", "zero_shot"} <= set(stages)
    listed = pd.read_parquet(artifact(store, stages["entity_list"], "examples.parquet"))
    assert 6 <= len(listed) <= 24 and listed["text"].is_unique
    assert (
        found["ncbi_disease", "bronze"].data.tags["touchstone.generation.entity_list"]
        == stages["entity_list"].data.tags["touchstone.dataset"]
    )


def test_systems_that_read_nothing_stand_under_the_relation_rows(sweep):
    folder, done, _ = sweep
    store, found = cells(folder)
    assert (
        "always positive" in done.stdout
        and "majority class" in done.stdout
        and "published zero_shot" in done.stdout
    )
    assert "mean over the paper's relation data sets" in " ".join(done.stdout.split())
    trivial = tracking.table(store, found["gad", "bronze"].info.run_id, "trivial").set_index(
        ["system", "metric"]
    )["value"]
    # 6 of 12 test sentences are related: always saying so has precision 1/2, recall 1 and F1 2/3
    assert (
        trivial["always_positive", "precision"] == 0.5 and trivial["always_positive", "recall"] == 1
    )
    assert (
        trivial["always_positive", "f1"] == pytest.approx(2 / 3)
        and trivial["always_positive", "auc"] == 0.5
    )


def test_recordings_beside_the_shipped_ones_replay_the_cells_offline(sweep, data, tmp_path):
    """PATH,PATH: one with the requests' text, one with keys only; the same numbers, and nothing is
    sent."""
    folder, _, endpoint = sweep
    cache = str(folder / ".cache")
    whole, keys_only = tmp_path / "whole.jsonl", tmp_path / "keys.jsonl"
    assert (
        touchstone(["recording", "export", str(whole), "--cache", cache, "--stage", "zero_shot"])
        == 0
    )
    assert (
        touchstone(
            [
                "recording",
                "export",
                str(keys_only),
                "--cache",
                cache,
                "--stage",
                "data_to_label",
                "--without-requests",
            ]
        )
        == 0
    )
    assert "request" in json.loads(
        whole.read_text().splitlines()[0]
    ) and "request" not in json.loads(keys_only.read_text().splitlines()[0])
    done = run(
        "-m",
        "mixture=baseline/zero_shot,silver,bronze",
        "task=ncbi_disease,gad",
        "task.llm_test_sentences=9",
        "llm=recorded",
        f"llm.endpoint={endpoint}",
        "llm.model=fake",
        f"llm.recording={whole},{keys_only}",
        *SMALL,
        cwd=tmp_path,
        TOUCHSTONE_DATA=str(data),
    )
    _, before = cells(folder)
    _, after = cells(tmp_path)
    for task in ("ncbi_disease", "gad"):
        for mixture in ("zero_shot", "silver"):
            assert (
                after[task, mixture].data.metrics["test/f1"]
                == before[task, mixture].data.metrics["test/f1"]
            )
        assert after[task, "bronze"].info.status == "FAILED"
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len([one for one in lines if one.startswith("[") and "· not recorded" in one]) == 2
    # in the table of each task too, and one command that exports the requests of both cells
    assert done.stdout.count("not recorded") == 5
    assert (
        "2 of 6 cells are not recorded. Export all their requests: python run.py -m" in done.stdout
        and "llm=batch_file" in done.stdout
    )


def test_the_shipped_recordings_of_the_public_corpora_are_complete(data, tmp_path):
    """Label-to-data requests hold no corpus text, so the bronze of the presets is shipped whatever
    the corpus files hold."""
    sizes = {"ncbi_disease": 240, "gad": 240, "hoc": 360}
    done = run(
        "-m",
        f"task={','.join(sizes)}",
        "mixture=bronze",
        "task.gold_patients=null",
        "task.gold_sentences=null",
        "tracking.log_models=false",
        "tracking.experiment=mining",
        cwd=tmp_path,
        TOUCHSTONE_DATA=str(data),
    )
    store, found = cells(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for task, size in sizes.items():
        assert (
            tracking.table(store, found[task, "bronze"].info.run_id, "composition").iloc[0][
                "available"
            ]
            == size
        )


def test_requests_for_entities_are_answered_in_two_rounds(data, tmp_path):
    """The exporter asks for names first and says that sentences follow; answered by hand, the third
    run finishes."""
    command = ("task=ncbi_disease", "mixture=bronze", "llm=batch_file", *SMALL)

    def go():
        done = run(*command, cwd=tmp_path, TOUCHSTONE_DATA=str(data))
        assert done.returncode == 0, done.stdout + done.stderr
        waiting = [
            json.loads(line)
            for path in sorted(tmp_path.glob("batch/requests*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        return done.stdout, waiting

    def answer(waiting, name):
        lines = [
            json.dumps({"custom_id": line["custom_id"], "text": annotate(line["body"])})
            for line in waiting
        ]
        (tmp_path / "batch" / name).write_text("\n".join(lines) + "\n")

    told, first = go()
    assert "second round" in told and all(
        "List names" in line["body"]["messages"][1]["content"] for line in first
    )
    answer(first, "answers-1.jsonl")
    told, second = go()
    fresh = [
        line for line in second if line["custom_id"] not in {line["custom_id"] for line in first}
    ]
    assert (
        "second round" not in told
        and len(fresh) == 3
        and all("Write 6 sentences" in line["body"]["messages"][1]["content"] for line in fresh)
    )
    answer(fresh, "answers-2.jsonl")
    told, _ = go()
    assert "wait for answers" not in told
    _, found = cells(tmp_path)
    assert found["ncbi_disease", "bronze"].data.metrics["n_train"] == 18


def test_an_estimate_covers_names_and_sentences(data, tmp_path):
    done = run(
        "task=ncbi_disease",
        "mixture=bronze",
        "llm=openai",
        "llm.estimate_only=true",
        *SMALL,
        cwd=tmp_path,
        TOUCHSTONE_DATA=str(data),
    )
    assert (
        done.returncode == 0
        and re.search(r"entity_list +1 ", done.stdout)
        and re.search(r"label_to_data +3 ", done.stdout)
    ), done.stdout + done.stderr


def test_unanswered_test_sentences_count_as_none_found(data, tmp_path):
    """The model refuses one of three requests, twice: its sentences are quarantined and scored as
    if nothing had been found."""

    def refusing(body):
        return (
            "I would rather not." if invented(205)[0] in str(body["messages"]) else annotate(body)
        )

    with FakeLLM(answer=refusing) as server:
        done = run(
            "task=ncbi_disease",
            "mixture=baseline/zero_shot",
            "llm=openai",
            f"llm.endpoint={server.url}",
            "llm.model=fake",
            "llm.api_key_env=FAKE_KEY",
            "generation.pool_sentences_per_request=4",
            *SMALL,
            cwd=tmp_path,
            TOUCHSTONE_DATA=str(data),
            FAKE_KEY="k",
        )
    assert done.returncode == 0, done.stdout + done.stderr
    store, found = cells(tmp_path)
    cell = found["ncbi_disease", "zero_shot"]
    assert (
        cell.data.metrics["n_test"] == 12
        and cell.data.metrics["test/precision"] == 1
        and cell.data.metrics["test/recall"] < 1
    )
    assert tracking.table(store, cell.info.run_id, "asked").iloc[0]["answered"] == 8
    assert "4 of 12 test sentences have no usable answer" in done.stdout


def test_the_means_over_data_sets_stand_beside_the_published_ones(sweep):
    folder, _, _ = sweep
    store, _ = cells(folder)
    tables = study_of(collect(store, "synthetic_mining")).tables
    scores = next(one for one in tables if one.name == "synthetic_mining_scores")
    rows = {row.labels[:2]: row.entries["F1"].value for row in scores.rows if "F1" in row.entries}
    assert rows["mean, entities", "bronze"] == rows["ncbi_disease", "bronze"]
    assert rows["mean, relations", "zero_shot"] == rows["gad", "zero_shot"]
    assert rows["published, entities", "bronze"] == pytest.approx(0.6399)
    names = [row.labels[0] for row in scores.rows]
    assert names.index("mean, entities") < names.index("published, entities")
    assert names.index("published, entities") < names.index("mean, relations")
