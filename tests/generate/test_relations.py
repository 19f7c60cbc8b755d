"""Generation for relations: sentences with two marked entities, and judging them in real
sentences."""

import json
from functools import lru_cache

import pytest
from grid import group, prompt_config, table
from hypothesis import given
from hypothesis import strategies as st

from touchstone.data.examples import check
from touchstone.generate.data_to_label import sentences as data_to_label
from touchstone.generate.label_to_data import relations
from touchstone.generate.prompts import prompt_of
from touchstone.generate.shots import mixed, shots
from touchstone.llm.protocol import ParseError, Request
from touchstone.schema import TaxonomyConfig
from touchstone.taxonomy import NONE, taxonomy_of


@lru_cache
def pairs():
    return taxonomy_of(group("taxonomy", "gene_disease", TaxonomyConfig))


@lru_cache
def prompt(name="guideline"):
    return prompt_of(prompt_config(name), pairs(), "relation")


def written(name="guideline"):
    return relations.requests(
        prompt(name), params={}, per_category=24, n_none=24, per_request=8, seed=0
    )


def one(category="related"):
    return Request((), context={"category": category, "numbers": {1: {}}, "group": "g"})


def answer(text, labels=("related",)):
    return json.dumps({"sentences": [{"id": 1, "text": text, "labels": list(labels)}]})


@pytest.mark.parametrize("name", ["minimal", "guideline", "guideline_fewshot"])
def test_positives_and_negatives_are_asked_for_in_equal_number_with_one_value_of_each_attribute(
    name,
):
    asked = written(name)
    assert [request.context["category"] for request in asked] == ["related"] * 3 + [NONE] * 3
    for request in asked:
        text = request.messages[1]["content"]
        assert "@GENE$ and @DISEASE$" in text and "mistaken for" not in text
        for slot in request.context["numbers"].values():
            assert set(pairs().variety) <= set(slot) and all(
                value in text for name, value in slot.items() if name != "mistaken_for"
            )


def test_facets_and_look_alikes_are_used_evenly_and_only_with_the_guideline():
    positive = [
        slot
        for request in written()
        if request.context["category"] == "related"
        for slot in request.context["numbers"].values()
    ]
    negative = [
        slot
        for request in written()
        if request.context["category"] == NONE
        for slot in request.context["numbers"].values()
    ]
    assert {slot["about"] for slot in positive} == set(pairs()["related"].facets)
    assert {slot["look_alike"] for slot in negative} == set(pairs().look_alikes)
    assert not any(
        "about" in slot or "look_alike" in slot
        for request in written("minimal")
        for slot in request.context["numbers"].values()
    )


def test_sentences_become_examples_with_the_relation_or_without():
    asked = [one(), one(NONE)]
    values = [
        relations.parse(asked[0], answer("@GENE$ raises  @DISEASE$ risk."), pairs()),
        relations.parse(asked[1], answer("@DISEASE$ of @GENE$.", ()), pairs()),
    ]
    frame = relations.bronze([asked[0]], [values[0]], ["k"])
    assert list(check(frame, pairs().ids)["labels"]) == [["related"]] and list(frame["text"]) == [
        "@GENE$ raises @DISEASE$ risk."
    ]
    assert list(relations.bronze([asked[1]], [values[1]], ["k"])["labels"]) == [[]]


@given(
    st.lists(
        st.sampled_from(["@GENE$", "@DISEASE$", "@CHEMICAL$", "risk", "GENE", "$", "@"]),
        min_size=1,
        max_size=8,
    )
)
def test_a_sentence_passes_exactly_if_it_holds_each_mark_once_and_no_other(words):
    right = (
        words.count("@GENE$") == 1 and words.count("@DISEASE$") == 1 and "@CHEMICAL$" not in words
    )
    try:
        relations.parse(one(), answer(" ".join(words)), pairs())
    except ParseError as error:
        assert not right and "@GENE$ and @DISEASE$, each exactly once" in str(error)
    else:
        assert right


@pytest.mark.parametrize(
    ("request_", "text", "said"),
    [
        (one(), answer("@GENE$ raises @DISEASE$.", ()), "must hold related"),
        (one(NONE), answer("@GENE$ raises @DISEASE$."), r"must be \[\]"),
        (one(), answer("@GENE$ raises @DISEASE$.", ("causes",)), "'causes' is no category"),
        (one(), "{", "ends in the middle"),
        (one(), answer("@GENE$ and @GENE$ raise @DISEASE$."), "id 1: the text must hold"),
    ],
)
def test_an_unusable_sentence_is_refused_with_the_reason(request_, text, said):
    with pytest.raises(ParseError, match=said):
        relations.parse(request_, text, pairs())


@pytest.mark.parametrize("name", ["minimal", "guideline", "guideline_fewshot"])
def test_real_sentences_are_judged_in_batches_whatever_their_documents(name):
    gold = table(
        ("a/0", "@GENE$ raises @DISEASE$.", ["related"]),
        ("b/0", "@GENE$ beside @DISEASE$.", []),
        ("c/0", "@DISEASE$ without @GENE$.", []),
    )
    chosen = mixed(shots(gold, pairs(), prompt(name).n_shots, 0), 0)
    (request,) = data_to_label.requests(
        gold, prompt(name), params={}, per_request=10, standalone=True, shots=chosen
    )
    text = request.messages[1]["content"]
    assert all(
        f"{number}. {sentence}" in text for number, sentence in enumerate(gold["text"], start=1)
    )
    assert ("@GENE$ raises @DISEASE$. -> related" in text) == (name == "guideline_fewshot")
    judged = json.dumps(
        {
            "sentences": [
                {"id": 1, "labels": ["related"], "confidence": "high"},
                *({"id": i, "labels": [], "confidence": "low"} for i in (2, 3)),
            ]
        }
    )
    value = data_to_label.parse(request, judged, pairs())
    assert [value[example_id].labels for example_id in gold["example_id"]] == [("related",), (), ()]
