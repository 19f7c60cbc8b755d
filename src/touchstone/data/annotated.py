"""Annotated documents as examples: sentences with their labels and spans, whatever tool made them.

A reader of a format yields `Document`s; here they are cut into sentences (by the file's own, or by
the product's segmenter), and annotations become what the task learns. The rules, each counted:
- a mention in parts (discontinuous) counts from its first to its last character;
- sentences that a mention crosses are joined, so no mention is cut;
- of mentions that overlap the longest stays, then the first, then the first type by name;
- attributes (negation) stand with the type, `Disease/Negation`, where `attributes` names them.
With `spans_as: labels` a sentence has the categories of the mentions that begin in it, and no span.
Does not read files and does not split.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from touchstone.data import patterns
from touchstone.data.examples import examples
from touchstone.data.files import quoted
from touchstone.data.labels import category_of, words_of
from touchstone.data.offsets import Place, collapsed, positions, unit_of
from touchstone.data.segment import segment
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import NONE, Taxonomy

KEYS = ("label_map", "spans_as", "segment", "patient_pattern", "attributes", "offsets")
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
    in the unit of the tool."""

    places: tuple[Place, ...]
    type: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """One text as a file holds it.

    Attributes
    ----------
    labels : of the whole text, as the file writes them.
    sentences : [start, end) of the file's own sentences; None: the file knows none.
    patient_id : None: `patient_pattern`, or the document itself.
    number : of the text within its document, where a file holds one sentence a record; else None.
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
        found = []
        for one in marks:
            start = min(where[place[0]] for place in one.places)
            end = max(where[place[1]] for place in one.places)
            found.append(Mention(start, end, one.type, one.attributes, len(one.places)))
        out.append(tuple(found))
    return out


def table_of(
    documents: Iterable[Document], files: GoldFiles, taxonomy: Taxonomy, *, segmented: bool
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return documents as an example table, and what was counted on the way.

    Parameters
    ----------
    files : `label_map`, `spans_as`, `segment`, `patient_pattern`, `attributes`.
    segmented : what `files.segment: null` means for this format: True cuts each text into
        sentences, False takes each text as one example.

    Raises
    ------
    UserError
        With file and place: a category that is neither in the taxonomy nor in `label_map`, an empty
        text, labels of a whole text that is cut into sentences, no texts.
    """
    words = words_of(taxonomy, files.label_map)
    cut = segmented if files.segment is None else files.segment
    counted: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    numbers: Counter[str] = Counter()
    unused: Counter[str] = Counter()
    for document in documents:
        mentions = _settled(document, files, words, counted, unused)
        labels = {category_of(label, words, document.where) for label in document.labels} - {NONE}
        if cut and document.labels:
            raise UserError(
                f"{document.where}: a label of a whole text, which is to be cut into sentences. "
                "Label the whole text: corpus.gold.segment=false"
            )
        for start, end in _sentences(document, cut, mentions, counted):
            text, position = collapsed(document.text, start, end)
            if not text:
                raise UserError(f"{document.where}: an empty text")
            inside = [mention for mention in mentions if start <= mention.start < end]
            spans = _spans(inside, position, counted)
            names = labels | ({span["type"] for span in spans} if _as_labels(files) else set())
            rows.append(
                {
                    "example_id": f"{document.doc_id}/{numbers[document.doc_id]}",
                    "text": text,
                    "labels": [category for category in taxonomy.ids if category in names],
                    "spans": [] if _as_labels(files) else spans,
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
    if not rows:
        raise UserError(f"corpus.gold.reader={files.reader}: the file holds no texts")
    frame = examples(rows)
    _say(files, counted, unused)
    summary = {
        "documents": len(numbers),
        "sentences": len(frame),
        "labelled": int(frame["labels"].map(bool).sum()),
        "entities": int(frame["spans"].map(len).sum()),
    }
    return frame, summary | dict(counted) | ({"unused_attributes": dict(unused)} if unused else {})


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


def _settled(
    document: Document,
    files: GoldFiles,
    words: dict[str, str],
    counted: Counter[str],
    unused: Counter[str],
) -> list[Mention]:
    """Return the mentions that stay, with categories for types, by the rules of the module."""
    named = []
    for mention in document.mentions:
        kept = [name for name in mention.attributes if name.partition("=")[0] in files.attributes]
        unused.update(name.partition("=")[0] for name in mention.attributes if name not in kept)
        word = "/".join([mention.type, *sorted(kept)])
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


def _sentences(
    document: Document, cut: bool, mentions: Sequence[Mention], counted: Counter[str]
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
    told = {
        "joined_sentences": "sentences joined to the one before: a mention crosses the border",
        "overlapping": "mentions left out, since they overlap a longer one",
        "discontinuous": "mentions in parts, read from their first to their last character",
        "outside_sentences": "mentions left out, since they begin outside every sentence",
        "blank_mentions": "mentions of white space left out",
    }
    for name, text in told.items():
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
