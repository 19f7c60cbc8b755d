"""Read what `prodigy db-out` writes: JSONL of tasks with spans, a label or accepted choices.

`answer: ignore` is left out and counted; `reject` of a task with one label means that the text does
not have it, of spans that they are not gold: left out and counted. Answers to one text by one
person (`_annotator_id`, `_session_id`) are joined by `_input_hash`; of several people see
data/annotators.py. Offsets are characters, checked against the tokens where the task has them. Each
text is one example, unless `segment: true`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts, records
from touchstone.data.annotated import Annotation, Document, mentions_of, relations_between
from touchstone.data.annotators import Vote, read_single, read_votes
from touchstone.data.files import rows
from touchstone.data.pairs import UNNAMED, Link
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS, *records.KEYS, "annotator")
WHO = ("_annotator_id", "_session_id")


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read tasks as an example table; see `label_studio.read` for what is returned."""
    return read_votes(_votes, files, taxonomy, data_folder, left="left out")


def read_annotators(files: GoldFiles, data_folder: str | Path | None) -> pd.DataFrame:
    """Return what each annotator said; see `annotators.single`."""
    return read_single(_votes, files, data_folder)


def _votes(part: parts.Part, files: GoldFiles, counted: Counter[str]) -> list[list[Vote]]:
    votes: dict[tuple[str, str], tuple[Document, list[str], list[Annotation], list[Link]]] = {}
    for line, task in rows(part.path):
        where = f"{part.path}, line {line}"
        answer = task.get("answer", "accept")
        if answer not in ("accept", "reject", "ignore"):
            raise UserError(f"{where}: answer must be accept, reject or ignore")
        if answer == "ignore" or (answer == "reject" and task.get("spans")):
            counted["ignored or rejected tasks"] += 1
            continue
        text = str(task.get("_input_hash", f"line {line}"))
        who = next((str(task[name]) for name in WHO if task.get(name)), "")
        document = records.document(task, files, where, part)
        if (text, who) in votes and votes[text, who][0].text != document.text:
            text = f"line {line}"  # one hash, two texts: made by another tool
        _, labels, marks, links = votes.setdefault((text, who), (document, [], [], []))
        if answer == "accept":
            links += _links(task, where)
            labels += _labels(task, where)
            marks += _marks(task, where)
    drafts = list(votes.items())
    placed = mentions_of(
        [(document.where, document.text, marks) for _, (document, _, marks, _) in drafts],
        path=part.path,
        given=files.offsets,
    )
    texts: dict[str, list[Vote]] = {}
    for ((text, who), (document, labels, marks, links)), mentions in zip(
        drafts, placed, strict=True
    ):
        joined = relations_between(marks, mentions, links, document.where, known=False)
        said = records.with_annotations(document, tuple(dict.fromkeys(labels)), mentions, joined)
        texts.setdefault(text, []).append(Vote(who, said))
    return list(texts.values())


def _labels(task: Mapping[str, Any], where: str) -> list[str]:
    chosen = task.get("accept")
    if chosen is not None:
        if not isinstance(chosen, list):
            raise UserError(f"{where}: accept must be a list of the chosen options")
        return [str(one) for one in chosen]
    label = task.get("label")
    return [label] if isinstance(label, str) and "spans" not in task else []


def _links(task: Mapping[str, Any], where: str) -> list[Link]:
    try:
        return [
            Link(
                str(one.get("label") or UNNAMED), _name(one["head_span"]), _name(one["child_span"])
            )
            for one in task.get("relations") or []
        ]
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{where}: a relation needs head_span, child_span and label") from None


def _name(span: Mapping[str, Any]) -> str:
    return f"{span['start']} to {span['end']}"


def _marks(task: Mapping[str, Any], where: str) -> list[Annotation]:
    tokens = {token["id"]: token for token in task.get("tokens") or [] if "id" in token}
    out = []
    for span in task.get("spans") or []:
        try:
            start, end, kind = int(span["start"]), int(span["end"]), str(span["label"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: a span needs start, end and label") from None
        first, last = tokens.get(span.get("token_start")), tokens.get(span.get("token_end"))
        mention = None
        if first and last and (first["start"], last["end"]) != (start, end):
            raise UserError(f"{where}: the span {start}..{end} is not that of its tokens")
        if first and last:
            inside = [t for t in tokens.values() if first["id"] <= t["id"] <= last["id"]]
            if all("ws" in token for token in inside):
                mention = "".join(token["text"] + " " * token["ws"] for token in inside)
        out.append(Annotation(((start, end, mention),), kind, (), (_name(span),)))
    return out
