"""doccano: JSONL for text classification or sequence labelling, and its export read back.

The LLM's labels stand in it unless the review is blind. doccano exports a file for each annotator,
named after them: that is the expert. Source: doccano's documentation of formats
(https://doccano.github.io/doccano/tutorial/).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.errors import UserError
from touchstone.review.formats.offsets import from_utf16, to_utf16
from touchstone.review.judgements import COLUMNS
from touchstone.review.sampling import Review
from touchstone.taxonomy import NONE


def write(review: Review, path: Path) -> list[Path]:
    """Write the items, and beside them NAME.labels.json, the labels to import first."""
    lines = []
    for row in review.items.itertuples(index=False):
        label: list[Any] = []
        if review.shows_labels and review.kind == "ner":
            label = [
                [to_utf16(row.text, s["start"]), to_utf16(row.text, s["end"]), s["type"]]
                for s in row.spans
            ]
        elif review.shows_labels:
            label = list(row.labels) or [NONE]
        one = {"text": row.text, "label": label, "item": row.item}
        lines.append(json.dumps(one, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    names = [*review.categories, *([] if review.kind == "ner" else [NONE])]
    labels = path.with_suffix(".labels.json")
    labels.write_text(
        json.dumps([{"text": name} for name in names], ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return [path, labels]


def read(path: Path, review: Review, expert: str | None) -> pd.DataFrame:
    """Read an export of doccano. A sentence without labels is not judged; in sequence labelling,
    where that is a judgement, export the approved documents only.

    Raises
    ------
    UserError
        With the line, if one is no JSON, has no item or no labels.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            item = one.get("item") or one["meta"]["item"]
            labels = one["label"] if "label" in one else one["labels"]
            text = one["text"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}, line {number}: needs text, label and item, as doccano exports them "
                "(JSONL)"
            ) from error
        if review.kind != "ner" and not labels:
            continue
        spans = []
        if review.kind == "ner":
            for start, end, name in labels:
                start, end = from_utf16(text, start), from_utf16(text, end)
                if not 0 <= start < end <= len(text):
                    raise UserError(f"{path}, line {number}: a span is outside of the text")
                spans.append({"start": start, "end": end, "type": name})
            labels = []
        rows.append(
            dict.fromkeys(COLUMNS, "")
            | {"item": item, "expert": expert or path.stem, "labels": labels, "spans": spans}
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
