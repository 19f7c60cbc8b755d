"""Whatever is asked with text of a restricted corpus in it is marked, so that a plain export leaves
its answers out."""

from __future__ import annotations

from pathlib import Path

import pytest
from grid import group, prompt_config, small_taxonomy, table

from touchstone.data.examples import dataset
from touchstone.generate import stages
from touchstone.generate.prompts import prompt_of
from touchstone.schema import GenerationConfig, LLMConfig

TRAIN = table(
    ("t0", "Forgets her children's names.", ["memory"]),
    ("t1", "Fell in the bathroom last night.", ["falls"]),
    ("t2", "Ate her breakfast.", []),
    ("t3", "Fell at home and forgot to call.", ["falls", "memory"]),
)


class Asked(Exception):
    """Ends a stage where it would ask."""


def requests(monkeypatch, folder: Path, prompt: str, restricted: bool, stage) -> list:
    def ask(requests, *_, **__):
        raise Asked(requests)

    monkeypatch.setattr(stages, "ask", ask)
    setting = stages.Setting(
        prompt=prompt_of(prompt_config(prompt), small_taxonomy(), "multiclass"),
        llm=LLMConfig(name="x", model="x", backend="openai", endpoint="http://127.0.0.1:9/v1"),
        generation=group("generation", "default", GenerationConfig),
        cache=folder,
        corpus="mine",
        restricted=restricted,
    )
    with pytest.raises(Asked) as caught:
        stage(setting)
    return caught.value.args[0]


def bronze(setting):
    return stages.bronze(setting, TRAIN)


def round_trip(setting):
    return stages.round_trip(setting, dataset(TRAIN, "bronze", stage="bronze"))


def silver(setting):
    pool = TRAIN.assign(candidate=True, note_type="")
    return stages.silver(setting, [pool], TRAIN)


def zero_shot(setting):
    test = TRAIN.assign(note_type="")
    return stages.zero_shot(setting, test, test["text"] != "", TRAIN)


@pytest.mark.parametrize(
    ("stage", "prompt", "marked"),
    [
        (silver, "guideline", True),
        (silver, "guideline_fewshot", True),
        (zero_shot, "guideline", True),
        (bronze, "guideline", False),  # from definitions: no text of the corpus
        (bronze, "guideline_fewshot", True),
        (round_trip, "guideline", False),
        (round_trip, "guideline_fewshot", True),  # sentences written after the corpus's
    ],
)
def test_requests_that_hold_text_of_the_corpus_or_what_was_written_after_it_are_marked(
    tmp_path, monkeypatch, stage, prompt, marked
):
    private = requests(monkeypatch, tmp_path, prompt, True, stage)
    assert private and {request.restricted for request in private} == {marked}
    shown = any(text in str(r.messages) for r in private for text in TRAIN["text"])
    assert marked == shown or stage is round_trip, "the mark follows the text"
    public = requests(monkeypatch, tmp_path, prompt, False, stage)
    assert not any(request.restricted for request in public)
