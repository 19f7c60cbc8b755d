"""What a mixture saves: gold sentences that need not be labelled, as hours and money of an
annotator, beside what the LLM cost.

`worth.minutes_per_sentence` and `worth.hourly_rate` of the runs say what an expert's labels cost;
where they are not said nothing is assumed. Does not compute gold-equivalents (evaluate/learning.py
does).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from touchstone.evaluate.learning import GoldEquivalent
from touchstone.report import reading
from touchstone.report.grid import Cell, Grid
from touchstone.report.tables.layout import Column, Entry, word

MINUTES, RATE = "worth.minutes_per_sentence", "worth.hourly_rate"


@dataclass(frozen=True)
class Price:
    """What an expert's labels cost: minutes a sentence, money an hour; None: not said."""

    minutes: float | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Worth:
    """What one cell is worth on a curve.

    Attributes
    ----------
    curve, mixture, cell : what it is of.
    own : gold sentences that it learned from itself.
    gold : how many gold sentences it is worth, its own among them.
    price : of an expert's labels.
    llm_usd : what the LLM cost; None where that is not known, as of replayed answers.
    runs : ids of the runs that it was computed from.
    """

    curve: str
    mixture: str
    cell: Cell
    own: int
    gold: GoldEquivalent
    price: Price
    llm_usd: float | None
    runs: tuple[str, ...]

    def hours(self, n: float) -> float:
        """Return the hours that an annotator needs for gold sentences beyond its own; NaN where
        nobody said how long one takes."""
        return np.nan if self.price.minutes is None else (n - self.own) * self.price.minutes / 60

    def money(self, n: float) -> float:
        """Return what these hours cost; NaN where nobody said what an hour does."""
        return np.nan if self.price.rate is None else self.hours(n) * self.price.rate

    def metrics(self) -> dict[str, float]:
        """Return it as metrics of the cell's run; what is not known, or beyond the curve, is left
        out."""
        gold = self.gold
        numbers = {
            "worth/gold_sentences": gold.value,
            "worth/gold_sentences_low": gold.low,
            "worth/gold_sentences_high": gold.high,
            "worth/hours": self.hours(gold.value),
            "worth/money": self.money(gold.value),
            "worth/llm_usd": np.nan if self.llm_usd is None else self.llm_usd,
        }
        return {name: float(value) for name, value in numbers.items() if np.isfinite(value)}

    def __str__(self) -> str:
        """Say it in a sentence: `bronze for 3.10 USD is worth 140 [80, 260] gold sentences, about 6
        hours of an annotator`."""
        cost = "" if self.llm_usd is None else f" for {self.llm_usd:.2f} USD"
        text = f"{self.mixture}{cost} is worth {self._said()} gold sentences"
        if self.own:
            text += f", {self.own:,} of them its own"
        value, open_end = self._end()
        hours, money = self.hours(value), self.money(value)
        if not np.isnan(hours):
            text += f", {open_end}{_hours(hours)} of an annotator"
        if not np.isnan(money):
            text += f" ({money:,.0f} at {self.price.rate:g} an hour)"
        return text

    def _said(self) -> str:
        text = str(self.gold)
        return text.replace(" (", " [").replace(")", "]").replace(" to ", ", ")

    def _end(self) -> tuple[float, str]:
        """Return the sentences by which hours are told, and how sure that is."""
        if self.gold.value == np.inf:
            return self.gold.largest, "more than "
        if self.gold.value == -np.inf:
            return np.nan, ""
        return self.gold.value, "about "


def price_of(cell: Cell) -> Price:
    """Return what the run of a cell said of an expert's labels."""
    said = cell.config.get("worth") or {}
    return Price(said.get("minutes_per_sentence"), said.get("hourly_rate"))


def llm_usd(grid: Grid, cell: Cell) -> float | None:
    """Return what the LLM's answers for a cell cost; None where that is not known: an endpoint
    without a price, or answers replayed from a recording."""
    used = cell.generations()
    runs = reading.generations(grid.store, list(used.values()), cell.run.info.experiment_id)
    total = 0.0
    for name in used.values():
        if (run := runs.get(name)) is None:
            return None
        numbers = run.data.metrics
        if "llm/cost_usd" not in numbers or (
            numbers.get("llm/cached") and not numbers.get("llm/sent")
        ):
            return None
        total += numbers["llm/cost_usd"]
    return total


def columns(worths: list[Worth]) -> tuple[Column, ...]:
    """Return the columns that the runs have said enough for."""
    found = []
    if any(one.price.minutes is not None for one in worths):
        found += [Column("llm_usd", "LLM, USD"), Column("hours", "hours of an annotator saved")]
    if any(one.price.minutes is not None and one.price.rate is not None for one in worths):
        found.append(Column("money", "worth in money"))
    return tuple(found)


def entries(worth: Worth) -> dict[str, Entry]:
    """Return the entries of these columns."""
    gold = worth.gold
    out = {
        "llm_usd": word("unknown", worth.cell.run_id)
        if worth.llm_usd is None
        else Entry(worth.llm_usd, digits=2, runs=(worth.cell.run_id,))
    }
    for key, of, digits in (("hours", worth.hours, 1), ("money", worth.money, None)):
        value, low, high = of(gold.value), of(gold.low), of(gold.high)
        text = "" if np.isfinite(value) else _beyond(of(gold.largest), gold.value, digits)
        out[key] = Entry(value, low, high, digits=digits, word=text, runs=worth.runs)
    return out


def _beyond(largest: float, value: float, digits: int | None) -> str:
    if value == np.inf and np.isfinite(largest):
        return f"more than {largest:,.{digits or 0}f}"
    return "none" if value == -np.inf else ""


def _hours(hours: float) -> str:
    return f"{hours:,.0f} hours" if abs(hours) >= 2 else f"{hours * 60:,.0f} minutes"
