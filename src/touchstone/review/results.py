"""The tables of a review: quality of the LLM's labels, error kinds, further questions, prevalence,
agreement and calibration of the experts, and the claim that bronze has fewer label errors.

All from the review's key and the judgements; no text. See estimates.py for the intervals and
evaluate/ppi.py for prevalence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from touchstone.evaluate.agreement import agreement
from touchstone.evaluate.ppi import ppi_mean
from touchstone.review.estimates import NOTHING, Share, compare_shares, share
from touchstone.review.sampling import Review
from touchstone.taxonomy import NONE

ALL = "all"
CLAIM = "Bronze has fewer label errors than silver"
QUALITY = ("source", "category", "measure", "value", "low", "high", "n", "method")


@dataclass(frozen=True)
class _Item:
    """What the LLM said of an item and what its judges say: counts by category, means over judges.

    `right` is the share of judges who confirm the whole label.
    """

    item: str
    source: str
    stratum: str
    llm: Mapping[str, float]
    expert: Mapping[str, float]
    confirmed: Mapping[str, float]
    right: float


def tables(
    judgements: pd.DataFrame, review: Review, precedence: Sequence[str], patients: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return the tables of a review.

    Parameters
    ----------
    judgements : checked, see judgements.checked.
    precedence : categories, the primary one first.
    patients : DataFrame[source, patient_id, labels, spans] of the whole population, for the
        prevalence; may be empty, then there is no table of it.

    Returns
    -------
    quality (`QUALITY`), errors (source, llm, expert, n, estimated), questions (as quality),
    agreement (category, measure, value, n), experts (expert, items, calibration, correct, low,
    high), prevalence (source, category, method, value, low, high, n), claim (text, value, low,
    high, p, verdict); those that apply.
    """
    items = _items(judgements, review, precedence)
    out = {
        "quality": _quality(items, review),
        "errors": _errors(judgements, review, precedence),
        "experts": _experts(judgements, review, precedence),
    }
    if review.asks:
        out["questions"] = _questions(judgements, review)
    if judgements["expert"].nunique() > 1:
        out["agreement"] = _agreement(judgements, review)
    if len(patients):
        out["prevalence"] = _prevalence(items, review, patients)
    sources = {item.source for item in items}
    if {"silver", "bronze"} <= sources:
        out["claim"] = _claim(items, review)
    return out


def primary(names: Sequence[str], precedence: Sequence[str]) -> str:
    """Return the first of the names in precedence, or none."""
    return next((name for name in precedence if name in names), NONE)


def _items(judgements: pd.DataFrame, review: Review, precedence: Sequence[str]) -> list[_Item]:
    facts = review.items[review.items["source"] != "gold"].set_index("item")
    groups = judgements[judgements["item"].isin(facts.index)].groupby("item", sort=True)
    out = []
    for item, group in groups:
        row = facts.loc[item]
        llm = _marks(row["labels"], row["spans"], review.kind)
        judged = [
            _marks(labels, spans, review.kind)
            for labels, spans in zip(group["labels"], group["spans"], strict=True)
        ]
        names = [*review.categories, NONE]
        out.append(
            _Item(
                str(item),
                row["source"],
                row["stratum"],
                {name: _count(llm, name) for name in names},
                {name: float(np.mean([_count(one, name) for one in judged])) for name in names},
                {
                    name: float(np.mean([_count(one & llm, name) for one in judged]))
                    for name in names
                },
                float(np.mean([_same(llm, one, review.kind, precedence) for one in judged])),
            )
        )
    return out


def _marks(labels: Sequence[str], spans: Sequence[Mapping], kind: str) -> frozenset:
    """Return what was marked: (type, start, end) for entities, (category,) else, (none,) where
    nothing was."""
    if kind == "ner":
        marks: set[tuple] = {(span["type"], int(span["start"]), int(span["end"])) for span in spans}
    else:
        marks = {(label,) for label in labels}
    return frozenset(marks or {(NONE,)})


def _count(marks: frozenset, name: str) -> float:
    return float(sum(mark[0] == name for mark in marks))


def _same(llm: frozenset, expert: frozenset, kind: str, precedence: Sequence[str]) -> bool:
    if kind != "multiclass":
        return llm == expert
    return primary([mark[0] for mark in llm], precedence) == primary(
        [mark[0] for mark in expert], precedence
    )


def _quality(items: Sequence[_Item], review: Review) -> pd.DataFrame:
    rows = []
    for source in dict.fromkeys(review.strata["source"]):
        ours = [item for item in items if item.source == source]
        strata, sizes = _design(ours, review, source)
        ones = [1.0] * len(ours)
        rows.append(
            _row(source, ALL, "correct", share([i.right for i in ours], ones, strata, sizes))
        )
        for name in (*review.categories, NONE):
            confirmed = [item.confirmed[name] for item in ours]
            for measure, whole in (
                ("precision", [item.llm[name] for item in ours]),
                ("recall", [item.expert[name] for item in ours]),
            ):
                known = measure == "precision"
                estimate = share(confirmed, whole, strata, sizes, known=known) if ours else NOTHING
                rows.append(_row(source, name, measure, estimate))
    return pd.DataFrame(rows, columns=list(QUALITY))


def _design(
    items: Sequence[_Item], review: Review, source: str
) -> tuple[list[str], dict[str, int]]:
    known = review.strata[review.strata["source"] == source]
    return [item.stratum for item in items], dict(
        zip(known["stratum"], known["population"].astype(int), strict=True)
    )


def _row(source: str, category: str, measure: str, one: Share) -> dict:
    method = "exact" if one.exact else "stratified"
    return {
        "source": source,
        "category": category,
        "measure": measure,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "method": method,
    }


def _errors(judgements: pd.DataFrame, review: Review, precedence: Sequence[str]) -> pd.DataFrame:
    """Count the LLM's primary label against each expert's: judgements (n), and sentences of the
    whole data set that they stand for (estimated)."""
    joined = judgements.merge(
        review.items[["item", "source", "stratum", "labels", "spans"]],
        on="item",
        suffixes=("", "_llm"),
    )
    joined = joined[joined["source"] != "gold"]
    joined = joined.assign(
        llm=_primaries(joined["labels_llm"], joined["spans_llm"], review.kind, precedence),
        expert_label=_primaries(joined["labels"], joined["spans"], review.kind, precedence),
    )
    sizes = review.strata.set_index(["source", "stratum"])["population"]
    judged = joined.groupby(["source", "stratum"])["item"].nunique()
    judges = joined.groupby("item")["expert"].transform("size")
    weight = [
        sizes[(source, stratum)] / judged[(source, stratum)]
        for source, stratum in zip(joined["source"], joined["stratum"], strict=True)
    ]
    joined = joined.assign(weight=np.array(weight) / judges.to_numpy())
    table = (
        joined.groupby(["source", "llm", "expert_label"], sort=True)
        .agg(n=("item", "size"), estimated=("weight", "sum"))
        .reset_index()
        .rename(columns={"expert_label": "expert"})
    )
    return table


def _primaries(
    labels: pd.Series, spans: pd.Series, kind: str, precedence: Sequence[str]
) -> list[str]:
    return [
        primary([mark[0] for mark in _marks(one, two, kind)], precedence)
        for one, two in zip(labels, spans, strict=True)
    ]


def _questions(judgements: pd.DataFrame, review: Review) -> pd.DataFrame:
    facts = review.items[review.items["source"] != "gold"].set_index("item")
    rows = []
    for name in review.asks:
        answered = judgements[(judgements[name] != "") & judgements["item"].isin(facts.index)]
        means = (answered[name] == "yes").groupby(answered["item"]).mean()
        for source in dict.fromkeys(review.strata["source"]):
            ours = means[facts.loc[means.index, "source"] == source]
            strata = facts.loc[ours.index, "stratum"].tolist()
            known = review.strata[review.strata["source"] == source]
            sizes = dict(zip(known["stratum"], known["population"].astype(int), strict=True))
            estimate = (
                share(ours.tolist(), [1.0] * len(ours), strata, sizes) if len(ours) else NOTHING
            )
            rows.append(_row(source, ALL, name, estimate))
    return pd.DataFrame(rows, columns=list(QUALITY))


def _agreement(judgements: pd.DataFrame, review: Review) -> pd.DataFrame:
    """Agreement of the experts by category; of entities, whether a sentence mentions the type."""
    items = sorted(judgements["item"].unique())
    answers = {}
    for expert, group in judgements.groupby("expert", sort=True):
        labels = {
            row.item: sorted({span["type"] for span in row.spans})
            if review.kind == "ner"
            else list(row.labels)
            for row in group.itertuples(index=False)
        }
        answers[str(expert)] = [labels.get(item) for item in items]
    return agreement(answers, list(review.categories))


def _experts(judgements: pd.DataFrame, review: Review, precedence: Sequence[str]) -> pd.DataFrame:
    """Items judged by each expert and, where gold was mixed in, how often it was met."""
    from touchstone.review.estimates import clopper_pearson

    gold = review.items[review.items["source"] == "gold"].set_index("item")
    rows = []
    for expert, group in judgements.groupby("expert", sort=True):
        met = [
            _same(
                _marks(gold.at[row.item, "labels"], gold.at[row.item, "spans"], review.kind),
                _marks(row.labels, row.spans, review.kind),
                review.kind,
                precedence,
            )
            for row in group.itertuples(index=False)
            if row.item in gold.index
        ]
        low, high = clopper_pearson(sum(met), len(met)) if met else (np.nan, np.nan)
        rows.append((expert, len(group), len(met), np.mean(met) if met else np.nan, low, high))
    return pd.DataFrame(rows, columns=["expert", "items", "calibration", "correct", "low", "high"])


def _prevalence(items: Sequence[_Item], review: Review, patients: pd.DataFrame) -> pd.DataFrame:
    """Share of the population's sentences with a category: as the LLM counts, and corrected by the
    judgements (PPI++, clustered by patient)."""
    rows = []
    patient = review.items.set_index("item")["patient_id"]
    for source in dict.fromkeys(review.strata["source"]):
        ours = [item for item in items if item.source == source]
        pool = patients[patients["source"] == source]
        if source != "silver" or not ours or pool.empty:
            continue  # what an LLM wrote has the prevalence that was asked for
        marks = [
            _marks(labels, spans, review.kind)
            for labels, spans in zip(pool["labels"], pool["spans"], strict=True)
        ]
        sizes = _design(ours, review, source)[1]
        drawn = pd.Series([item.stratum for item in ours]).value_counts()
        weight = np.array([sizes[item.stratum] / drawn[item.stratum] for item in ours])
        clusters = patient[[item.item for item in ours]].tolist()
        for name in review.categories:
            counted = np.array([any(mark[0] == name for mark in one) for one in marks], float)
            llm = np.array([min(item.llm[name], 1.0) for item in ours])
            expert = np.array([min(item.expert[name], 1.0) for item in ours])
            rows.append((source, name, "LLM's count", counted.mean(), np.nan, np.nan, len(pool)))
            estimate = ppi_mean(
                expert, llm, clusters, counted, pool["patient_id"].tolist(), weights=weight
            )
            rows.append(
                (source, name, "PPI++", estimate.value, estimate.low, estimate.high, len(ours))
            )
    return pd.DataFrame(rows, columns=["source", "category", "method", "value", "low", "high", "n"])


def _claim(items: Sequence[_Item], review: Review) -> pd.DataFrame:
    """Test the error rate of bronze against silver's."""
    sides = []
    for source in ("bronze", "silver"):
        ours = [item for item in items if item.source == source]
        sides.append(([1 - item.right for item in ours], *_design(ours, review, source)))
    value, low, high, p = compare_shares(*sides)
    verdict = "undecided" if low <= 0 <= high else "supported" if high < 0 else "contradicted"
    return pd.DataFrame(
        [(CLAIM, value, low, high, p, verdict)],
        columns=["claim", "difference", "low", "high", "p", "verdict"],
    )
