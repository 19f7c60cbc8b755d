"""Label-to-data for entities: names first, then sentences that contain them (bronze). Tang, Han,
Jiang, Hu 2023, section 3.

Two steps, since an LLM that is asked for sentences names the same few diseases again and again.
First it lists names of each type, for each facet of the guideline, and repeated ones are removed.
Then each sentence asked for is a slot: some names of one facet, so that they can go together, how
they are mentioned, and one value of each attribute of the taxonomy's grid, drawn evenly and seeded.
Mentions come back marked inline (marks.py). Negatives are slots built on the taxonomy's
look-alikes. Does not send (llm/ask.py) or filter (mixture.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.generate.data_to_label.sentences import entries_of, entry_id
from touchstone.generate.label_to_data.sentences import WORDS, cycle
from touchstone.generate.prompts import Prompt
from touchstone.generate.shown import one_line
from touchstone.llm.answers import loads
from touchstone.llm.marks import Span, read_marks
from touchstone.llm.protocol import ParseError, Request
from touchstone.taxonomy import NONE, Taxonomy

NAMES_PER_REQUEST = 100
NAME_WORDS = 15  # a longer "name" is a description
NAMES_PER_SENTENCE = (
    1,
    1,
    1,
    2,
    2,
    3,
)  # evenly drawn: 1.7 in the mean, as in the corpora's sentences that have any
MENTIONS = (
    "each name once",
    "one of the names a second time, later in the sentence",
    "a name followed by its abbreviation in brackets, both marked",
    "a name that modifies another noun, such as gene, patients, family, risk, cells",
    "each name once, beside other things in a list or comparison",
    "a name with a modifier that belongs to it, marked with it",
)


def entity_requests(
    prompt: Prompt, *, params: Mapping[str, Any], per_type: int, stage: str = "entity_list"
) -> list[Request]:
    """Build the requests for about `per_type` names of each entity type.

    Variants that show definitions ask for names facet by facet, so that the list covers the
    guideline; others ask for names of the type, the same prompt sampled several times where one
    answer would be too long.

    Returns
    -------
    list of Request, whose context holds `type` and `counts`: line asked -> names asked for.
    """
    built = []
    for category in prompt.taxonomy.categories:
        facets = category.facets if prompt.definitions else []
        for sample, lines in enumerate(_portions(facets, per_type)):
            numbered = [
                {"id": number, "about": about, "count": count}
                for number, (about, count) in enumerate(lines, start=1)
            ]
            built.append(
                Request(
                    messages=prompt.messages("entity_list", category=category, lines=numbered),
                    schema=_names_schema(),
                    params=dict(params),
                    sample=0 if facets else sample,
                    stage=stage,
                    context={
                        "type": category.id,
                        "counts": {line["id"]: line["count"] for line in numbered},
                    },
                )
            )
    return built


def parse_names(request: Request, text: str) -> list[list[str]]:
    """Read an answer to an entity list: for each line its names, no more than it was asked for.

    Raises
    ------
    ParseError Not JSON, a line missing, repeated or never asked, a line without names, a name that
        is no short plain text.
    """
    value, _ = loads(text)
    entries = value.get("lists") if isinstance(value, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ParseError(
            'the answer must be one JSON object {"lists": [{"id": 1, "names": ["..."]}, ...]}'
        )
    counts: Mapping[int, int] = request.context["counts"]
    found: dict[int, list[str]] = {}
    for entry in entries:
        number = entry_id(entry, counts)
        if number in found:
            raise ParseError(f"id {number} is answered twice; answer each line once")
        names = entry.get("names")
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(name, str) for name in names)
        ):
            raise ParseError(f'id {number}: "names" must be a list of names')
        names = [one_line(name) for name in names]
        if not all(
            name and len(name.split()) <= NAME_WORDS and not re.search(r"[<>;]", name)
            for name in names
        ):
            raise ParseError(
                f"id {number}: each name must be plain text of 1 to {NAME_WORDS} words, without < "
                "> or ;"
            )
        found[number] = names[: counts[number]]
    missing = [number for number in counts if number not in found]
    if missing:
        raise ParseError(
            f"no names for line {', '.join(map(str, missing))}; answer each of 1 to {len(counts)}"
        )
    return [found[number] for number in counts]


def entity_table(
    asked: Sequence[Request], answers: Sequence[list[list[str]] | None], keys: Sequence[str]
) -> pd.DataFrame:
    """Return the entity list as an example table: one name a row, marked whole, one document for
    each line asked.

    A name that differs from an earlier one of its type in case, white space or punctuation only is
    left out.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for index, (request, answer, key) in enumerate(zip(asked, answers, keys, strict=True)):
        kind = request.context["type"]
        for line, names in enumerate(answer or ()):
            for name in names:
                row = {
                    "example_id": f"entities/{kind}/{len(rows)}",
                    "text": name,
                    "labels": [],
                    "spans": [{"start": 0, "end": len(name), "type": kind}],
                    "source": "bronze",
                    "doc_id": f"entities/{kind}/{index}.{line}",
                    "patient_id": f"entities/{kind}/{index}.{line}",
                    "origin": key,
                }
                rows.setdefault((kind, normalised(name)), row)
    return examples(rows.values())


def grouped(table: pd.DataFrame) -> dict[str, list[list[str]]]:
    """Return the names of an entity list by type, in groups of those that were listed together."""
    groups: dict[str, dict[str, list[str]]] = {}
    for row in table.itertuples(index=False):
        groups.setdefault(row.spans[0]["type"], {}).setdefault(row.doc_id, []).append(row.text)
    return {kind: list(by_line.values()) for kind, by_line in groups.items()}


def placeholders(taxonomy: Taxonomy) -> dict[str, list[list[str]]]:
    """Return names of the usual length where the list is not there yet, to estimate what the
    sentences will cost."""
    return {
        category.id: [["a name of usual length"] * max(NAMES_PER_SENTENCE)]
        for category in taxonomy.categories
    }


def requests(
    prompt: Prompt,
    *,
    names: Mapping[str, Sequence[Sequence[str]]],
    params: Mapping[str, Any],
    per_category: int,
    n_none: int,
    per_request: int,
    seed: int,
    shots: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    restricted: bool = False,
) -> list[Request]:
    """Build the requests for `per_category` sentences with entities of each type and `n_none`
    sentences without any.

    Parameters
    ----------
    names : entity type -> groups of names that can go together, see `grouped`; the other parameters
        are those of `label_to_data.requests`.

    Returns
    -------
    list of Request, whose context holds `category` (or none), `numbers` (line -> its attributes,
    `names` a list) and `group`.
    """
    taxonomy = prompt.taxonomy
    built = []
    for category_id, count in [(category_id, per_category) for category_id in taxonomy.ids] + [
        (NONE, n_none)
    ]:
        category = None if category_id == NONE else taxonomy[category_id]
        all_slots = slots(
            taxonomy,
            category_id,
            count,
            seed,
            names=names.get(category_id, ()),
            look_alikes=prompt.definitions,
        )
        for start in range(0, len(all_slots), per_request):
            chosen = dict(enumerate(all_slots[start : start + per_request], start=1))
            numbered = [{"id": number, "attributes": slot} for number, slot in chosen.items()]
            messages = prompt.messages(
                "label_to_data",
                category=category,
                slots=numbered,
                shots=list((shots or {}).get(category_id, ())),
            )
            built.append(
                Request(
                    messages=messages,
                    schema=_sentences_schema(),
                    params=dict(params),
                    stage="label_to_data",
                    restricted=restricted,
                    context={
                        "category": category_id,
                        "numbers": chosen,
                        "group": f"{category_id}/{start // per_request}",
                    },
                )
            )
    return built


def slots(
    taxonomy: Taxonomy,
    category_id: str,
    count: int,
    seed: int,
    *,
    names: Sequence[Sequence[str]],
    look_alikes: bool,
) -> list[dict[str, Any]]:
    """Draw the attributes of `count` sentences; the first of them are the same however many are
    asked for.

    Sentences of a type get one to three `names` of one group, each group and each name of it as
    often as any other, and how they are mentioned; those of `none` get a look-alike where the
    variant shows definitions. Both get one value of each attribute of the taxonomy's grid. A type
    without names (its entity list was quarantined) gets no sentences.
    """
    grid: dict[str, Sequence[str]] = {}
    drawn: list[dict[str, Any]] = [{} for _ in range(count)]
    if category_id == NONE:
        if look_alikes and taxonomy.look_alikes:
            grid["look_alike"] = taxonomy.look_alikes
    elif not names:
        return []
    else:
        drawn = [
            {"names": chosen} for chosen in _drawn_names(names, count, f"{seed}/{category_id}")
        ]
        grid["mention"] = MENTIONS
    grid |= taxonomy.variety
    columns = {
        name: cycle(values, count, f"{seed}/{category_id}/{name}") for name, values in grid.items()
    }
    return [
        {**slot, **{name: column[index] for name, column in columns.items()}}
        for index, slot in enumerate(drawn)
    ]


def _drawn_names(groups: Sequence[Sequence[str]], count: int, seed: str) -> list[list[str]]:
    taken = [0] * len(groups)
    drawn = []
    sizes = cycle(NAMES_PER_SENTENCE, count, f"{seed}/sizes")
    for size, group in zip(sizes, cycle(range(len(groups)), count, f"{seed}/groups"), strict=True):
        order = cycle(groups[group], taken[group] + size, f"{seed}/names/{group}")
        drawn.append(list(dict.fromkeys(order[taken[group] :])))
        taken[group] += size
    return drawn


def parse(request: Request, text: str, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Read an answer: a list of {"number", "text", "spans"}, one for each line asked.

    Raises
    ------
    ParseError Not JSON; a line missing, repeated or never asked; an empty or overlong text; marks
        that do not pair or are of no type; a name that was given and is not marked; a marked name
        that stands unmarked elsewhere in the sentence; any mark in a negative.
    """
    numbers, category_id = request.context["numbers"], request.context["category"]
    sentences: dict[int, dict[str, Any]] = {}
    for entry in entries_of(text):
        number = entry_id(entry, numbers)
        if number in sentences:
            raise ParseError(f"id {number} is answered twice; write one sentence for each line")
        marked = one_line(entry.get("text"))
        try:
            plain, spans = read_marks(marked, taxonomy.ids)
            _check(plain, spans, numbers[number].get("names", ()), category_id, taxonomy)
        except ParseError as error:
            raise ParseError(f"id {number}: {error}") from None
        sentences[number] = {"number": number, "text": plain, "spans": spans}
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
    """Return the example table of the sentences written; see `label_to_data.bronze`."""
    return examples(
        {
            "example_id": f"bronze/{request.context['group']}/{entry['number']}",
            "text": entry["text"],
            "labels": [],
            "spans": entry["spans"],
            "source": "bronze",
            "doc_id": f"bronze/{request.context['group']}",
            "patient_id": f"bronze/{request.context['group']}",
            "origin": key,
        }
        for request, answer, key in zip(asked, answers, keys, strict=True)
        if answer is not None
        for entry in answer
    )


def normalised(name: str) -> str:
    """Return the form in which names are compared: lower case, letters and digits only, single
    spaces."""
    return " ".join(re.findall(r"[^\W_]+", name.casefold())) or name


def _check(
    plain: str, spans: Sequence[Span], names: Sequence[str], category_id: str, taxonomy: Taxonomy
) -> None:
    if not WORDS[0] <= len(plain.split()) <= WORDS[1]:
        raise ParseError(f'"text" must be one sentence of {WORDS[0]} to {WORDS[1]} words')
    if re.search(r"</?[A-Za-z_]+>", plain):
        raise ParseError(f"there are no marks but those of {', '.join(taxonomy.ids)}")
    if category_id == NONE:
        if spans:
            raise ParseError("a sentence without any mention was asked for; it must hold no mark")
        return
    mentions = [plain[span["start"] : span["end"]] for span in spans]
    for name in names:
        if not any(normalised(name) in normalised(mention) for mention in mentions):
            raise ParseError(
                f"the name {name!r} was given and is not marked; let it stand as given, between "
                "marks"
            )
    rest = "".join(
        " " if any(s["start"] <= i < s["end"] for s in spans) else character
        for i, character in enumerate(plain)
    )
    for number, mention in enumerate(mentions, start=1):
        # "NF1" may be the gene as well as the disease; a spelt-out name is not ambiguous
        if mention != mention.upper() and re.search(rf"(?<!\w){re.escape(mention)}(?!\w)", rest):
            raise ParseError(
                f"mention {number} stands unmarked elsewhere in the sentence; mark every mention"
            )


def _portions(facets: Sequence[str], total: int) -> list[list[tuple[str, int]]]:
    """Cut an entity list into requests: (facet, names) lines, or without facets one line of names a
    request."""
    if not facets:
        starts = range(0, total, NAMES_PER_REQUEST)
        return [[("", min(NAMES_PER_REQUEST, total - start))] for start in starts]
    share, more = divmod(total, len(facets))
    lines = [
        (facet, share + (index < more))
        for index, facet in enumerate(facets)
        if share + (index < more)
    ]
    n_requests = -(-total // NAMES_PER_REQUEST)
    size = -(-len(lines) // n_requests) if lines else 1
    return [lines[start : start + size] for start in range(0, len(lines), size)]


def _names_schema() -> dict[str, Any]:
    names = {"type": "array", "items": {"type": "string"}}
    return _listing("entity_names", "lists", {"id": {"type": "integer"}, "names": names})


def _sentences_schema() -> dict[str, Any]:
    return _listing(
        "written_marked_sentences",
        "sentences",
        {"id": {"type": "integer"}, "text": {"type": "string"}},
    )


def _listing(title: str, under: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    entry = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
    return {
        "title": title,
        "type": "object",
        "properties": {under: {"type": "array", "items": entry}},
        "required": [under],
        "additionalProperties": False,
    }
