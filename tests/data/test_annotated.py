"""The rules by which annotated documents become sentences with labels and spans, and votes gold."""

from __future__ import annotations

import pytest
from grid import small_taxonomy

from touchstone.data.annotated import Document, Mention, table_of
from touchstone.data.annotators import Vote, settled, single
from touchstone.errors import UserError
from touchstone.schema import GoldFiles

TEXT = "She  forgets names and fell. He is well.\nFell again."


def at(mention: str, kind: str, *attributes: str, parts: int = 1) -> Mention:
    start = TEXT.index(mention)
    return Mention(start, start + len(mention), kind, attributes, parts)


def table(*mentions: Mention, segmented: bool = True, labels=(), **keys):
    document = Document("n1", TEXT, mentions, labels, where="n1.ann")
    files = GoldFiles(reader="brat", **keys)
    return table_of([document], files, small_taxonomy(), segmented=segmented)


def spans(frame) -> list[list[str]]:
    return [
        [f"{row.text[span['start'] : span['end']]}={span['type']}" for span in row.spans]
        for row in frame.itertuples()
    ]


def test_notes_are_cut_into_sentences_and_spans_follow_the_collapsed_text():
    frame, counted = table(at("forgets names", "memory"), at("Fell", "falls"))
    assert frame["text"].tolist() == ["She forgets names and fell.", "He is well.", "Fell again."]
    assert spans(frame) == [["forgets names=memory"], [], ["Fell=falls"]]
    assert counted == {"documents": 1, "sentences": 3, "labelled": 0, "entities": 2}


def test_of_overlapping_mentions_the_longest_stays_counted_and_told(caplog):
    frame, counted = table(at("forgets names", "memory"), at("names", "falls"))
    assert spans(frame)[0] == ["forgets names=memory"] and counted["overlapping"] == 1
    assert "1 mentions left out, since they overlap a longer one" in caplog.text


def test_sentences_that_a_mention_crosses_are_joined(caplog):
    frame, counted = table(at("fell. He", "falls"))
    assert frame["text"].tolist() == ["She forgets names and fell. He is well.", "Fell again."]
    assert spans(frame)[0] == ["fell. He=falls"] and counted["joined_sentences"] == 1
    assert "a mention crosses the border" in caplog.text


def test_white_space_at_the_edge_of_a_mention_is_left_out():
    frame, _ = table(at("  forgets names ", "memory"))
    assert spans(frame)[0] == ["forgets names=memory"]


def test_mentions_become_labels_of_the_sentence_in_which_they_begin():
    frame, counted = table(
        at("fell", "falls"), at("forgets", "memory"), at("Fell", "falls"), spans_as="labels"
    )
    assert frame["labels"].tolist() == [["memory", "falls"], [], ["falls"]]
    assert not frame["spans"].any() and counted["labelled"] == 2


def test_attributes_make_types_of_their_own_where_they_are_named(caplog):
    negated = at("fell", "Fall", "Negation")
    with pytest.raises(UserError, match=r'^n1.ann: no category "Fall/Negation"'):
        table(negated, attributes=["Negation"], label_map={"Fall": "falls"})
    frame, counted = table(
        negated, attributes=["Negation"], label_map={"Fall": "falls", "Fall/Negation": "none"}
    )
    assert spans(frame) == [[], [], []] and "unused_attributes" not in counted
    frame, counted = table(negated, label_map={"Fall": "falls"})
    assert counted["unused_attributes"] == {"Negation": 1}
    assert "corpus.gold.attributes=[Negation] makes types such as TYPE/Negation" in caplog.text


def test_a_label_of_a_whole_note_is_not_one_of_its_sentences():
    frame, _ = table(segmented=False, labels=("falls",))
    assert frame["labels"].tolist() == [["falls"]] and len(frame) == 1
    with pytest.raises(UserError, match="Label the whole text: corpus.gold.segment=false"):
        table(labels=("falls",))


def votes(*labels: tuple[str, ...], adjudicated: int | None = None) -> list[Vote]:
    return [
        Vote(f"a{number}", Document("n1", TEXT, labels=said), number == adjudicated)
        for number, said in enumerate(labels)
    ]


def gold(votes: list[Vote], annotator: str | None = None):
    result = settled([votes], annotator, "f.json")
    return (result.documents[0].labels if result.documents else None), result.counted


def test_what_most_annotators_gave_is_gold():
    labels, counted = gold(votes(("falls",), ("falls", "memory"), ()))
    assert labels == ("falls",) and counted["majority"] == 1 and counted["ties"] == []


def test_half_of_the_annotators_is_a_tie_left_out_and_listed(caplog):
    labels, counted = gold(votes(("falls",), ()))
    assert labels == () and counted["ties"] == ["n1"] and "(n1)" in caplog.text


def test_the_adjudicated_layer_is_gold_where_there_is_one():
    labels, counted = gold(votes((), (), ("memory",), adjudicated=2))
    assert labels == ("memory",) and counted["adjudicated"] == 1


def test_one_annotators_layer_can_be_taken():
    assert gold(votes(("falls",), ("memory",)), "a1")[0] == ("memory",)
    with pytest.raises(UserError, match='no annotator "a7".* There are: a0, a1'):
        gold(votes((), ()), "a7")


def test_agreement_is_over_texts_that_all_have_seen():
    frame = single([votes(("falls",), ()), votes(("memory",), ("memory",))[:1]])
    assert list(frame.columns) == ["a0", "a1"] and frame.to_numpy().tolist() == [[["falls"], []]]
