"""The explorer: which sentences one cell gains and another loses, squares of a confusion matrix,
and the generated sentences to browse.

One section of the report, and a page alone (`touchstone explore`). Data and program stand in the
page: explorer.js is plain JavaScript, allowed by its digest alone, and asks for nothing. Without
JavaScript the table of gains and losses stands as text. Text of restricted corpora is left out; ids
and counts stay. Does not score anything: right is what `comparisons.py` counts as right, a sentence
whose predicted labels, or spans, are those of gold.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from touchstone.report import reading
from touchstone.report.choosing import restricted
from touchstone.report.grid import Cell, Grid, taxonomy
from touchstone.report.tables.captions import row_name
from touchstone.report.tables.quality import generated, training_gold
from touchstone.source_table import SYNTHETIC
from touchstone.taxonomy import NONE

HERE = Path(__file__).parent
PROGRAM, STYLE, MARKUP = (HERE / f"explorer.{end}" for end in ("js", "css", "html"))
NEAREST = 0.15  # cosine below which no gold sentence counts as near


def program() -> str:
    """Return the explorer's JavaScript."""
    return PROGRAM.read_text(encoding="utf-8")


def script_hash() -> str:
    """Return the source expression by which a content security policy allows this program alone."""
    return f"sha256-{base64.b64encode(hashlib.sha256(program().encode()).digest()).decode()}"


def section(grid: Grid) -> Markup:
    """Return the section: table without JavaScript, controls, data, program and style."""
    content = payload(grid)
    parts = {
        "STYLE": Markup(STYLE.read_text(encoding="utf-8")),
        "TABLE": gains_table(content),
        "DATA": Markup(_in_html(content)),
        "PROGRAM": Markup(program()),
    }
    out = MARKUP.read_text(encoding="utf-8")
    for name, value in parts.items():
        out = out.replace(f"%{name}%", str(value), 1)
    return Markup(out)


def payload(grid: Grid) -> dict[str, Any]:
    """Return what the explorer shows, as plain data.

    Returns
    -------
    withheld : whether text is left out.
    tests : one for each task and test set: name, kind, categories, marks, texts, ids, values (label
        sets or span lists, as lists), gold (index into values of each sentence) and cells: name,
        run, link, seeds, predictions (for each seed, an index into values of each sentence).
    made : generated sentences: id, source, text, labels, spans, confidence, fate (kept, or why it
        was dropped or quarantined), near (index into gold) and how near.
    gold : text and labels of the training gold.
    """
    secret = restricted(grid)
    groups: dict[tuple, list[Cell]] = {}
    for cell in grid.cells:
        ids = tuple(sorted(cell.predictions["example_id"].unique()))
        groups.setdefault((cell.axes["task"], hash(ids)), []).append(cell)
    tests = [_test(grid, cells, secret) for cells in groups.values()]
    made, gold = _made(grid, secret)
    return {"withheld": secret, "tests": tests, "made": made, "gold": gold}


def changes(
    test: Mapping[str, Any], first: int, second: int, seed: int = 0
) -> dict[str, list[int]]:
    """Return category -> [gained, lost] of the second cell against the first, by gold's label
    (`all`: all sentences).

    Parameters
    ----------
    test : of `payload`.
    first, second : positions of the cells.
    seed : position of the repetition; a cell with fewer gives its last.
    """
    a, b = (_seed(test["cells"][i], seed) for i in (first, second))
    out = {name: [0, 0] for name in ("all", *test["categories"], NONE)}
    for gold, one, two in zip(test["gold"], a, b, strict=True):
        if (one == gold) == (two == gold):
            continue
        column = 0 if two == gold else 1
        for name in ("all", *_names(test["values"][gold])):
            out[name][column] += 1
    return out


def gains_table(content: Mapping[str, Any]) -> Markup:
    """Return what each cell gains and loses against the first of its task, by category."""
    parts = []
    for test in content["tests"]:
        cells = test["cells"]
        if len(cells) < 2:
            continue
        names = ["all", *test["categories"], NONE]
        head = Markup("").join(Markup('<th class="n" scope="col">{}</th>').format(n) for n in names)
        rows = []
        for place in range(1, len(cells)):
            changed = changes(test, 0, place)
            numbers = Markup("").join(
                Markup("<td>+{} −{}</td>").format(*changed[name]) for name in names
            )
            rows.append(
                Markup('<tr><th scope="row">{}</th>{}</tr>').format(cells[place]["name"], numbers)
            )
        parts.append(
            Markup(
                "<h3>{}: sentences gained and lost against {}</h3>"
                '<div class="scroll" tabindex="0" role="region" aria-label="gains and losses">'
                "<table><thead><tr><th "
                'scope="col">cell</th>{}</tr></thead><tbody>{}</tbody></table>'
                "</div><p>By gold's category, first repetition. Gained: wrong before, right now; "
                "lost: right before, wrong now; of {:,} test sentences.</p>"
            ).format(test["name"], cells[0]["name"], head, Markup("").join(rows), len(test["gold"]))
        )
    return Markup("").join(parts)


def _seed(cell: Mapping[str, Any], seed: int) -> list[int]:
    return cell["predictions"][min(seed, len(cell["predictions"]) - 1)]


def _names(value: Sequence[Any]) -> list[str]:
    """Return the categories of a label set or of spans, none where there are none."""
    names = [item[2] if isinstance(item, (list, tuple)) else item for item in value]
    return list(dict.fromkeys(names)) or [NONE]


def _test(grid: Grid, cells: Sequence[Cell], secret: bool) -> dict[str, Any]:
    first = cells[0]
    rows = first.predictions.drop_duplicates("example_id").sort_values("example_id")
    ids = rows["example_id"].tolist()
    frame = reading.examples(grid.store, first.run, "datasets/test.parquet")
    texts: dict[str, str] = {}
    if not secret and len(frame) and not reading.withheld(frame):
        texts = dict(zip(frame["example_id"], frame["text"], strict=True))
    index: dict[str, int] = {}
    values: list[Any] = []

    def number(items: Any) -> int:
        value = _plain(items)
        key = json.dumps(value)
        if key not in index:
            index[key] = len(values)
            values.append(value)
        return index[key]

    gold = [number(items) for items in rows["true"]]
    shown = []
    for cell in cells:
        seeds = []
        for _, part in cell.predictions.groupby("seed", sort=True):
            seeds.append([number(items) for items in part.sort_values("example_id")["pred"]])
        experiment = cell.run.info.experiment_id
        shown.append(
            {
                "name": row_name(cell, grid),
                "run": cell.run_id,
                "link": f"#/experiments/{experiment}/runs/{cell.run_id}",
                "predictions": seeds,
            }
        )
    return {
        "name": first.axes["task"],
        "kind": first.kind,
        "categories": list(first.categories),
        "marks": list(taxonomy(first.config).marks),
        "ids": ids,
        "texts": [texts.get(name, "") for name in ids],
        "gold": gold,
        "values": values,
        "cells": shown,
    }


def _plain(items: Any) -> list[Any]:
    """Return labels in alphabetical order, or spans as [start, end, type] in order of place."""
    spans = [
        [int(item["start"]), int(item["end"]), str(item["type"])]
        for item in items
        if isinstance(item, Mapping)
    ]
    return sorted(spans) if spans else sorted(str(item) for item in items)


def _made(grid: Grid, secret: bool) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return the generated sentences with what became of them, and the training gold."""
    gold, _, _ = training_gold(grid) if grid.cells else (pd.DataFrame(), None, "")
    fates = _fates(grid)
    rows: list[list[Any]] = []
    texts: list[str] = []
    for one in generated(grid, SYNTHETIC):
        frame = one.frame
        if frame.empty:  # restricted, and its text is not on this machine: ids and labels are
            frame = reading.examples(grid.store, one.run, "examples.parquet")
        for row in frame.itertuples(index=False):
            fate = fates.get((one.stage, str(row.example_id)), "kept")
            labels, spans = _plain(row.labels), _plain(row.spans)
            text = "" if secret else str(row.text)
            rows.append(
                [str(row.example_id), one.name, text, labels, spans, row.confidence, fate, -1, 0]
            )
            texts.append(text)
    if not secret and len(gold) and rows:
        for row, (place, score) in zip(rows, _nearest(texts, gold["text"].tolist()), strict=True):
            row[7], row[8] = place, score
    rows += [] if secret else _quarantined(grid)
    shown = [[row.text, _plain(row.labels), _plain(row.spans)] for row in gold.itertuples()]
    return rows, [] if secret else shown


def _fates(grid: Grid) -> dict[tuple[str, str], str]:
    """Return (source, example id) -> why a cell dropped it; kept by any cell is kept."""
    dropped: dict[tuple[str, str], str] = {}
    ids: set[tuple[str, str]] = set()
    for cell in grid.cells:
        table = reading.table(grid.store, cell.run, "dropped")
        here = {(row.source, str(row.example_id)): str(row.reason) for row in table.itertuples()}
        dropped |= here
        frame = reading.examples(grid.store, cell.run, "datasets/training.parquet")
        if len(frame):
            ids |= set(zip(frame["source"], frame["example_id"].astype(str), strict=True))
    return {key: reason for key, reason in dropped.items() if key not in ids}


def _quarantined(grid: Grid) -> list[list[Any]]:
    parts = [reading.table(grid.store, cell.run, "quarantine") for cell in grid.cells]
    parts = [part for part in parts if len(part)]
    if not parts:
        return []
    table = pd.concat(parts, ignore_index=True).drop_duplicates()
    return [
        [
            str(row.key)[:12],
            str(row.stage),
            str(row.text),
            [],
            [],
            "",
            f"quarantined: {row.reason}",
            -1,
            0,
        ]
        for row in table.itertuples()
    ]


def _nearest(texts: Sequence[str], gold: Sequence[str]) -> list[tuple[int, float]]:
    """Return for each text the gold sentence with the highest cosine of TF-IDF words, (-1, 0) where
    none is near."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        known = vectorizer.fit_transform(gold)
    except ValueError:  # gold has no words
        return [(-1, 0.0)] * len(texts)
    out = []
    for start in range(0, len(texts), 512):
        scores = (vectorizer.transform(texts[start : start + 512]) @ known.T).toarray()
        best = scores.argmax(axis=1)
        for row, place in enumerate(best):
            score = float(scores[row, place])
            out.append((int(place), round(score, 2)) if score >= NEAREST else (-1, 0.0))
    return out


def _in_html(value: Any) -> str:
    """Return JSON that cannot close the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
