"""Annotated documents as examples: sentences with their labels and spans, whatever tool made them.

A reader of a format yields `Document`s; here they are cut into sentences (by the file's own, or by
the product's segmenter), and annotations become what the task learns. The rules, each counted:
- a mention in parts (discontinuous) counts from its first to its last character;
- sentences that a mention crosses are joined, so no mention is cut;
- of mentions that overlap the longest stays, then the first, then the first type by name;
- attributes (negation) stand with the type, `Disease/Negation`, where `attributes` names them.
With `spans_as: labels` a sentence has the categories of the mentions that begin in it, and no span;
with `spans_as: relations` each pair of entities in a sentence is an example, see pairs.py.
Does not read files and does not split.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd

from touchstone.data import pairs, patterns
from touchstone.data.examples import examples
from touchstone.data.files import quoted
from touchstone.data.labels import category_of, only_heard, words_of
from touchstone.data.offsets import Place, collapsed, positions, unit_of
from touchstone.data.pairs import At, Entity, Found, Link, Relation
from touchstone.data.segment import segment
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import NONE, Taxonomy

KEYS = ("label_map", "spans_as", "segment", "patient_pattern", "attributes", "offsets")
Piece = tuple[str, set[str], list[dict[str, Any]]]  # text, categories, spans of one example
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mention:
    """One annotated place: characters [start, end) of the text, from the first to the last of its
    parts; `attributes` as the file names them, `Certainty=low` for one with a value."""

    start: int
    end: int
    type: str
    attributes: tuple[str, ...] = ()
    parts: int = 1


@dataclass(frozen=True)
class Annotation:
    """One annotated place as a file gives it: its parts, each (start, end, mention text or None),
    in the unit of the tool; `names` by which relations call it: its id, its concepts."""

    places: tuple[Place, ...]
    type: str
    attributes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """One text as a file holds it.

    Attributes
    ----------
    labels : of the whole text, as the file writes them.
    sentences : [start, end) of the file's own sentences; None: the file knows none.
    patient_id : None: `patient_pattern`, or the document itself.
    relations : between its mentions.
    """

    doc_id: str
    text: str
    mentions: tuple[Mention, ...] = ()
    labels: tuple[str, ...] = ()
    sentences: tuple[tuple[int, int], ...] | None = None
    patient_id: str | None = None
    note_type: str = ""
    split: str = ""
    origin: str = ""
    where: str = ""  # file and line, for messages
    extra: dict[str, Any] = field(default_factory=dict)  # further columns: subgroups, confidence
    relations: tuple[Relation, ...] = ()


Entry = TypeVar("Entry", Mention, Entity)
Pieces = Callable[[Document], Iterator[Piece]]


def mentions_of(
    texts: Sequence[tuple[str, str, Sequence[Annotation]]],
    *,
    path: object,
    given: str | None,
    usual: str = "characters",
) -> list[tuple[Mention, ...]]:
    """Return the annotations of each text of a file as mentions, after every slice was compared
    with the mention text that the file gives; see `offsets.unit_of`.

    Parameters
    ----------
    texts : (document's id, text, annotations).
    given, usual : `corpus.gold.offsets`, and what the tool counts in.
    """
    places = [
        (name, text, [place for one in marks for place in one.places])
        for name, text, marks in texts
    ]
    unit = unit_of(places, path=path, given=given, usual=usual)
    out = []
    for _, text, marks in texts:
        where = positions(text, unit) if marks else {}
        mentions = []
        for one in marks:
            start = min(where[place[0]] for place in one.places)
            end = max(where[place[1]] for place in one.places)
            mentions.append(Mention(start, end, one.type, one.attributes, len(one.places)))
        out.append(tuple(mentions))
    return out


def relations_between(
    annotations: Sequence[Annotation],
    mentions: Sequence[Mention],
    links: Iterable[Link],
    where: str,
    *,
    known: bool = True,
) -> tuple[Relation, ...]:
    """Return the relations of a text, whose annotations became mentions; see
    `pairs.relations_of`."""
    named: dict[str, list[At]] = {}
    for annotation, mention in zip(annotations, mentions, strict=True):
        for name in annotation.names:
            named.setdefault(name, []).append((mention.start, mention.end, mention.type))
    return pairs.relations_of(links, named, where, known=known)


def table_of(
    documents: Iterable[Document], files: GoldFiles, taxonomy: Taxonomy, *, segmented: bool
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return documents as an example table, and what was counted on the way.

    Parameters
    ----------
    files : `label_map`, `spans_as`, `segment`, `patient_pattern`, `attributes`.
    segmented : what `files.segment: null` means for this format: True cuts each text into
        sentences, False takes each text as one example. Pairs of entities always stand in one
        sentence unless it says false.

    Raises
    ------
    UserError
        With file and place: a category that is neither in the taxonomy nor in `label_map`, an empty
        text, labels of a whole text that is cut into sentences, no texts.
    """
    paired = files.spans_as == "relations"
    cut = (segmented or paired) if files.segment is None else files.segment
    counted: Counter[str] = Counter()
    unused: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    documents = list(documents)
    if paired:
        rule, words = _rule(documents, files, taxonomy)
        pieces = _pairing(files, words, rule, cut, counted, unused)
    else:
        words = words_of(taxonomy, files.label_map)
        pieces = _labelling(files, words, cut, counted, unused)
    for document in documents:
        for text, names, spans in pieces(document):
            rows.append(
                {
                    "example_id": f"{document.doc_id}/{numbers[document.doc_id]}",
                    "text": text,
                    "labels": [category for category in taxonomy.ids if category in names],
                    "spans": spans,
                    "source": "gold",
                    "doc_id": document.doc_id,
                    "patient_id": document.patient_id or patient_of(document.doc_id, files),
                    "split": document.split,
                    "origin": document.origin,
                    "note_type": document.note_type,
                }
                | document.extra
            )
            numbers[document.doc_id] += 1
    _say(files, counted, unused)
    if paired and documents and not only_heard():
        pairs.refuse_none(len(rows), counted, rule, files.reader)
    if not rows:
        raise UserError(f"corpus.gold.reader={files.reader}: the file holds no texts")
    frame = examples(rows)
    summary = {
        "documents": len(numbers),
        "sentences": len(frame),
        "labelled": int(frame["labels"].map(bool).sum()),
        "entities": int(frame["spans"].map(len).sum()),
    } | dict(+counted)
    if paired:
        summary |= {"pairs": len(frame), "related": summary.pop("labelled")}
    return frame, summary | ({"unused_attributes": dict(unused)} if unused else {})


def _labelling(
    files: GoldFiles,
    words: Mapping[str, str],
    cut: bool,
    counted: Counter[str],
    unused: Counter[str],
) -> Pieces:
    """Return what makes a document its sentences, each with its categories and spans."""

    def pieces(document: Document) -> Iterator[Piece]:
        mentions = _settled(document, files, words, counted, unused)
        labels = {category_of(label, words, document.where) for label in document.labels} - {NONE}
        if cut and document.labels:
            raise UserError(
                f"{document.where}: a label of a whole text, which is to be cut into sentences. "
                "Label the whole text: corpus.gold.segment=false"
            )
        for text, position, inside in _cut(document, cut, mentions, counted):
            spans = _spans(inside, position, counted)
            if _as_labels(files):
                yield text, labels | {span["type"] for span in spans}, []
            else:
                yield text, labels, spans

    return pieces


def _rule(
    documents: Sequence[Document], files: GoldFiles, taxonomy: Taxonomy
) -> tuple[pairs.Rule, Mapping[str, str]]:
    """Return which pairs of entities are examples, and word of the file -> category."""
    categories, of_marks = pairs.words_apart(files.label_map, taxonomy.marks)
    joined = pairs.joined_types(one for document in documents for one in document.relations)
    rule = pairs.Rule(taxonomy.marks, categories | of_marks, joined)
    return rule, words_of(taxonomy, categories)


def _pairing(
    files: GoldFiles,
    words: Mapping[str, str],
    rule: pairs.Rule,
    cut: bool,
    counted: Counter[str],
    unused: Counter[str],
) -> Pieces:
    """Return what makes a document its pairs of entities, each with the relations between them."""

    def pieces(document: Document) -> Iterator[Piece]:
        entities = []
        for mention in document.mentions:
            word = _word(mention.type, mention.attributes, files, unused)
            mark = pairs.mark_of(word, rule.marks, rule.words)
            if mark is None:
                counted["other_entities"] += 1
                continue
            counted["entities"] += 1
            counted["discontinuous"] += mention.parts > 1
            entities.append(Entity(mention.start, mention.end, mention.type, mark))
        held: dict[frozenset[At], Found] = {}
        wanted: set[int] = set()
        for number, relation in enumerate(document.relations):
            word = _word(relation.type, relation.attributes, files, unused)
            category = category_of(word, words, document.where)
            if category != NONE:
                wanted.add(number)
                for both in relation.joined():
                    held.setdefault(both, []).append((number, category))
        met: set[int] = set()
        for text, position, inside in _cut(document, cut, entities, counted):
            counted["sentences"] += 1
            for pair, found in pairs.in_sentence(text, position, inside, held, rule, counted):
                met |= {number for number, _ in found}
                yield pair, {category for _, category in found}, []
        counted["relations"] += len(wanted)
        counted["relations_left_out"] += len(wanted - met)

    return pieces


def patient_of(doc_id: str, files: GoldFiles) -> str:
    """Return the patient whom a document's name tells by `patient_pattern`, or the document itself.

    Raises
    ------
    UserError
        If the pattern is none, has no group, or does not match.
    """
    if files.patient_pattern is None:
        return doc_id
    key = "corpus.gold.patient_pattern"
    match = patterns.search(patterns.compiled(files.patient_pattern, key), doc_id, key)
    if match is None or not match.groups() or not match[1]:
        raise UserError(
            f"corpus.gold.patient_pattern={files.patient_pattern}: names no patient in document "
            f"{quoted(doc_id)}; it must match every document and hold one (group)"
        )
    return match[1]


def _as_labels(files: GoldFiles) -> bool:
    return files.spans_as == "labels"


def _word(kind: str, attributes: Sequence[str], files: GoldFiles, unused: Counter[str]) -> str:
    """Return a type with the attributes that `corpus.gold.attributes` names."""
    kept = [name for name in attributes if name.partition("=")[0] in files.attributes]
    unused.update(name.partition("=")[0] for name in attributes if name not in kept)
    return "/".join([kind, *sorted(kept)])


def _settled(
    document: Document,
    files: GoldFiles,
    words: Mapping[str, str],
    counted: Counter[str],
    unused: Counter[str],
) -> list[Mention]:
    """Return the mentions that stay, with categories for types, by the rules of the module."""
    named = []
    for mention in document.mentions:
        word = _word(mention.type, mention.attributes, files, unused)
        category = category_of(word, words, document.where)
        if category != NONE:
            if mention.parts > 1:
                counted["discontinuous"] += 1
            named.append(Mention(mention.start, mention.end, category))
    if _as_labels(files):
        return named
    out: list[Mention] = []
    for mention in sorted(named, key=lambda one: (one.start - one.end, one.start, one.type)):
        if any(mention.start < other.end and other.start < mention.end for other in out):
            counted["overlapping"] += 1
        else:
            out.append(mention)
    return sorted(out, key=lambda one: one.start)


def _cut(
    document: Document, cut: bool, mentions: Sequence[Entry], counted: Counter[str]
) -> Iterator[tuple[str, dict[int, int], list[Entry]]]:
    """Yield each sentence: its collapsed text, where its characters went, what begins in it."""
    for start, end in _sentences(document, cut, mentions, counted):
        text, position = collapsed(document.text, start, end)
        if not text:
            raise UserError(f"{document.where}: an empty text")
        yield text, position, [one for one in mentions if start <= one.start < end]


def _sentences(
    document: Document, cut: bool, mentions: Sequence[Entry], counted: Counter[str]
) -> list[tuple[int, int]]:
    if not cut:
        return [(0, len(document.text))]
    bounds = document.sentences
    cuts = list(segment(document.text) if bounds is None else bounds)
    out: list[tuple[int, int]] = []
    for start, end in cuts:
        crossing = bool(out) and any(one.start < out[-1][1] and start < one.end for one in mentions)
        if crossing:
            counted["joined_sentences"] += 1
            out[-1] = (out[-1][0], end)
        else:
            out.append((start, end))
    outside = [one for one in mentions if not any(a <= one.start < b for a, b in out)]
    if outside:
        counted["outside_sentences"] += len(outside)
    return out


def _spans(
    mentions: Iterable[Mention], position: dict[int, int], counted: Counter[str]
) -> list[dict[str, Any]]:
    """Return mentions as spans of the collapsed text; white space at their edges is left out."""
    out = []
    for mention in mentions:
        inside = [position[at] for at in range(mention.start, mention.end) if at in position]
        if inside:
            out.append({"start": inside[0], "end": inside[-1] + 1, "type": mention.type})
        else:
            counted["blank_mentions"] += 1
    return out


def _say(files: GoldFiles, counted: Counter[str], unused: Counter[str]) -> None:
    notes = {
        "joined_sentences": "sentences joined to the one before: a mention crosses the border",
        "overlapping": "mentions left out, since they overlap a longer one",
        "discontinuous": "mentions in parts, read from their first to their last character",
        "outside_sentences": "mentions left out, since they begin outside every sentence",
        "blank_mentions": "mentions of white space left out",
        "blank_pairs": "pairs left out, since one of the two is white space",
        "overlapping_pairs": "pairs of entities left out, since the two overlap",
        "relations_left_out": "relations left out: their entities are no pair in one sentence",
        "other_entities": "entities of types without a mark of the taxonomy take part in no pair",
    }
    for name, text in notes.items():
        if counted[name]:
            log.warning("corpus.gold.reader=%s: %d %s", files.reader, counted[name], text)
    for name, count in unused.most_common():
        log.warning(
            "corpus.gold.reader=%s: the attribute %s of %d mentions is not used; "
            "corpus.gold.attributes=[%s] makes types such as TYPE/%s of it",
            files.reader,
            quoted(name),
            count,
            quoted(name),
            quoted(name),
        )
