"""Answers about sentences, without the sentences: what an LLM said about text that may not be
redistributed.

For each sentence of a request: its number, a digest, and labels or character offsets of mentions,
with the confidence; for an answer that did not parse, the reason. Replay writes the answer again
from the reader's own copy of the text: the request's key covers every character that was asked
about, so nothing is rebuilt over other text, and the digests say which sentence differs. Covers
data-to-label answers (labels of sentences, marks of entities); what a model wrote by itself is no
text of the corpus and needs no stand-off form. Does not read or write files (recording.py).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from touchstone.llm.answers import loads
from touchstone.llm.marks import read_marks, write_marks
from touchstone.llm.protocol import ParseError

LABELS, MARKS = "sentence_labels", "marked_sentences"  # titles of the answers' JSON schemas
DIGEST_DIGITS = 16  # hex digits of a public sentence's digest
# Of a restricted one: enough to say where two copies differ, too little to test a guessed sentence.
RESTRICTED_DIGITS = 2
CONFIDENCES = ("high", "medium", "low")

_OPEN = re.compile(r"^<(sentences[\w-]*)>$", re.MULTILINE)
_TAG = re.compile(r"</?([^\W\d][\w.-]*)>")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\u201c[^\u201d]*\u201d")


def numbered(messages: Iterable[Mapping[str, str]]) -> dict[int, str]:
    """Return the sentences that a data-to-label request asks about: number -> text; {} where it
    asks about none.

    Examples
    --------
    >>> numbered([{"role": "user", "content": "<sentences>\\n(context) A.\\n1. B.\\n</sentences>"}])
    {1: 'B.'}
    """
    for message in messages:
        opening = _OPEN.search(message["content"]) if message["role"] == "user" else None
        if opening is None:
            continue
        end = message["content"].rfind(f"\n</{opening[1]}>")
        if end < opening.end():
            continue
        sentences: dict[int, list[str]] = {}
        current: list[str] = []
        for line in message["content"][opening.end() + 1 : end].split("\n"):
            start = f"{len(sentences) + 1}. "
            if line.startswith(start):
                current = sentences[len(sentences) + 1] = [line.removeprefix(start)]
            elif line.startswith("(context) "):
                current = [line]
            else:
                current.append(line)
        return {number: "\n".join(lines) for number, lines in sentences.items()}
    return {}


def form_of(request: Mapping[str, Any]) -> str | None:
    """Return `labels` or `marks`, the form in which the answer to a request can stand off; None
    where it cannot."""
    title = (request.get("schema") or {}).get("title")
    return {LABELS: "labels", MARKS: "marks"}.get(str(title))


def stand_off(request: Mapping[str, Any], answer: str, *, restricted: bool) -> dict[str, Any]:
    """Return an answer as numbers, digests, labels or offsets, and confidences.

    Parameters
    ----------
    request : messages and schema, as the store keeps them.
    answer : the completion.
    restricted : whether the corpus is: its digests are then too short to test guesses.

    Returns
    -------
    {"form", "sentences": [{"id", "digest", "labels" or "spans", "confidence"}, ...]}; spans are
    [start, end, type], end exclusive. For an answer that cannot be used: {"refused": reason}.

    Raises
    ------
    ValueError
        If the request asks about no numbered sentences.
    """
    form, sentences = form_of(request), numbered(request["messages"])
    if form is None or not sentences:
        raise ValueError("the request asks about no numbered sentences")
    try:
        value, _ = loads(answer)
        entries = value.get("sentences") if isinstance(value, Mapping) else None
        if not isinstance(entries, list):
            raise ParseError("the answer holds no list of sentences")
        read: Callable[..., dict[str, Any]] = _labels if form == "labels" else _spans
        rows = []
        for entry in entries:
            number = entry.get("id") if isinstance(entry, Mapping) else None
            if isinstance(number, bool) or not isinstance(number, int) or number not in sentences:
                raise ParseError("the answer holds a number that was not asked")
            if entry.get("confidence") not in CONFIDENCES:
                raise ParseError(f'id {number}: "confidence" must be high, medium or low')
            rows.append(
                {
                    "id": number,
                    "digest": sentence_digest(sentences[number], restricted=restricted),
                    **read(entry, sentences[number], request["schema"]),
                    "confidence": entry["confidence"],
                }
            )
        return {"form": form, "sentences": rows}
    except ParseError as error:
        return {"refused": reason(str(error))}


def rebuilt(messages: Iterable[Mapping[str, str]], kept: Mapping[str, Any]) -> str:
    """Return the answer that `stand_off` made, over the sentences of the reader's own request.

    Raises
    ------
    ValueError
        If a number, a digest or an offset does not fit the sentences; the message says which.
    """
    sentences, entries = numbered(messages), []
    for row in kept["sentences"]:
        number = row["id"]
        if number not in sentences or not _same(sentences[number], row["digest"]):
            raise ValueError(f"sentence {number} differs from the one that was asked about")
        entry: dict[str, Any] = {"id": number}
        if kept["form"] == "labels":
            entry["labels"] = row["labels"]
        else:
            if any(not 0 <= a < b <= len(sentences[number]) for a, b, _ in row["spans"]):
                raise ValueError(f"sentence {number}: an offset lies outside of it")
            spans = [{"start": a, "end": b, "type": name} for a, b, name in row["spans"]]
            entry["text"] = write_marks(sentences[number], spans)
        entries.append({**entry, "confidence": row["confidence"]})
    return json.dumps({"sentences": entries}, ensure_ascii=False)


def differing(messages: Iterable[Mapping[str, str]], kept: Mapping[str, Any]) -> list[int] | None:
    """Return the numbers of the sentences that differ from those asked about; None where most do,
    so that it is about other text."""
    sentences, rows = numbered(messages), kept.get("sentences", [])
    wrong = [
        row["id"]
        for row in rows
        if row["id"] not in sentences or not _same(sentences[row["id"]], row["digest"])
    ]
    return wrong if rows and len(wrong) * 2 < len(rows) else None


def fault(kept: Any) -> str | None:
    """Say what is wrong with the shape of a stand-off answer from a file; None where nothing is."""
    if not isinstance(kept, Mapping):
        return '"stand_off" must be an object'
    if "refused" in kept:
        plain = isinstance(kept["refused"], str) and isinstance(kept.get("again", ""), str)
        return None if plain else '"refused" and "again" must be text'
    if kept.get("form") not in ("labels", "marks") or not isinstance(kept.get("sentences"), list):
        return '"stand_off" needs "form" (labels or marks) and "sentences" (a list)'
    for row in kept["sentences"]:
        whole = (
            isinstance(row, Mapping)
            and type(row.get("id")) is int
            and isinstance(row.get("digest"), str)
            and bool(row["digest"])
            and row.get("confidence") in CONFIDENCES
            and (_is_labels if kept["form"] == "labels" else _is_spans)(row)
        )
        if not whole:
            return "a sentence lacks id, digest, confidence, or its labels or spans"
    return None


def sentence_digest(text: str, *, restricted: bool) -> str:
    """Return the digest that tells whether two copies of a sentence are the same."""
    whole = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return whole[: RESTRICTED_DIGITS if restricted else DIGEST_DIGITS]


def reason(text: str) -> str:
    """Return a reason without quotations of more than two words, which may be text of the
    corpus."""
    return _QUOTED.sub(lambda match: match[0] if len(match[0].split()) < 3 else "'...'", text)


def _same(text: str, digest: str) -> bool:
    whole = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return whole.startswith(digest)


def _labels(entry: Mapping[str, Any], _: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]["sentences"]["items"]["properties"]
    ids, labels = properties["labels"]["items"]["enum"], entry.get("labels")
    if not isinstance(labels, list) or not all(label in ids for label in labels):
        raise ParseError(f'id {entry["id"]}: "labels" must be a list of category ids')
    return {"labels": labels}


def _spans(entry: Mapping[str, Any], text: str, _: Mapping[str, Any]) -> dict[str, Any]:
    marked = entry.get("text")
    if not isinstance(marked, str):
        raise ParseError(f'id {entry["id"]}: "text" must be the sentence with its mentions marked')
    types = sorted(set(_TAG.findall(marked)) or {"-"})
    plain, spans = read_marks(marked.strip(), types, text)
    if plain != text:
        raise ParseError(f"id {entry['id']}: without its marks the text is not the sentence given")
    if read_marks(write_marks(text, spans), types, text)[1] != spans:
        raise ParseError(f"id {entry['id']}: marks that stand in the sentence itself")
    return {"spans": [[span["start"], span["end"], span["type"]] for span in spans]}


def _is_labels(row: Mapping[str, Any]) -> bool:
    labels = row.get("labels")
    return isinstance(labels, list) and all(isinstance(label, str) for label in labels)


def _is_spans(row: Mapping[str, Any]) -> bool:
    spans = row.get("spans")
    return isinstance(spans, list) and all(_is_span(span) for span in spans)


def _is_span(span: Any) -> bool:
    if not isinstance(span, Sequence) or isinstance(span, str) or len(span) != 3:
        return False
    return type(span[0]) is int and type(span[1]) is int and isinstance(span[2], str)
