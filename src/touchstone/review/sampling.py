"""Draw the sentences that experts judge: a stratified probability sample with its weights kept.

Strata are the categories that the LLM gave, within each source, so that rare categories are
judged too; within a stratum the draw is simple random without replacement. Each item keeps its
weight, population / drawn, by which judgements speak for the whole data set. Asking for the least
confident sentences first would not: the accuracy of such a sample is that of the hard cases.
Items are shuffled and named without a hint at their source. Does not write files (formats/) nor
estimate anything (estimates.py). Source: Cochran 1977, Sampling Techniques, chapter 5; square-root
allocation after Bankier 1988.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from touchstone.digest import digest
from touchstone.errors import UserError, no_such
from touchstone.taxonomy import NONE

LEAST = 2  # drawn from each stratum: the fewest that show how much its sentences differ
ASKS = {
    "realistic": "Could a clinician have written this sentence?",
    "identifier": "Does it hold a name, a date, a place or a number of a person?",
}
ITEM = (
    "item",
    "example_id",
    "patient_id",
    "source",
    "stratum",
    "weight",
    "labels",
    "spans",
    "other_labels",
    "confidence",
)  # what is kept of an item; never its text


@dataclass(frozen=True)
class Review:
    """A drawn review: what experts see, and what is known about it.

    Attributes
    ----------
    id : 8 hex digits; the items are named after it.
    kind : binary, multiclass, multilabel, relation or ner.
    categories : id -> name, in the order of the tables.
    definitions : id -> what counts as the category.
    asks : further questions, keys of `ASKS`.
    shows_labels : whether experts see the LLM's labels; False is blind.
    items : DataFrame with the columns of `ITEM` and text; gold items, which calibrate the experts,
        have the weight 0.
    strata : DataFrame[source, stratum, population, drawn].
    counts : source -> category -> sentences (ner: mentions) of the population that the LLM gave
        it; `all` is the number of sentences.
    datasets : source -> digest of the generated data set.
    restricted : whether the text is of a restricted corpus.
    """

    id: str
    kind: str
    categories: Mapping[str, str]
    definitions: Mapping[str, str]
    asks: tuple[str, ...]
    shows_labels: bool
    items: pd.DataFrame
    strata: pd.DataFrame
    counts: Mapping[str, Mapping[str, int]]
    datasets: Mapping[str, str]
    restricted: bool = False

    def key(self) -> dict[str, Any]:
        """Return what `of_key` needs to read judgements back: everything but the texts."""
        return {
            "touchstone_review": self.id,
            "kind": self.kind,
            "categories": dict(self.categories),
            "definitions": dict(self.definitions),
            "asks": list(self.asks),
            "shows_labels": self.shows_labels,
            "items": self.items[list(ITEM)].to_dict("records"),
            "strata": self.strata.to_dict("records"),
            "counts": {name: dict(counted) for name, counted in self.counts.items()},
            "datasets": dict(self.datasets),
            "restricted": self.restricted,
        }


def of_key(key: Mapping[str, Any]) -> Review:
    """Return the review that `Review.key` described; its items have no text.

    Raises
    ------
    UserError
        If it is no key of a review.
    """
    try:
        return Review(
            id=key["touchstone_review"],
            kind=key["kind"],
            categories=key["categories"],
            definitions=key["definitions"],
            asks=tuple(key["asks"]),
            shows_labels=key["shows_labels"],
            items=pd.DataFrame(key["items"], columns=list(ITEM)),
            strata=pd.DataFrame(
                key["strata"], columns=["source", "stratum", "population", "drawn"]
            ),
            counts=key["counts"],
            datasets=key["datasets"],
            restricted=key["restricted"],
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            "this is no key of a review; name the one that `touchstone review export` wrote: "
            "--key FILE"
        ) from error


def draw(
    population: pd.DataFrame,
    *,
    kind: str,
    categories: Mapping[str, str],
    definitions: Mapping[str, str],
    n: int,
    seed: int,
    calibration: pd.DataFrame | None = None,
    asks: Sequence[str] = (),
    shows_labels: bool = False,
    datasets: Mapping[str, str] | None = None,
    restricted: bool = False,
) -> Review:
    """Draw a review.

    Parameters
    ----------
    population : example table of all sentences that could be judged, with a column stratum; other
        sources than gold. An optional column other_labels holds the labels of a second prompt or
        LLM.
    kind : of the task.
    n : sentences to judge, without the calibration; divided equally among the sources.
    seed : of the draw and of the order.
    calibration : gold sentences to mix in, all of them; None mixes in none.
    asks : further questions, of `ASKS`.

    Raises
    ------
    UserError
        If there is nothing to judge, n is too small for the strata, or a question is unknown.
    """
    for name in asks:
        if name not in ASKS:
            raise UserError(f"--ask: {no_such('question', name, ASKS)}")
    if population.empty:
        raise UserError("there is nothing to judge: the sweep generated no such sentences")
    sources = list(dict.fromkeys(population["source"]))
    shares = _equally({name: int((population["source"] == name).sum()) for name in sources}, n)
    groups = population.groupby(["source", "stratum"]).size()
    fewest = int(groups.clip(upper=LEAST).groupby("source").sum().max()) * len(sources)
    if n < fewest:
        raise UserError(
            f"--n {n} is too small: there are {len(groups)} groups to draw from, with at least "
            f"{LEAST} each; ask for {fewest} or more"
        )
    rng = np.random.default_rng([seed, 23])
    parts, strata = [], []
    for source in sources:
        rows = population[population["source"] == source].sort_values("example_id")
        sizes = rows["stratum"].value_counts().sort_index()
        drawn = allocate({str(k): int(v) for k, v in sizes.items()}, shares[source], LEAST)
        for stratum, count in drawn.items():
            among = rows[rows["stratum"] == stratum]
            chosen = among.iloc[np.sort(rng.permutation(len(among))[:count])]
            parts.append(chosen.assign(weight=len(among) / count))
            strata.append((source, stratum, len(among), count))
    if calibration is not None and len(calibration):
        parts.append(calibration.assign(source="gold", stratum="", weight=0.0))
    items = pd.concat(parts, ignore_index=True)
    if "other_labels" not in items:
        items["other_labels"] = [[] for _ in range(len(items))]
    items["other_labels"] = [
        list(labels) if isinstance(labels, (list, tuple)) else []
        for labels in items["other_labels"]
    ]
    identity = [
        dict(datasets or {}),
        n,
        seed,
        sorted(items["example_id"]),
        shows_labels,
        list(asks),
    ]
    name = digest(identity)[:8]
    items = items.iloc[rng.permutation(len(items))].reset_index(drop=True)
    width = len(str(len(items)))
    items["item"] = [f"{name}-{i + 1:0{width}d}" for i in range(len(items))]
    return Review(
        id=name,
        kind=kind,
        categories=categories,
        definitions=definitions,
        asks=tuple(asks),
        shows_labels=shows_labels,
        items=items[[*ITEM, "text"]],
        strata=pd.DataFrame(strata, columns=["source", "stratum", "population", "drawn"]),
        counts={
            source: _counts(population[population["source"] == source], kind, list(categories))
            for source in sources
        },
        datasets=dict(datasets or {}),
        restricted=restricted,
    )


def allocate(sizes: Mapping[str, int], n: int, least: int) -> dict[str, int]:
    """Divide n draws among strata: at least `least` each, the rest by the square root of their
    sizes, none more than it has.

    Examples
    --------
    >>> allocate({"none": 900, "falls": 16, "wandering": 1}, 20, 2)
    {'none': 17, 'falls': 2, 'wandering': 1}
    """
    drawn = {name: min(least, size) for name, size in sizes.items()}
    remaining = min(n, sum(sizes.values())) - sum(drawn.values())
    for _ in range(remaining):
        rest = [name for name, size in sizes.items() if drawn[name] < size]
        best = max(rest, key=lambda name: (sizes[name] ** 0.5 / (drawn[name] + 0.5), name))
        drawn[best] += 1
    return drawn


def _equally(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """Divide n among the sources alike; what a small one cannot give goes to the others."""
    shares, remaining = {}, n
    for place, (name, size) in enumerate(sorted(sizes.items(), key=lambda pair: pair[1])):
        shares[name] = min(size, remaining // (len(sizes) - place))
        remaining -= shares[name]
    return shares


def strata_of(frame: pd.DataFrame, kind: str, precedence: Sequence[str]) -> list[str]:
    """Return the stratum of each row: its first category in precedence, or none; for ner the first
    type that it mentions."""
    out = []
    for labels, spans in zip(frame["labels"], frame["spans"], strict=True):
        present = {span["type"] for span in spans} if kind == "ner" else set(labels)
        out.append(next((name for name in precedence if name in present), NONE))
    return out


def _counts(frame: pd.DataFrame, kind: str, categories: Sequence[str]) -> dict[str, int]:
    counts = [
        [span["type"] for span in spans] if kind == "ner" else list(labels)
        for labels, spans in zip(frame["labels"], frame["spans"], strict=True)
    ]
    counted = {name: sum(names.count(name) for names in counts) for name in categories}
    return {**counted, NONE: sum(not names for names in counts), "all": len(frame)}
