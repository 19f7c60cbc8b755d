"""The sections of the report page that are neither table nor figure: examples, setting, data
statement, cost, how to run it again.

Each returns HTML made of escaped text. Sentences of restricted corpora, and prompts that could
quote them, are never shown, wherever their text may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from touchstone.report import reading
from touchstone.report.formats import html
from touchstone.report.grid import Cell, Grid
from touchstone.report.spending import spending
from touchstone.report.tables.layout import Column, Entry, Row, Table, count, word
from touchstone.report.tables.quality import generated
from touchstone.source_table import SYNTHETIC, TABLE
from touchstone.tracking import Run

SHOWN = 6  # examples of each kind
LONGEST = 240  # characters of an example


def missing(grid: Grid) -> Any:
    """Return the cells without a result, each with its reason and the command that runs it."""
    if grid.missing.empty:
        return ""
    items = Markup("").join(
        Markup("<li>{} of {}: {}<br><code>{}</code></li>").format(
            row.mixture, row.task, row.reason, row.command
        )
        for row in grid.missing.itertuples(index=False)
    )
    return Markup('<h3>Missing cells</h3><ul class="plain">{}</ul>').format(items)


def examples(grid: Grid) -> list[Any]:
    """Return examples of kept, dropped and quarantined sentences; none where a corpus is
    restricted."""
    if any(_restricted(cell) for cell in grid.cells):
        return [
            Markup(
                "<p>The corpus is restricted: its sentences, and what was generated from it, are "
                "not shown.</p>"
            )
        ]
    parts = []
    for source in TABLE[1:]:
        if len(rows := _kept(grid, source.name)):
            parts.append(
                _quotes(
                    f"Kept: {source.title} ({source.name})",
                    ((row.text, _labels(row)) for row in rows.itertuples(index=False)),
                )
            )
    if len(rows := _dropped(grid)):
        parts.append(
            _quotes(
                "Dropped before training",
                (
                    (row.text, f"{row.source}, {row.reason}".replace("_", " "))
                    for row in rows.itertuples()
                ),
            )
        )
    rows = _quarantined(grid)
    pairs = ((row.text, f"{row.stage}: {row.reason}") for row in rows.itertuples(index=False))
    parts.append(
        _quotes("Quarantined: answers that could not be used", pairs)
        if len(rows)
        else _none_quarantined(grid)
    )
    return [part for part in parts if part]


def _labels(row: Any) -> str:
    """Return the labels of an example as words: categories, or entities with their types."""
    spans = [f"{row.text[one['start'] : one['end']]} ({one['type']})" for one in row.spans]
    return ", ".join([*row.labels, *spans]) or "none"


def _kept(grid: Grid, stage: str) -> pd.DataFrame:
    """Return a sample of what a stage gave to training, different labels first."""
    cell = next((cell for cell in reversed(grid.cells) if stage in cell.sources), None)
    frame = (
        pd.DataFrame()
        if cell is None
        else reading.examples(grid.store, cell.run, "datasets/training.parquet")
    )
    if frame.empty or reading.withheld(frame):
        return pd.DataFrame()
    frame = frame[frame["source"] == stage].sample(frac=1, random_state=0)
    label = pd.Series([",".join(labels) for labels in frame["labels"]], index=frame.index)
    order = label.groupby(label).cumcount()
    return frame.assign(order=order).sort_values("order", kind="stable").head(SHOWN)


def _dropped(grid: Grid) -> pd.DataFrame:
    """Return a sample of dropped examples with their text: each reason in turn."""
    texts = {
        row.example_id: row.text
        for made in generated(grid)
        for row in made.frame.itertuples(index=False)
    }
    parts = [reading.table(grid.store, cell.run, "dropped") for cell in grid.cells]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame()
    table = pd.concat(parts, ignore_index=True).drop_duplicates(["source", "example_id", "reason"])
    table = table[
        table["example_id"].astype(str).isin(list(texts)) & (table["reason"] != "not_sampled")
    ]
    table = (
        table.assign(order=table.groupby("reason").cumcount())
        .sort_values("order", kind="stable")
        .head(SHOWN)
    )
    return table.assign(text=[texts[str(name)] for name in table["example_id"]])


def _quarantined(grid: Grid) -> pd.DataFrame:
    parts = [reading.table(grid.store, cell.run, "quarantine") for cell in grid.cells]
    parts = [part for part in parts if len(part)]
    return (
        pd.concat(parts, ignore_index=True).drop_duplicates().head(SHOWN)
        if parts
        else pd.DataFrame()
    )


def _none_quarantined(grid: Grid) -> Any:
    return (
        Markup("<p>Nothing was quarantined: every answer could be read.</p>")
        if any(cell.generations() for cell in grid.cells)
        else ""
    )


def _quotes(title: str, pairs: Iterable[tuple[Any, str]]) -> Any:
    items = Markup("").join(
        Markup("<li><span>{}</span><small>{}</small></li>").format(_cut(text), note)
        for text, note in pairs
    )
    return Markup('<h3>{}</h3><ul class="quotes">{}</ul>').format(title, items)


def _cut(text: Any) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"


def _restricted(cell: Cell) -> bool:
    return (
        cell.run.data.tags.get("touchstone.restricted") == "true"
        or cell.config["corpus"]["access"] == "restricted"
    )


def setting(grid: Grid) -> dict[str, str]:
    """Return the setting as facts; a fact that varies over the grid lists its values."""

    def values(pick: Callable[[Cell], Any]) -> str:
        return ", ".join(
            dict.fromkeys(
                str(value) for cell in grid.cells if (value := pick(cell)) not in ("", None)
            )
        )

    return {
        "Tasks": values(lambda cell: f"{cell.axes['task']} ({cell.kind})"),
        "Gold allowed": values(lambda cell: cell.axes["gold"]),
        "Mixtures": values(lambda cell: cell.axes["mixture"]),
        "Classifiers": values(lambda cell: cell.axes["classifier"]),
        "Prompts": values(
            lambda cell: (
                cell.axes["prompt"]
                and f"{cell.axes['prompt']} (version {cell.config['prompt']['version']})"
            )
        ),
        "LLM": values(
            lambda cell: (
                cell.axes["llm"] and f"{cell.axes['llm']} through {cell.config['llm']['backend']}"
            )
        ),
        "Served as": values(lambda cell: cell.run.data.tags.get("touchstone.served_models")),
        "Seeds": values(lambda cell: cell.predictions["seed"].nunique()),
        "Split": values(
            lambda cell: f"by patient or document, seed {cell.config['task']['split_seed']}"
        ),
        "Threads": values(lambda cell: cell.config["threads"]),
    }


def statement(grid: Grid, left_out: Sequence[str]) -> list[Any]:
    """Return what the data are, under which licence, and what the results do not say."""
    parts = []
    for name, corpus in {
        cell.config["corpus"]["name"]: cell.config["corpus"] for cell in grid.cells
    }.items():
        parts.append(
            html.facts(
                {
                    "Corpus": name,
                    "Licence": corpus["license"],
                    "Access": corpus["access"],
                    "Source": corpus["citation"],
                }
            )
        )
    limits = [
        "Silver and bronze are made by a language model; their labels were not checked by people "
        "unless the quality table says so.",
        "Synthetic sentences too close to a test sentence were dropped; how many stands in the "
        "table of mixtures.",
        "Intervals cover the choice of test patients or documents, not the draw of training "
        "patients nor another answer of the LLM.",
        "The scan for identifiers is a guard that says where to look. It is not de-identification.",
        *(f"Not in this report: {what}." for what in left_out),
    ]
    warnings = [cell.run.data.tags.get("touchstone.warnings", "") for cell in grid.cells]
    limits += [
        f"Warning of a run: {warning}."
        for warning in dict.fromkeys(
            part for line in warnings for part in line.split(" | ") if part
        )
    ]
    return [
        *parts,
        Markup('<ul class="plain">{}</ul>').format(
            Markup("").join(Markup("<li>{}</li>").format(limit) for limit in limits)
        ),
    ]


def cost(grid: Grid) -> list[Any]:
    """Return requests, tokens and cost of each generated data set, as logged by the process that
    made it."""
    rows = []
    made_by_llm = generated(grid, (*SYNTHETIC, "round_trip", "zero_shot"))
    for data in made_by_llm:
        numbers, run_id = data.run.data.metrics, data.run.info.run_id
        took = spending(grid, data.run)
        entries = {
            name: count(numbers.get(f"llm/{name}", np.nan), run_id)
            for name in ("requests", "sent", "cached")
        }
        entries |= {
            "tokens_in": _known(took.tokens_in, None, run_id),
            "tokens_out": _known(took.tokens_out, None, run_id),
            "cost_usd": word("replayed", run_id) if took.replayed else _known(took.usd, 2, run_id),
            "today_usd": _known(took.today_usd, 2, run_id),
        }
        entries |= {
            "n_examples": count(numbers.get("n_examples", np.nan), run_id),
            "n_quarantined": count(numbers.get("n_quarantined", np.nan), run_id),
        }
        rows.append(
            Row(
                (
                    data.name,
                    data.run.data.params.get("prompt", ""),
                    data.run.data.params.get("model", ""),
                ),
                entries,
            )
        )
    if not rows:
        return [Markup("<p>No language model was used.</p>")]
    titles = {
        "requests": "requests",
        "sent": "sent",
        "cached": "replayed",
        "tokens_in": "tokens in",
        "tokens_out": "tokens out",
        "cost_usd": "USD",
        "today_usd": "USD anew",
    }
    titles |= {"n_examples": "sentences", "n_quarantined": "quarantined"}
    days = sorted({spending(grid, one.run).as_of for one in made_by_llm} - {""})
    day = f" (looked up {', '.join(days)})" if days else ""
    note = (
        "sent: asked of an endpoint when the data set was made; replayed: answered from a "
        "recording or the response store, which cost nothing this time. Tokens are of all "
        "answers, as the endpoint counted them, else estimated from the text. USD anew: what "
        f"asking all of it would cost at the prices of today's table{day}; unknown where it has "
        "no price for the LLM."
    )
    columns = tuple(Column(key, title) for key, title in titles.items())
    return [
        html.table(
            Table(
                "cost",
                "Requests, tokens and cost",
                note,
                ("Data", "Prompt", "LLM"),
                columns,
                tuple(rows),
            )
        )
    ]


def _known(value: float | None, digits: int | None, run_id: str) -> Entry:
    if value is None:
        return word("unknown", run_id)
    return Entry(float(value), digits=digits, runs=(run_id,))


def again(grid: Grid, parent: Run) -> list[Any]:
    """Return the commands that run the sweep and its best cell again, and what they need."""
    best = max(grid.cells, key=lambda cell: cell.run.data.metrics.get("test/score", -1))
    commands = [
        ("The whole sweep", parent.data.tags.get("touchstone.command", "")),
        ("One cell, and whether it comes out identical", f"touchstone reproduce {best.run_id}"),
        (
            "Everything for another machine, in one archive",
            f"touchstone bundle {parent.info.run_id}",
        ),
        (
            "These tables as files",
            f"touchstone table {grid.study} --sweep {parent.info.run_id} --out out",
        ),
    ]
    shown = Markup("").join(
        Markup("<h3>{}</h3><pre>{}</pre>").format(title, text) for title, text in commands if text
    )
    git = reading.json_file(grid.store, best.run, "git.json") or {}
    environment = reading.json_file(grid.store, best.run, "environment.json") or {}
    state = {True: ", with changes that were not committed", False: "", None: ""}[git.get("dirty")]
    needs = {
        "Code": f"commit {git.get('commit') or 'unknown'}{state}",
        "Python": environment.get("python", "unknown"),
        "Platform": environment.get("platform", "unknown"),
    }
    cells = Markup("").join(
        Markup("<li>{} of {}: <code>{}</code></li>").format(
            cell.run.info.run_name, cell.axes["task"], cell.run_id
        )
        for cell in grid.cells
    )
    return [
        shown,
        html.facts(needs),
        Markup(
            '<details><summary>Run ids of all cells</summary><ul class="plain">{}</ul></details>'
        ).format(cells),
        _prompt(grid),
    ]


def _prompt(grid: Grid) -> Any:
    """Return the first request of each generation, as an example of the prompt; never of a
    restricted corpus."""
    if any(_restricted(cell) for cell in grid.cells):
        return ""
    shown = {}
    for cell in grid.cells:
        if text := reading.text(grid.store, cell.run, "prompts/example.md"):
            shown[text] = cell.axes["prompt"]
    longest = max(shown, key=len, default="")
    return (
        Markup(
            "<details><summary>Prompt {}: the first requests</summary><pre>{}</pre></details>"
        ).format(shown[longest], longest)
        if longest
        else ""
    )


def code(grid: Grid) -> str:
    """Return the beginning of the commit that the first cell ran."""
    git = reading.json_file(grid.store, grid.cells[0].run, "git.json") or {}
    return (git.get("commit") or "unknown")[:12]
