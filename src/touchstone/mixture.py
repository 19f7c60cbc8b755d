"""Compose gold, silver and bronze examples into one training set.

Filters each source, removes its exact and near duplicates, drops synthetic text too close to the
test split, samples, weights, and counts every drop. Does not generate, label or split. Source: Li,
Wang, Yu 2023 for the mixtures; the leakage guard and the size-matched controls (repeated gold,
shuffled labels) are ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from touchstone.cache import cached
from touchstone.data.examples import SOURCES
from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.schema import MixtureConfig, SourceMix
from touchstone.similarity import duplicates, resembling
from touchstone.taxonomy import NONE

VERSION = 1  # of duplicates and leakage, raised when what counts as one changes
DROPS = ("filtered", "exact_duplicate", "near_duplicate", "leakage", "not_sampled")


@dataclass(frozen=True)
class Mixed:
    """A composed training set.

    Attributes
    ----------
    train : example table of what the classifier learns from; repeated gold has `#2`, `#3`, ...
        after its example ids.
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
    cache: Path | None = None,
) -> Mixed:
    """Compose a training set.

    Parameters
    ----------
    sources : source name -> example table; at least those that the mixture uses or whose size a
        control matches.
    config : what to use of each source, see `schema.MixtureConfig`.
    test_texts : sentences of the test split, for the leakage guard.
    seed : of sampling and label shuffling.
    threads : workers of the string comparison; does not change the result.
    round_trip : ids of bronze examples whose label the LLM gave again without seeing it; needed for
        filter=round_trip.
    cache : root of the stage cache, where it is kept which sentences resemble which: the cells of a
        grid ask that again and again.

    Raises
    ------
    UserError
        If a source that is used has no examples, or a filter lacks what it needs.
    """
    kept, rows, dropped = {}, [], []
    matched = [name for name in config.gold.repeat_to if config.gold.use]
    for name in SOURCES:
        mix: SourceMix = getattr(config, name)
        if not mix.use and name not in matched:
            continue
        frame = sources[name].reset_index(drop=True)
        if frame.empty:
            raise UserError(
                f"mixture={config.name}: there is no {name} data; see the quarantine and generation tables, or choose a mixture without it"
            )
        reasons = _reasons(frame, name, mix, config, test_texts, threads, round_trip, cache)
        frame_kept = frame[reasons == ""]
        n_gold = len(kept["gold"]) if "gold" in kept else None
        sampled = _sample(frame_kept, mix, name, n_gold, seed)
        reasons[frame.index.difference(sampled.index).intersection(frame_kept.index)] = (
            "not_sampled"
        )
        if mix.shuffle_labels:
            order = np.random.default_rng([seed, 11]).permutation(len(sampled))
            spans = _moved(sampled["text"].tolist(), sampled["spans"].tolist(), order, seed)
            sampled = sampled.assign(labels=sampled["labels"].to_numpy()[order], spans=spans)
        kept[name] = sampled.assign(weight=mix.weight)
        counts = {reason: int((reasons == reason).sum()) for reason in DROPS}
        resembling = (
            len(_leaking(sampled["text"].tolist(), test_texts, config.leakage, threads, cache))
            if name == "gold"
            else 0
        )
        rows.append(
            {
                "source": name,
                "available": len(frame),
                **counts,
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
    if matched:
        kept["gold"] = _repeat(
            kept["gold"],
            len(kept["gold"]) + sum(len(kept[name]) for name in matched if name != "gold"),
        )
    parts = [kept[name] for name in SOURCES if name in kept and getattr(config, name).use]
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


def _moved(
    texts: list[str], spans: list[list[dict[str, Any]]], order: np.ndarray, seed: int
) -> list[list[dict[str, Any]]]:
    """Return for each text the spans of text `order[i]`, as many words each, on words drawn by
    chance; one that finds no room is left out."""
    rng = np.random.default_rng([seed, 12])
    moved: list[list[dict[str, Any]]] = []
    for text, other in zip(texts, order, strict=True):
        words = [match.span() for match in re.finditer(r"\S+", text)]
        free, placed = np.ones(len(words), dtype=bool), []
        for span in spans[other]:
            n = len(texts[other][span["start"] : span["end"]].split())
            starts = [first for first in range(len(words) - n + 1) if free[first : first + n].all()]
            if starts:
                first = starts[rng.integers(len(starts))]
                free[first : first + n] = False
                placed.append(
                    {"start": words[first][0], "end": words[first + n - 1][1], "type": span["type"]}
                )
        moved.append(sorted(placed, key=lambda span: span["start"]))
    return moved


def _reasons(
    frame: pd.DataFrame,
    name: str,
    mix: SourceMix,
    config: MixtureConfig,
    test_texts: Collection[str],
    threads: int,
    round_trip: Collection[str] | None,
    cache: Path | None,
) -> np.ndarray:
    """Return why each row is dropped, '' where it is kept; the first reason counts."""
    reasons = np.full(len(frame), "", dtype=object)
    if mix.filter == "confident":
        if (frame["confidence"] == "").all():
            raise UserError(
                f"mixture.{name}.filter=confident: the {name} examples carry no confidence; it is for silver"
            )
        reasons[(frame["confidence"] != "high").to_numpy()] = "filtered"
    if mix.filter == "round_trip":
        if round_trip is None:
            raise UserError(
                f"mixture.{name}.filter=round_trip: no round-trip labels; the filter is for bronze sentences"
            )
        reasons[~frame["example_id"].isin(list(round_trip)).to_numpy()] = "filtered"
    if mix.filter != "none":
        alive = np.flatnonzero(reasons == "")
        texts = frame["text"].iloc[alive].tolist()
        for position, reason in _duplicates(texts, config.near_duplicate, threads, cache).items():
            reasons[alive[position]] = reason
    if name != "gold":
        alive = np.flatnonzero(reasons == "")
        reasons[
            alive[
                _leaking(
                    frame["text"].iloc[alive].tolist(), test_texts, config.leakage, threads, cache
                )
            ]
        ] = "leakage"
    return reasons


def _duplicates(
    texts: list[str], cutoff: float, threads: int, cache: Path | None
) -> dict[int, str]:
    """Return position -> reason for each text that repeats an earlier kept one, word for word or
    with a ratio of at least cutoff."""
    key = {"texts": digest(texts), "cutoff": cutoff}
    found = _once(
        cache,
        "duplicates",
        key,
        lambda: {str(place): why for place, why in duplicates(texts, cutoff, threads).items()},
    )
    return {int(position): reason for position, reason in found.items()}


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
        lambda value, folder: (folder / "found.json").write_text(json.dumps(value)) and None,
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
                f"mixture.{name}.ratio is of the gold sentences, and this mixture uses no gold; give mixture.{name}.count"
            )
        size = round(mix.ratio * n_gold)
    if size is None or size >= len(frame):
        return frame
    order = np.random.default_rng([seed, 7, SOURCES.index(name)]).permutation(len(frame))
    return frame.iloc[np.sort(order[:size])]


def _repeat(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    """Repeat whole passes over the rows, then the first rows once more, up to `size`."""
    copies = []
    for round_number in range(-(-size // len(frame))):
        copy = frame.iloc[: size - round_number * len(frame)]
        copies.append(
            copy
            if round_number == 0
            else copy.assign(example_id=[f"{i}#{round_number + 1}" for i in copy["example_id"]])
        )
    return pd.concat(copies, ignore_index=True)


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
