"""Classifiers by configuration: every file of conf/classifier builds, nothing heavy is loaded
before, threads are held."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from sklearn.base import clone
from threadpoolctl import threadpool_info

from touchstone import schema
from touchstone.errors import UserError
from touchstone.models import build, limit_threads
from touchstone.models.threads import VARIABLES

CONF = Path(__file__).resolve().parents[2] / "conf"
NAMES = sorted(file.stem for file in (CONF / "classifier").glob("*.yaml"))


def configured(name: str, *overrides: str):
    schema.register()
    with initialize_config_dir(str(CONF), version_base=None):
        composed = compose(
            f"classifier/{name}", overrides=[f"classifier.{override}" for override in overrides]
        )
    return OmegaConf.to_object(composed.classifier)


def built(config, kind, n_classes=3, **options):
    return build(config, kind, n_classes, seed=7, threads=1, cache=Path("somewhere"), **options)


def test_all_the_classifiers_that_are_promised_are_there():
    promised = {"tfidf_logreg", "tfidf_svm", "minilm_logreg", "transformer", "tagger", "crf"}
    assert promised | {"pubmedbert", "biobert", "bio_clinicalbert", "roberta", "bert"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_builds_for_each_of_its_kinds(name):
    config = configured(name)
    assert config.name == name and config.kinds
    assert (
        (CONF / "classifier" / f"{name}.yaml")
        .read_text()
        .splitlines()[0]
        .endswith(f"classifier={name}")
    )
    for kind in config.kinds:
        estimator = built(config, kind)
        options = estimator.get_params()
        assert options["random_state"] == 7
        clone(estimator)  # __init__ only stores
        if kind != "ner":
            assert (options["kind"], options["n_classes"]) == (kind, 3)
        for field, value in vars(config).items():
            if field in options:
                assert options[field] == value, field


def test_an_override_reaches_the_estimator():
    assert built(configured("tfidf_logreg", "C=0.5"), "binary", 2).C == 0.5
    estimator = built(
        configured("tagger", "encoder=somewhere/else", "learning_rate=1e-3"),
        "ner",
        types=["Disease"],
    )
    assert (estimator.encoder, estimator.learning_rate, estimator.types, estimator.threads) == (
        "somewhere/else",
        1e-3,
        ["Disease"],
        1,
    )
    assert built(configured("minilm_logreg"), "binary", 2).cache_folder == Path("somewhere")


def test_a_task_that_the_classifier_cannot_do_names_those_it_can():
    with pytest.raises(UserError, match="classifier=crf cannot do binary tasks; it does ner"):
        built(configured("crf"), "binary")


def test_importing_models_loads_nothing_heavy():
    heavy = ["torch", "transformers", "sklearn", "pandas", "mlflow", "scipy"]
    code = (
        f"import touchstone.models, sys; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_linear_classifiers_do_not_load_torch():
    code = (
        "import sys; from touchstone.models.tfidf import TfidfClassifier; from "
        "touchstone.models.crf import CrfTagger; "
        "TfidfClassifier(kind='binary').fit(['a cat', 'a dog'], [0, 1]); print('torch' in "
        "sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_threads_are_limited_for_what_is_loaded_and_what_will_be(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "9")
    before = torch.get_num_threads()
    try:
        limit_threads(2)
        assert torch.get_num_threads() == 2
        assert all(os.environ[name] == "2" for name in VARIABLES)
        limit_threads(1)
        assert torch.get_num_threads() == 1
        assert all(library["num_threads"] == 1 for library in threadpool_info())
    finally:
        limit_threads(before)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        limit_threads(0)


@pytest.mark.parametrize("task", ["gad", "euadr"])
@pytest.mark.parametrize("mixture", ["gold", "gold_bronze"])
def test_relations_take_words_and_pairs_of_words_whatever_the_mixture(task, mixture):
    from report_store import composed

    from touchstone.configuration import checked

    chosen = checked(composed(f"task={task}", f"mixture={mixture}")).classifier
    assert (chosen.name, chosen.word_ngrams, chosen.char_ngrams) == ("tfidf_words_logreg", 2, 0)
