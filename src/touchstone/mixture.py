"""Compose gold, silver and bronze examples into one training set.

Gold is used as the experts left it. Of a synthetic source, exact and near duplicates that agree in
their labels and text too close to the test split are dropped; the rest is matched to gold's
distribution where that is asked for, sampled and weighted, and every drop is counted. Controls
change gold or labels (controls.py). Does not generate, label or split. Source: Li, Wang, Yu 2023
for the mixtures; the leakage guard and the controls are ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from touchstone import controls
from touchstone.cache import cached
from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.matching import matching
from touchstone.schema import MixtureConfig, SourceMix
from touchstone.similarity import duplicates, normalise, resembling
from touchstone.source_table import GOLD, SOURCES
from touchstone.taxonomy import NONE

VERSION = 2  # of duplicates and leakage, raised when what counts as one changes; 2: labels agree
DROPS = (
    "is_gold",
    "filtered",
    "exact_duplicate",
    "near_duplicate",
    "leakage",
    "not_matched",
    "not_sampled",
)


@dataclass(frozen=True)
class Mixed:
    """A composed training set.

    Attributes
    ----------
    train : example table of what the classifier learns from; repeated gold has `#2`, `#3`, ... and
        augmented gold `~1`, ... after its example ids.
    composition : one row per source: available, one column for each of `DROPS`, repeated, used,
        weight, resembles_test (sentences of a kept source that are as close to a test sentence as
        the guard would drop: for gold they are counted and kept, since a published split is not
        ours to change).
    categories : one row per source and category (and none): n_examples in `train`.
    dropped : one row per dropped example: source, example_id, reason. Never its text.
    """

    train: pd.DataFrame
    composition: pd.DataFrame
    categories: pd.DataFrame
    dropped: pd.DataFrame


def compose(
    sources: Mapping[str, pd.DataFrame],
    config: MixtureConfig,
    *,
    test_texts: Collection[str],
    seed: int,
    threads: int = 1,
    round_trip: Collection[str] | None = None,
    marks: Sequence[str] = (),
    gold_documents: Collection[str] = (),
    reviewed: Mapping[str, Collection[str]] | None = None,
    cache: Path | None = None,
) -> Mixed:
    """Compose a training set.

    Parameters
    ----------
    sources : source name -> example table; at least those that the mixture uses or whose size a
        control matches, and gold where a source is matched to it.
    config : what to use of each source, see `schema.MixtureConfig`.
    test_texts : sentences of the test split, for the leakage guard.
    seed : of sampling, augmentation and label shuffling.
    threads : workers of the string comparison; does not change the result.
    round_trip : ids of bronze examples whose label the LLM gave again without seeing it; needed for
        filter=round_trip.
    marks : how entities are masked (@GENE$): sentences that differ in where the masks stand are no
        duplicates.
    gold_documents : documents that this training set has as gold; their sentences leave silver.
    reviewed : source name -> ids of the examples that experts judged; needed for filter=reviewed.
    cache : root of the stage cache, where it is kept which sentences resemble which: the cells of a
        grid ask that again and again.

    Raises
    ------
    UserError
        If a source that is used has no examples, or a filter lacks what it needs.
    """
    samples: dict[str, pd.DataFrame] = {}
    rows, dropped = [], []
    sized = {*config.gold.repeat_to, *config.gold.augment_to} if config.gold.use else set()
    for name in SOURCES:
        mix: SourceMix = getattr(config, name)
        if not mix.use and name not in sized:
            continue
        frame = sources[name].reset_index(drop=True)
        if frame.empty:
            raise UserError(
                f"mixture={config.name}: there is no {name} data; see the quarantine and "
                "generation "
                "tables, or choose a mixture without it"
            )
        reasons = _reasons(frame, name, mix, round_trip, (reviewed or {}).get(name))
        if name == "silver" and gold_documents:
            own = frame["doc_id"].isin(list(gold_documents)).to_numpy()
            reasons[own & (reasons == "")] = "is_gold"
        _drop_repeats(frame, reasons, mix, config.near_duplicate, marks, threads, cache)
        if name != GOLD:
            alive = np.flatnonzero(reasons == "")
            texts = frame["text"].iloc[alive].tolist()
            leaking = _leaking(texts, test_texts, config.leakage, threads, cache)
            reasons[alive[leaking]] = "leakage"
        if mix.match != "none":
            alive = np.flatnonzero(reasons == "")
            fitting = matching(frame.iloc[alive], sources[GOLD], mix.match, seed)
            reasons[np.delete(alive, fitting)] = "not_matched"
        n_gold = len(samples[GOLD]) if GOLD in samples else None
        sampled = _sample(frame[reasons == ""], mix, name, n_gold, seed)
        reasons[(reasons == "") & ~frame.index.isin(sampled.index)] = "not_sampled"
        if mix.shuffle_labels:
            sampled = controls.shuffled(sampled, seed)
        samples[name] = sampled.assign(weight=mix.weight)
        resembling = (
            len(_leaking(sampled["text"].tolist(), test_texts, config.leakage, threads, cache))
            if name == GOLD
            else 0
        )
        rows.append(
            {
                "source": name,
                "available": len(frame),
                **{reason: int((reasons == reason).sum()) for reason in DROPS},
                "used": len(sampled),
                "weight": mix.weight,
                "resembles_test": resembling,
            }
        )
        dropped += [
            {"source": name, "example_id": i, "reason": r}
            for i, r in zip(frame["example_id"], reasons, strict=True)
            if r
        ]
    if GOLD in samples:
        samples[GOLD] = _enlarged(samples, config.gold, seed)
    parts = [samples[name] for name in SOURCES if name in samples and getattr(config, name).use]
    train = pd.concat(parts, ignore_index=True)
    composition = pd.DataFrame(rows)
    used = train["source"].value_counts()
    composition = composition[
        [getattr(config, name).use for name in composition["source"]]
    ].reset_index(drop=True)
    composition["repeated"] = [
        int(used.get(name, 0)) - n
        for name, n in zip(composition["source"], composition["used"], strict=True)
    ]
    composition["used"] += composition["repeated"]
    return Mixed(
        train,
        composition,
        _categories(train),
        pd.DataFrame(dropped, columns=["source", "example_id", "reason"]),
    )


def _enlarged(kept: Mapping[str, pd.DataFrame], mix: SourceMix, seed: int) -> pd.DataFrame:
    """Return gold as its controls enlarge it, or as it is."""
    gold = kept[GOLD]
    if mix.augment_to:
        gold = controls.augmented(gold, sum(len(kept[name]) for name in mix.augment_to), seed)
    if mix.repeat_to:
        gold = controls.repeated(gold, len(gold) + sum(len(kept[name]) for name in mix.repeat_to))
    return controls.oversampled(gold) if mix.oversample else gold


def _reasons(
    frame: pd.DataFrame,
    name: str,
    mix: SourceMix,
    round_trip: Collection[str] | None,
    reviewed: Collection[str] | None,
) -> np.ndarray:
    """Return why the filter drops each row, '' where it keeps it."""
    reasons = np.full(len(frame), "", dtype=object)
    if mix.filter == "confident":
        if (frame["confidence"] == "").all():
            raise UserError(
                f"mixture.{name}.filter=confident: the {name} examples carry no confidence; it is "
                "for silver"
            )
        reasons[(frame["confidence"] != "high").to_numpy()] = "filtered"
    if mix.filter == "round_trip":
        if round_trip is None:
            raise UserError(
                f"mixture.{name}.filter=round_trip: no round-trip labels; the filter is for "
                "bronze sentences"
            )
        reasons[~frame["example_id"].isin(list(round_trip)).to_numpy()] = "filtered"
    if mix.filter == "reviewed":
        if reviewed is None:
            raise UserError(
                f"mixture.{name}.filter=reviewed: no reviewed examples; name them: "
                f"mixture.{name}.corrections=FILE"
            )
        reasons[~frame["example_id"].isin(list(reviewed)).to_numpy()] = "filtered"
    return reasons


def _drop_repeats(
    frame: pd.DataFrame,
    reasons: np.ndarray,
    mix: SourceMix,
    cutoff: float,
    marks: Sequence[str],
    threads: int,
    cache: Path | None,
) -> None:
    """Mark in `reasons` what repeats an earlier kept row that agrees in labels, mentions and the
    places of masks."""
    if mix.filter == "none":
        return
    alive = np.flatnonzero(reasons == "")
    rows = frame.iloc[alive]
    claims = [
        claim(text, labels, spans, marks)
        for text, labels, spans in zip(rows["text"], rows["labels"], rows["spans"], strict=True)
    ]
    repeats = _duplicates(rows["text"].tolist(), claims, cutoff, threads, cache)
    for position, reason in repeats.items():
        reasons[alive[position]] = reason


def claim(
    text: str, labels: Sequence[str], spans: Sequence[Mapping[str, Any]], marks: Sequence[str]
) -> str:
    """Return what a sentence says, as far as duplicates must agree in it: its labels, its mentions
    with their types, and after how many words each mask stands."""
    mentions = sorted((normalise(text[s["start"] : s["end"]]), s["type"]) for s in spans)
    places = [(mark, len(text[: text.find(mark)].split())) for mark in marks if mark in text]
    return json.dumps([sorted(labels), mentions, places])


def _duplicates(
    texts: list[str], claims: list[str], cutoff: float, threads: int, cache: Path | None
) -> dict[int, str]:
    """Return position -> reason for each text that repeats an earlier kept one of the same claim,
    word for word or with a ratio of at least cutoff."""

    def search() -> dict[str, str]:
        groups: dict[str, list[int]] = {}
        for position, one in enumerate(claims):
            groups.setdefault(one, []).append(position)
        return {
            str(positions[place]): why
            for positions in groups.values()
            if len(positions) > 1
            for place, why in duplicates([texts[i] for i in positions], cutoff, threads).items()
        }

    key = {"texts": digest(texts), "claims": digest(claims), "cutoff": cutoff}
    reasons = _once(cache, "duplicates", key, search)
    return {int(position): reason for position, reason in reasons.items()}


def _leaking(
    texts: list[str], test_texts: Collection[str], cutoff: float, threads: int, cache: Path | None
) -> np.ndarray:
    """Return positions of texts as close to a test sentence as the guard allows no training
    sentence to be."""
    key = {"texts": digest(texts), "test": digest(sorted(test_texts)), "cutoff": cutoff}
    return np.array(
        _once(
            cache,
            "leakage",
            key,
            lambda: resembling(texts, test_texts, cutoff, threads).tolist(),
        ),
        dtype=int,
    )


def _save_positions(value: Any, folder: Path) -> None:
    (folder / "found.json").write_text(json.dumps(value))


def _once(
    cache: Path | None, stage: str, key: Mapping[str, Any], compute: Callable[[], Any]
) -> Any:
    """Return plain data from the stage cache; positions and reasons only, never text."""
    if cache is None:
        return compute()
    return cached(
        cache,
        stage,
        key,
        VERSION,
        compute,
        _save_positions,
        lambda folder: json.loads((folder / "found.json").read_text()),
    )[0]


def _sample(
    frame: pd.DataFrame, mix: SourceMix, name: str, n_gold: int | None, seed: int
) -> pd.DataFrame:
    """Return a seeded sample of the size asked for, in table order; smaller samples are subsets of
    larger ones."""
    size = mix.count
    if mix.ratio is not None:
        if n_gold is None:
            raise UserError(
                f"mixture.{name}.ratio is of the gold sentences, and this mixture uses no gold; "
                f"give mixture.{name}.count"
            )
        size = round(mix.ratio * n_gold)
    if size is None or size >= len(frame):
        return frame
    order = np.random.default_rng([seed, 7, SOURCES.index(name)]).permutation(len(frame))
    return frame.iloc[np.sort(order[:size])]


def _categories(train: pd.DataFrame) -> pd.DataFrame:
    """Count examples per source and category; a span's type counts as the category of its
    sentence."""
    names = [
        sorted({*labels, *(span["type"] for span in spans)}) or [NONE]
        for labels, spans in zip(train["labels"], train["spans"], strict=True)
    ]
    long = pd.DataFrame({"source": train["source"].to_numpy(), "category": names}).explode(
        "category"
    )
    return long.groupby(["source", "category"], sort=True).size().rename("n_examples").reset_index()
