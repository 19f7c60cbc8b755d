"""Data-to-label: the LLM labels real sentences (silver). Li, Wang, Yu 2023, section
"data-to-label".

One request shows the numbered sentences of one note, or of one part of a long note with the
sentences before it as context. The answer must give each number asked exactly once, with category
ids that exist; anything else is refused as a whole
and asked again. So no answer labels a sentence that was not asked about, or invents a category; an
instruction in a note may still sway the labels of sentences in the same request
(generation.pool_sentences_per_request=1 leaves it none to sway, generate/shown.py keeps it in its
place). The same requests serve the zero-shot baseline (test sentences) and the round trip (bronze
sentences, each standing alone). Does not segment notes (data/segment.py) and does not send
(llm/ask.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.generate.prompts import Prompt
from touchstone.llm.answers import loads
from touchstone.llm.protocol import ParseError, Request
from touchstone.taxonomy import Taxonomy

CONFIDENCES = ("high", "medium", "low")
CONTEXT_SENTENCES = 5  # shown before the second and later parts of a long note


@dataclass(frozen=True)
class Labelled:
    """The LLM's answer for one sentence."""

    labels: tuple[str, ...]
    confidence: str


def requests(
    sentences: pd.DataFrame,
    prompt: Prompt,
    *,
    params: Mapping[str, Any],
    per_request: int,
    shots: Sequence[Mapping[str, Any]] = (),
    restricted: bool = False,
    standalone: bool = False,
    in_order: bool = False,
    stage: str = "data_to_label",
) -> list[Request]:
    """Build the requests that label `sentences`.

    Parameters
    ----------
    sentences : frame with doc_id, note_type, text and example_id, in reading order within a
        document; column `candidate` (bool), where present, tells which sentences are asked about
        (the others are shown as context only). Column `request` (int), where present, says which
        are asked together: sentences that stand alone, drawn by `generate/order.py`.
    prompt : the variant to render.
    params : sampling parameters, part of each request's key.
    per_request : sentences asked about in one request at most; a longer note is asked in parts of
        equal size.
    shots : {"text", "labels"} of training gold to show, see `shots.py`.
    restricted : whether the text comes from a restricted corpus.
    standalone : the sentences do not follow one another (round trip, relations); without `request`
        they are grouped in the order given.
    in_order : of sentences grouped in the order given, whether that is the order of the texts they
        come from, so that one may follow from the one before it; templates may say so.
    stage : name for counts and quarantine.

    Returns
    -------
    list of Request, whose context holds `example_ids`: number asked -> example_id.
    """
    built = []
    if "request" in sentences:
        groups = sentences.groupby("request", sort=True)
    elif standalone:
        groups = [("", sentences)]
    else:
        groups = sentences.groupby("doc_id", sort=False)
    for _, note in groups:
        asked = note[note["candidate"]] if "candidate" in note else note
        if asked.empty:
            continue
        position = {example_id: index for index, example_id in enumerate(note["example_id"])}
        for part in _parts(asked, per_request):
            first, last = (
                position[part["example_id"].iloc[0]],
                position[part["example_id"].iloc[-1]],
            )
            shown = part if standalone else note.iloc[max(0, first - CONTEXT_SENTENCES) : last + 1]
            number = {
                example_id: index for index, example_id in enumerate(part["example_id"], start=1)
            }
            messages = prompt.messages(
                "data_to_label",
                sentences=[
                    {"id": number.get(row.example_id), "text": row.text}
                    for row in shown.itertuples(index=False)
                ],
                note_type=note["note_type"].iloc[0],
                standalone=standalone,
                in_order=in_order,
                shots=list(shots),
            )
            built.append(
                Request(
                    messages=messages,
                    schema=schema(prompt.taxonomy),
                    params=dict(params),
                    stage=stage,
                    restricted=restricted,
                    context={
                        "example_ids": {index: example_id for example_id, index in number.items()}
                    },
                )
            )
    return built


def schema(taxonomy: Taxonomy) -> dict[str, Any]:
    """Return the JSON schema of the answer; `parse` checks what a schema cannot say."""
    entry = {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "labels": {"type": "array", "items": {"type": "string", "enum": list(taxonomy.ids)}},
            "confidence": {"type": "string", "enum": list(CONFIDENCES)},
        },
        "required": ["id", "labels", "confidence"],
        "additionalProperties": False,
    }
    return {
        "title": "sentence_labels",
        "type": "object",
        "properties": {"sentences": {"type": "array", "items": entry}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def parse(request: Request, text: str, taxonomy: Taxonomy) -> dict[str, Labelled]:
    """Read an answer: example_id -> `Labelled`, one for each sentence asked.

    Raises
    ------
    ParseError With a reason fit to be sent back: not JSON, a number missing, repeated or never
        asked, an unknown category or confidence.
    """
    entries = entries_of(text)
    example_ids: Mapping[int, str] = request.context["example_ids"]
    found: dict[str, Labelled] = {}
    for entry in entries:
        number = entry_id(entry, example_ids)
        if example_ids[number] in found:
            raise ParseError(f"id {number} is answered twice; answer each number once")
        labels = check_labels(entry.get("labels"), number, taxonomy)
        confidence = entry.get("confidence")
        if confidence not in CONFIDENCES:
            raise ParseError(f'id {number}: "confidence" must be high, medium or low')
        found[example_ids[number]] = Labelled(labels, confidence)
    missing = [number for number, example_id in example_ids.items() if example_id not in found]
    if missing:
        raise ParseError(
            f"no answer for id {', '.join(map(str, missing))}; answer each of 1 to "
            f"{len(example_ids)}"
        )
    return found


def silver(
    sentences: pd.DataFrame, answers: Mapping[str, Labelled], origins: Mapping[str, str]
) -> pd.DataFrame:
    """Return the example table of the sentences that were answered, in the order of `sentences`.

    Parameters
    ----------
    sentences : as given to `requests`, with patient_id.
    answers : example_id -> answer; sentences without one (quarantined or not asked) are left out.
    origins : example_id -> key of the response it came from.
    """
    return examples(
        {
            "example_id": row.example_id,
            "text": row.text,
            "labels": list(answers[row.example_id].labels),
            "source": "silver",
            "doc_id": row.doc_id,
            "patient_id": row.patient_id,
            "origin": origins[row.example_id],
            "confidence": answers[row.example_id].confidence,
            "note_type": row.note_type,
        }
        for row in sentences.itertuples(index=False)
        if row.example_id in answers
    )


def entries_of(text: str) -> list[Mapping[str, Any]]:
    """Return the list under "sentences" of a JSON answer, each entry an object.

    Raises
    ------
    ParseError
        If there is no such list.
    """
    value, _ = loads(text)
    entries = value.get("sentences") if isinstance(value, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ParseError('the answer must be one JSON object {"sentences": [{...}, ...]}')
    return entries


def entry_id(entry: Mapping[str, Any], asked: Mapping[int, Any]) -> int:
    """Return an entry's id if it was asked, else raise ParseError."""
    number = entry.get("id")
    if isinstance(number, bool) or not isinstance(number, int) or number not in asked:
        raise ParseError(f'"id" {number!r} was not asked; the ids are 1 to {len(asked)}')
    return number


def check_labels(labels: Any, number: int, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Return an entry's labels in precedence order if each is a category, else raise ParseError."""
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ParseError(f'id {number}: "labels" must be a list of category ids, [] for none')
    unknown = [label for label in labels if label not in taxonomy.ids]
    if unknown:
        raise ParseError(
            f"id {number}: {unknown[0]!r} is no category; the ids are {', '.join(taxonomy.ids)}"
        )
    return tuple(taxonomy.ordered(labels))


def _parts(asked: pd.DataFrame, per_request: int) -> list[pd.DataFrame]:
    """Cut into parts of nearly equal size, none longer than per_request: 41 sentences at 40 become
    21 + 20, not 40 + 1."""
    n_parts = math.ceil(len(asked) / per_request)
    size, longer = divmod(len(asked), n_parts)
    ends = [0]
    for index in range(n_parts):
        ends.append(ends[-1] + size + (index < longer))
    return [asked.iloc[start:end] for start, end in zip(ends, ends[1:], strict=False)]
