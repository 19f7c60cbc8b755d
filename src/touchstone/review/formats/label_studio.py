"""Label Studio: tasks as JSON with the labelling configuration beside them; its JSON export read
back.

The LLM's labels are predictions, left out of a blind review. Checked against Label Studio's own
JSON format of tasks (https://labelstud.io/guide/tasks) and of exports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pandas as pd

from touchstone.errors import UserError
from touchstone.review.formats.offsets import from_utf16, to_utf16
from touchstone.review.judgements import COLUMNS
from touchstone.review.sampling import ASKS, Review
from touchstone.taxonomy import NONE


def write(review: Review, path: Path) -> list[Path]:
    """Write the tasks to `path` and the labelling configuration to the same name with .xml."""
    tasks = []
    for row in review.items.itertuples(index=False):
        task: dict[str, Any] = {"data": {"text": row.text, "item": row.item}}
        if review.shows_labels:
            task["data"]["source"] = row.source
            task["predictions"] = [{"model_version": "LLM", "result": _result(row, review.kind)}]
        tasks.append(task)
    path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    layout = path.with_suffix(".xml")
    layout.write_text(configuration(review), encoding="utf-8")
    return [path, layout]


def configuration(review: Review) -> str:
    """Return the labelling configuration: choices or spans, and the further questions."""
    names = list(review.categories)
    lines = ["<View>", '  <Text name="text" value="$text"/>']
    if review.kind == "ner":
        lines.insert(1, '  <Labels name="label" toName="text">')
        lines[2:2] = [f"    <Label value={quoteattr(name)}/>" for name in names] + ["  </Labels>"]
    else:
        how = "single" if review.kind == "relation" else "multiple"
        lines.append(f'  <Choices name="label" toName="text" choice="{how}" required="true">')
        for name in (*names, NONE):
            hint = review.definitions.get(name, "")
            lines.append(
                f"    <Choice value={quoteattr(name)}"
                + (f" hint={quoteattr(hint)}" if hint else "")
                + "/>"
            )
        lines.append("  </Choices>")
    for name in review.asks:
        lines += [
            f"  <Header value={quoteattr(ASKS[name])}/>",
            f'  <Choices name="{name}" toName="text" choice="single">',
            '    <Choice value="yes"/>',
            '    <Choice value="no"/>',
            "  </Choices>",
        ]
    lines += ['  <TextArea name="comment" toName="text" placeholder="Comment"/>', "</View>"]
    return "\n".join(lines) + "\n"


def _result(row: Any, kind: str) -> list[dict[str, Any]]:
    if kind != "ner":
        chosen = list(row.labels) or [NONE]
        return [
            {
                "from_name": "label",
                "to_name": "text",
                "type": "choices",
                "value": {"choices": chosen},
            }
        ]
    return [
        {
            "id": f"s{number}",
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": to_utf16(row.text, span["start"]),
                "end": to_utf16(row.text, span["end"]),
                "text": row.text[span["start"] : span["end"]],
                "labels": [span["type"]],
            },
        }
        for number, span in enumerate(row.spans)
    ]


def read(content: Any, review: Review, where: str, expert: str | None) -> pd.DataFrame:
    """Read an export of Label Studio ("JSON", not "JSON-MIN"): one judgement for each annotation
    that was not cancelled.

    Raises
    ------
    UserError
        If it is no such export, or a span is not in its text.
    """
    rows = []
    for task in content:
        if not isinstance(task, Mapping) or "data" not in task or "annotations" not in task:
            raise UserError(
                f"{where}: no export of Label Studio with annotations; "
                'choose Export, then "JSON" (not "JSON-MIN")'
            )
        item = str(task["data"].get("item", ""))
        text = str(task["data"].get("text", ""))
        for annotation in task["annotations"]:
            if annotation.get("was_cancelled"):
                continue
            who = annotation.get("completed_by", 1)
            who = who.get("email") or who.get("id") if isinstance(who, Mapping) else who
            row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {
                "item": item,
                "expert": expert or f"expert {who}",
                "labels": [],
                "spans": [],
            }
            for one in annotation.get("result", []):
                _add(row, one, text, f"{where}, item {item}")
            if review.kind != "ner" and not row["labels"]:
                continue  # opened and left
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _add(row: dict[str, Any], one: Mapping[str, Any], text: str, where: str) -> None:
    value, name = one.get("value", {}), one.get("from_name")
    if name == "label" and "choices" in value:
        row["labels"] += list(value["choices"])
    elif name == "label" and "labels" in value:
        start, end = from_utf16(text, value["start"]), from_utf16(text, value["end"])
        if not 0 <= start < end <= len(text):
            raise UserError(f"{where}: a span is outside of the text")
        row["spans"] += [{"start": start, "end": end, "type": kind} for kind in value["labels"]]
    elif name in ("realistic", "identifier"):
        row[name] = "".join(value.get("choices", [])[:1])
    elif name == "comment":
        row["comment"] = " ".join(value.get("text", []))
