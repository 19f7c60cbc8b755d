"""Scores of a cell at external test sites, each with its own table of predictions.

A category that no sentence of a site has is undefined there: it is left out of the site's macro
averages, not counted as 0. Does not read sites (data/corpus.py) and does not predict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from touchstone.evaluate.headline import score


def split_off(
    predictions: pd.DataFrame, sites: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Return the predictions of the test set, and those of each site by its name."""
    rest = predictions
    parts = {}
    for name, frame in sites.items():
        here = rest["example_id"].isin(frame["example_id"])
        parts[name] = rest[here].reset_index(drop=True)
        rest = rest[~here]
    return rest.reset_index(drop=True), parts


def score_sites(
    predictions: Mapping[str, pd.DataFrame], categories: Sequence[str], kind: str
) -> tuple[dict[str, float], pd.DataFrame]:
    """Score the predictions of each site.

    Returns
    -------
    metrics : `site/NAME/macro_f1`, ... as `headline.score` names them, and `site/NAME/n`, the
        sentences of the site.
    table : `headline.score`'s table `scores` of all sites, with a column `site` before it.
    """
    metrics: dict[str, float] = {}
    tables = []
    for name, rows in predictions.items():
        values, found = score(rows, categories, kind)
        metrics |= {f"site/{name}/{metric}": value for metric, value in values.items()}
        metrics[f"site/{name}/n"] = float(rows["example_id"].nunique())
        scores = found["scores"]
        scores.insert(0, "site", name)
        tables.append(scores)
    return metrics, pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
