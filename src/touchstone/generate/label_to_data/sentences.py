"""Label-to-data: the LLM writes sentences from a category's definition (bronze). Li, Wang, Yu 2023,
section "label-to-data".

Variety is controlled, not hoped for: every sentence asked for is a slot with one value of each
attribute of the taxonomy's grid (note type, author, patient, style, length, twist, facet of the
category), drawn evenly and seeded. The first n slots of a category are the same however many are
asked for, so a larger bronze set reuses the answers of a smaller one. Negatives are hard ones:
slots built on the taxonomy's look-alikes. Does not send (llm/ask.py) or filter (mixture.py).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from touchstone.data.examples import examples
from touchstone.generate.data_to_label.sentences import check_labels, entries_of, entry_id
from touchstone.generate.prompts import Prompt
from touchstone.generate.shown import one_line
from touchstone.llm.protocol import ParseError, Request
from touchstone.taxonomy import NONE, Taxonomy

T = TypeVar("T")
WORDS = (1, 120)  # a sentence outside these bounds is no sentence


def requests(
    prompt: Prompt,
    *,
    params: Mapping[str, Any],
    per_category: int,
    n_none: int,
    per_request: int,
    seed: int,
    shots: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    restricted: bool = False,
) -> list[Request]:
    """Build the requests for `per_category` sentences of each category and `n_none` hard negatives.

    Parameters
    ----------
    prompt : the variant to render; facets are drawn only where the variant shows definitions (see
        `slots`).
    params : sampling parameters, part of each request's key.
    per_request : sentences asked for in one request.
    seed : of the attribute grid.
    shots : category id or `none` -> training gold to show; they are restricted where the corpus is.

    Returns
    -------
    list of Request, whose context holds `category` (or none), `numbers` and `group` (name of the
    request for example ids).
    """
    taxonomy = prompt.taxonomy
    built = []
    for category_id, count in [(category_id, per_category) for category_id in taxonomy.ids] + [
        (NONE, n_none)
    ]:
        category = None if category_id == NONE else taxonomy[category_id]
        all_slots = slots(taxonomy, category_id, count, seed, facets=prompt.definitions)
        for start in range(0, count, per_request):
            chosen = all_slots[start : start + per_request]
            numbered = [
                {"id": number, "attributes": slot} for number, slot in enumerate(chosen, start=1)
            ]
            messages = prompt.messages(
                "label_to_data",
                category=category,
                slots=numbered,
                shots=list((shots or {}).get(category_id, ())),
            )
            built.append(
                Request(
                    messages=messages,
                    schema=schema(taxonomy),
                    params=dict(params),
                    stage="label_to_data",
                    restricted=restricted,
                    context={
                        "category": category_id,
                        "numbers": {number: slot for number, slot in enumerate(chosen, start=1)},
                        "group": f"{category_id}/{start // per_request}",
                    },
                )
            )
    return built


def slots(
    taxonomy: Taxonomy, category_id: str, count: int, seed: int, *, facets: bool
) -> list[dict[str, str]]:
    """Draw the attributes of `count` sentences.

    Every attribute runs through a shuffled cycle of its values, so each value is used as often as
    any other (give or take one) and attributes combine freely. Each cycle has its own seed: slots
    do not depend on `count`.

    Parameters
    ----------
    category_id : a category, or `none` for hard negatives, which get a look-alike and a category to
        be mistaken for.
    facets : add the category's facet or the look-alike; False for prompts that show names only.
    """
    grid: dict[str, Sequence[str]] = {}
    if category_id == NONE:
        if facets and taxonomy.look_alikes:
            grid["look_alike"] = taxonomy.look_alikes
        grid["mistaken_for"] = [category.name for category in taxonomy.categories]
    elif facets and taxonomy[category_id].facets:
        grid["about"] = taxonomy[category_id].facets
    grid |= taxonomy.variety
    columns = {
        name: cycle(values, count, f"{seed}/{category_id}/{name}") for name, values in grid.items()
    }
    return [{name: column[index] for name, column in columns.items()} for index in range(count)]


def schema(taxonomy: Taxonomy) -> dict[str, Any]:
    """Return the JSON schema of the answer; `parse` checks what a schema cannot say."""
    entry = {
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "text": {"type": "string"},
            "labels": {"type": "array", "items": {"type": "string", "enum": list(taxonomy.ids)}},
        },
        "required": ["id", "text", "labels"],
        "additionalProperties": False,
    }
    return {
        "title": "written_sentences",
        "type": "object",
        "properties": {"sentences": {"type": "array", "items": entry}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def parse(request: Request, text: str, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Read an answer: a list of {"number", "text", "labels"}, one for each line asked.

    Raises
    ------
    ParseError With a reason fit to be sent back: not JSON, a line missing, repeated or never asked,
        an empty or overlong text, an unknown category, a label set without the category asked for
        (or not empty for negatives).
    """
    numbers, category_id = request.context["numbers"], request.context["category"]
    sentences: dict[int, dict[str, Any]] = {}
    for entry in entries_of(text):
        number = entry_id(entry, numbers)
        if number in sentences:
            raise ParseError(f"id {number} is answered twice; write one sentence for each line")
        sentence = one_line(entry.get("text"))
        if not WORDS[0] <= len(sentence.split()) <= WORDS[1]:
            raise ParseError(
                f'id {number}: "text" must be one sentence of {WORDS[0]} to {WORDS[1]} words'
            )
        labels = check_labels(entry.get("labels"), number, taxonomy)
        if category_id == NONE and labels:
            raise ParseError(
                f'id {number}: a sentence without any category was asked for, "labels" must be []'
            )
        if category_id != NONE and category_id not in labels:
            raise ParseError(f'id {number}: "labels" must hold {category_id}, which was asked for')
        sentences[number] = {"number": number, "text": sentence, "labels": list(labels)}
    missing = [number for number in numbers if number not in sentences]
    if missing:
        raise ParseError(
            f"no sentence for line {', '.join(map(str, missing))}; write one for each of 1 to "
            f"{len(numbers)}"
        )
    return [sentences[number] for number in numbers]


def bronze(
    asked: Sequence[Request], answers: Sequence[list[dict[str, Any]] | None], keys: Sequence[str]
) -> pd.DataFrame:
    """Return the example table of the sentences written; requests without an answer (quarantined)
    are left out.

    Each request is a document of its own: its sentences were written together and are kept together
    when resampling.
    """
    return examples(
        {
            "example_id": f"bronze/{request.context['group']}/{entry['number']}",
            "text": entry["text"],
            "labels": entry["labels"],
            "source": "bronze",
            "doc_id": f"bronze/{request.context['group']}",
            "patient_id": f"bronze/{request.context['group']}",
            "origin": key,
            "note_type": request.context["numbers"][entry["number"]].get("note_type", ""),
        }
        for request, answer, key in zip(asked, answers, keys, strict=True)
        if answer is not None
        for entry in answer
    )


def cycle(values: Sequence[T], count: int, seed: str) -> list[T]:
    """Return `count` values, in rounds that each hold every value once in a seeded order; equal
    seeds have equal beginnings."""
    drawn: list[T] = []
    while len(drawn) < count:
        shuffled = list(values)
        random.Random(f"{seed}/{len(drawn) // len(values)}").shuffle(shuffled)
        drawn.extend(shuffled)
    return drawn[:count]
