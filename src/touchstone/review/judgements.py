"""Judgements of experts: checked, brought together, and turned into corrected labels.

A judgement is a row: item, expert, labels, spans, realistic, identifier, comment. Several experts
may judge one item. A label is agreed where more than half of its judges gave it; where exactly
half did, the item is unresolved: it counts by halves in the estimates and corrects nothing. Does
not read files (formats/) nor estimate anything (results.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data.examples import check
from touchstone.errors import UserError, no_such
from touchstone.review.sampling import Review
from touchstone.taxonomy import NONE

COLUMNS = ("item", "expert", "labels", "spans", "realistic", "identifier", "comment")
YES_NO = ("yes", "no")


def checked(judgements: pd.DataFrame, review: Review, where: str) -> pd.DataFrame:
    """Return judgements whose every id and label is known.

    Parameters
    ----------
    judgements : DataFrame with `COLUMNS`, one row for each judged item and expert.
    where : the file, for messages.

    Raises
    ------
    UserError
        Naming the item (never its text): of another review, judged twice by one expert, an unknown
        label or entity type, an answer that is neither yes nor no; or where nothing is judged.
    """
    if judgements.empty:
        raise UserError(f"{where}: no item is judged yet")
    known = set(review.items["item"])
    choices = {*review.categories, NONE}
    for row in judgements.itertuples(index=False):
        place = f"{where}, item {str(row.item)[:40]}"
        if row.item not in known:
            raise UserError(
                f"{place}: not of review {review.id}, whose items are {review.items['item'].min()} "
                f"to {review.items['item'].max()}"
            )
        for label in row.labels:
            if label not in choices:
                raise UserError(f"{place}: {no_such('category', str(label)[:40], choices)}")
        if NONE in row.labels and len(row.labels) > 1:
            raise UserError(f'{place}: "{NONE}" cannot stand beside another category')
        for span in row.spans:
            if span["type"] not in review.categories:
                raise UserError(
                    f"{place}: {no_such('entity type', str(span['type'])[:40], review.categories)}"
                )
        for name in ("realistic", "identifier"):
            if getattr(row, name) not in ("", *YES_NO):
                raise UserError(f"{place}, {name}: must be yes or no")
    twice = judgements[judgements.duplicated(["item", "expert"])]
    if len(twice):
        raise UserError(
            f"{where}, item {twice['item'].iloc[0]}: judged twice by expert "
            f"{twice['expert'].iloc[0]}; keep one line, or name the experts: --expert NAME"
        )
    plain = [[label for label in labels if label != NONE] for labels in judgements["labels"]]
    return judgements.assign(labels=plain)[list(COLUMNS)].reset_index(drop=True)


def agreed(judgements: pd.DataFrame, review: Review) -> pd.DataFrame:
    """Bring the judgements of several experts together.

    Returns
    -------
    DataFrame[item, example_id, source, labels, spans, n_judges, resolved], one row per judged item,
    in the order of the review; labels and spans are those that more than half of its judges gave,
    resolved is False where exactly half gave one.
    """
    facts = review.items.set_index("item")
    order = {name: i for i, name in enumerate(review.categories)}
    rows = []
    for item, group in judgements.groupby("item", sort=True):
        n = len(group)
        labels = _votes([tuple(labels) for labels in group["labels"]])
        spans = _votes([tuple(map(_as_tuple, spans)) for spans in group["spans"]])
        rows.append(
            {
                "item": item,
                "example_id": facts.at[item, "example_id"],
                "source": facts.at[item, "source"],
                "labels": sorted(
                    (label for label, votes in labels.items() if 2 * votes > n),
                    key=order.__getitem__,
                ),
                "spans": [
                    {"start": start, "end": end, "type": kind}
                    for (start, end, kind), votes in sorted(spans.items())
                    if 2 * votes > n
                ],
                "n_judges": n,
                "resolved": all(2 * votes != n for votes in (*labels.values(), *spans.values())),
            }
        )
    return pd.DataFrame(rows)


def corrections(judgements: pd.DataFrame, review: Review) -> pd.DataFrame:
    """Return the resolved items of generated sources as `mixture.SOURCE.corrections` reads them:
    example_id, source, labels, spans, n_judges."""
    rows = agreed(judgements, review)
    rows = rows[rows["resolved"] & (rows["source"] != "gold")]
    return rows[["example_id", "source", "labels", "spans", "n_judges"]].reset_index(drop=True)


def write_corrections(rows: pd.DataFrame, path: Path) -> None:
    """Write corrected labels as JSONL: ids and labels, no text."""
    lines = (json.dumps(row, ensure_ascii=False) for row in rows.to_dict("records"))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_corrections(path: str | Path, categories: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Read corrected labels: example id -> {labels, spans}.

    Raises
    ------
    UserError
        With the line: no such file, no JSON, a field that is missing, an unknown label, an id that
        stands twice.
    """
    path, known = Path(path), set(categories)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"corrections {path}: cannot be read ({type(error).__name__}); "
            "`touchstone review import FILE --corrections OUT` writes such a file"
        ) from error
    out: dict[str, Mapping[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"corrections {path}, line {number}"
        try:
            row = json.loads(line)
            name, labels, spans = row["example_id"], list(row["labels"]), list(row["spans"])
            types = [span["type"] for span in spans if span["start"] < span["end"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{where}: needs example_id, labels and spans, as JSON") from error
        for label in (*labels, *types):
            if label not in known:
                raise UserError(f"{where}: {no_such('category', str(label)[:40], known)}")
        if name in out:
            raise UserError(f"{where}: example {str(name)[:80]} stands twice")
        out[name] = {"labels": labels, "spans": spans}
    return out


def correct(
    frame: pd.DataFrame, labels: Mapping[str, Mapping[str, Any]], source: str, where: str | Path
) -> tuple[pd.DataFrame, set[str]]:
    """Return an example table with corrected labels and spans, and the ids of the judged examples
    in it. Ids of other sources may stand in the file.

    Raises
    ------
    UserError
        If none of the judged examples is in the table, or a span is outside of its sentence.
    """
    ids = frame["example_id"].astype(str)
    judged = set(ids) & set(labels)
    if not judged:
        raise UserError(
            f"mixture.{source}.corrections={where}: none of its {len(labels)} examples is in the "
            f"{source} data; they were judged for another prompt, LLM or corpus"
        )
    changed = frame.assign(
        labels=[
            list(labels[name]["labels"]) if name in judged else old
            for name, old in zip(ids, frame["labels"], strict=True)
        ],
        spans=[
            [dict(span) for span in labels[name]["spans"]] if name in judged else old
            for name, old in zip(ids, frame["spans"], strict=True)
        ],
    )
    return check(changed), judged


def _votes(given: Sequence[Sequence[Any]]) -> dict[Any, int]:
    votes: dict[Any, int] = {}
    for one in given:
        for value in dict.fromkeys(one):
            votes[value] = votes.get(value, 0) + 1
    return votes


def _as_tuple(span: Mapping[str, Any]) -> tuple[int, int, str]:
    return int(span["start"]), int(span["end"]), str(span["type"])
