"""Data-to-label for entities: the LLM marks the mentions in real sentences (silver, and the
zero-shot baseline of Tang et al. 2023).

As data_to_label.py, but each sentence comes back whole with its mentions marked inline (marks.py).
Without the marks it must be the sentence given, character for character: a model that corrects,
shortens or invents text is refused and asked again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.generate.data_to_label import sentences as data_to_label
from touchstone.generate.data_to_label.sentences import CONFIDENCES, entries_of, entry_id
from touchstone.generate.prompts import Prompt
from touchstone.generate.shown import shown
from touchstone.llm.marks import Span, read_marks
from touchstone.llm.protocol import ParseError, Request
from touchstone.taxonomy import Taxonomy


@dataclass(frozen=True)
class Marked:
    """The LLM's answer for one sentence."""

    spans: tuple[Span, ...]
    confidence: str


def requests(sentences: pd.DataFrame, prompt: Prompt, **asked: Any) -> list[Request]:
    """Build the requests that mark `sentences`; parameters as of `data_to_label.requests`.

    Returns
    -------
    list of Request, whose context holds `example_ids` and `texts`: number asked -> example_id, and
    -> the sentence as it is shown.
    """
    texts = dict(zip(sentences["example_id"], sentences["text"].map(shown), strict=True))
    return [
        replace(
            request,
            schema=schema(),
            context={
                **request.context,
                "texts": {number: texts[i] for number, i in request.context["example_ids"].items()},
            },
        )
        for request in data_to_label.requests(sentences, prompt, **asked)
    ]


def schema() -> dict[str, Any]:
    """Return the JSON schema of the answer; `parse` checks what a schema cannot say."""
    entry = {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "text": {"type": "string"},
            "confidence": {"type": "string", "enum": list(CONFIDENCES)},
        },
        "required": ["id", "text", "confidence"],
        "additionalProperties": False,
    }
    return {
        "title": "marked_sentences",
        "type": "object",
        "properties": {"sentences": {"type": "array", "items": entry}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def parse(request: Request, text: str, taxonomy: Taxonomy) -> dict[str, Marked]:
    """Read an answer: example_id -> `Marked`, one for each sentence asked.

    Raises
    ------
    ParseError With a reason fit to be sent back: not JSON, a number missing, repeated or never
        asked, marks that do not pair, a text that is not the one given, an unknown confidence. The
        reason quotes no sentence.
    """
    example_ids: Mapping[int, str] = request.context["example_ids"]
    mentions: dict[str, Marked] = {}
    for entry in entries_of(text):
        number = entry_id(entry, example_ids)
        if example_ids[number] in mentions:
            raise ParseError(f"id {number} is answered twice; answer each number once")
        if not isinstance(entry.get("text"), str):
            raise ParseError(f'id {number}: "text" must be the sentence with its mentions marked')
        given = request.context["texts"][number]
        try:
            plain, spans = read_marks(entry["text"].strip(), taxonomy.ids, given)
        except ParseError as error:
            raise ParseError(f"id {number}: {error}") from None
        if plain != given:
            raise ParseError(
                f'id {number}: without its marks "text" is not the sentence given; repeat it '
                "character for character"
            )
        if entry.get("confidence") not in CONFIDENCES:
            raise ParseError(f'id {number}: "confidence" must be high, medium or low')
        mentions[example_ids[number]] = Marked(tuple(spans), entry["confidence"])
    missing = [number for number, example_id in example_ids.items() if example_id not in mentions]
    if missing:
        raise ParseError(
            f"no answer for id {', '.join(map(str, missing))}; answer each of 1 to "
            f"{len(example_ids)}"
        )
    return mentions


def silver(
    sentences: pd.DataFrame, answers: Mapping[str, Marked], origins: Mapping[str, str]
) -> pd.DataFrame:
    """Return the example table of the sentences that were answered, in the order of `sentences`;
    see `data_to_label.silver`."""
    return examples(
        {
            "example_id": row.example_id,
            "text": row.text,
            "labels": [],
            "spans": [dict(span) for span in answers[row.example_id].spans],
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
