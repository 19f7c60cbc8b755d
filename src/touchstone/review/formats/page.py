"""A page to judge on, offline: one HTML file without server, account or request; what is judged is
kept in the browser and saved as a JSON file.

The page is judge.html, its program judge.js: plain JavaScript, allowed by its digest alone. A blind
page holds neither source nor label. Browsers count in UTF-16 units; the program saves characters.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.errors import UserError
from touchstone.review.judgements import COLUMNS
from touchstone.review.sampling import ASKS, Review

PAGE, PROGRAM = (Path(__file__).with_name(name) for name in ("judge.html", "judge.js"))


def write(review: Review, path: Path, guideline: str = "") -> list[Path]:
    """Write the page.

    Parameters
    ----------
    guideline : shown above the items, e.g. what the categories are about.
    """
    items = []
    for row in review.items.itertuples(index=False):
        items.append({"item": row.item, "text": row.text})
        if review.shows_labels:
            shown = {"source": row.source, "labels": list(row.labels), "spans": list(row.spans)}
            items[-1] |= shown
    payload = {
        "id": review.id,
        "kind": review.kind,
        "single": review.kind in ("relation",),
        "categories": [
            {"id": name, "name": title, "counts": review.definitions.get(name, "")}
            for name, title in review.categories.items()
        ],
        "asks": [{"id": name, "question": ASKS[name]} for name in review.asks],
        "items": items,
    }
    program = PROGRAM.read_text(encoding="utf-8")
    parts = {
        "HASH": script_hash(program),
        "PROGRAM": program,
        "DATA": json_in_html(payload),
        "TITLE": f"Review {review.id}",
        "GUIDELINE": escape(guideline),
    }
    template = PAGE.read_text(encoding="utf-8")
    path.write_text(re.sub(r"%([A-Z]+)%", lambda match: parts[match[1]], template), "utf-8")
    return [path]


def script_hash(program: str) -> str:
    """Return the source expression that lets a content security policy run this script alone."""
    return f"sha256-{base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()}"


def json_in_html(value: Any) -> str:
    """Return JSON that may stand in a script element: it cannot close it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def read(
    content: Mapping[str, Any], review: Review, where: str, expert: str | None
) -> pd.DataFrame:
    """Read what the page saved.

    Raises
    ------
    UserError
        If it is of another review, or not such a file.
    """
    if content.get("touchstone_review") != review.id:
        raise UserError(
            f"{where}: judgements of review {content.get('touchstone_review')}, not {review.id}"
        )
    rows = []
    for one in content.get("judgements", []):
        if not isinstance(one, Mapping) or "item" not in one:
            raise UserError(f"{where}: no file that the judging page saved")
        row = dict.fromkeys(COLUMNS, "") | {k: v for k, v in one.items() if k in COLUMNS}
        row["expert"] = expert or str(content.get("expert") or Path(where).stem)
        row["labels"], row["spans"] = list(one.get("labels", [])), list(one.get("spans", []))
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))
