"""Few-shot examples: sentences of the training gold that a prompt shows. Never of dev or test."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from touchstone.errors import UserError
from touchstone.llm.marks import write_marks
from touchstone.taxonomy import NONE, Taxonomy


def shots(
    gold: pd.DataFrame, taxonomy: Taxonomy, n_shots: int, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Choose `n_shots` training sentences for each category and for none, by primary label or
    entity type, without repetition.

    Parameters
    ----------
    gold : example table of training gold.
    n_shots : per category; a category with fewer sentences gives all it has. 0 returns {}.
    seed : of the choice; it does not depend on the order of rows.

    Returns
    -------
    category id or `none` -> list of {"text", "labels"}; entities are marked in the text, see
    `marks.py`.

    Raises
    ------
    UserError
        If a row is not of the training split: showing dev or test sentences would leak them.
    """
    if not n_shots:
        return {}
    leaked = gold.loc[gold["split"] != "train", "example_id"]
    if len(leaked):
        raise UserError(
            f"few-shot examples must come from training gold; {leaked.iloc[0]} is not in it"
        )
    rows = gold.sort_values("example_id")
    primary = [
        taxonomy.primary([*row.labels, *(span["type"] for span in row.spans)])
        for row in rows.itertuples(index=False)
    ]
    chosen = {}
    for category_id in (*taxonomy.ids, NONE):
        candidates = rows[[name == category_id for name in primary]].to_dict("records")
        random.Random(f"{seed}/{category_id}").shuffle(candidates)
        chosen[category_id] = [
            {
                "text": write_marks(row["text"], row["spans"]),
                "labels": taxonomy.ordered(row["labels"]),
            }
            for row in candidates[:n_shots]
        ]
    return chosen


def mixed(chosen: Mapping[str, Sequence[Mapping[str, Any]]], seed: int) -> list[Mapping[str, Any]]:
    """Return all chosen examples in one seeded order, so that categories do not stand in blocks."""
    everything = [shot for category_shots in chosen.values() for shot in category_shots]
    random.Random(f"{seed}/mixed").shuffle(everything)
    return everything
