"""A small population of silver and bronze sentences, and reviews drawn from it."""

import pandas as pd

from touchstone.data.examples import examples
from touchstone.review.sampling import draw, strata_of

NAMES = {"falls": "Falls", "wandering": "Wandering"}


def population(silver=(90, 8, 2), bronze=(20, 20, 20)) -> pd.DataFrame:
    rows = []
    for source, sizes in (("silver", silver), ("bronze", bronze)):
        for label, size in zip(("none", *NAMES), sizes, strict=True):
            for i in range(size):
                labels = [] if label == "none" else [label]
                rows.append(
                    {
                        "example_id": f"{source}/{label}/{i}",
                        "text": f"{label} {i}.",
                        "labels": labels,
                    }
                    | {"source": source, "doc_id": f"d{i}", "patient_id": f"p{i % 7}"}
                )
    frame = examples(rows)
    return frame.assign(stratum=strata_of(frame, "multiclass", list(NAMES)))


def drawn(n=40, seed=0, **more):
    return draw(
        population(), kind="multiclass", categories=NAMES, definitions={}, n=n, seed=seed, **more
    )


def entities(**more):
    """A review of sentences with entities; an emoji before each, which browsers count as two."""
    frame = examples(
        {
            "example_id": f"s{i}",
            "text": f"\U0001f600 No flu {i} here.",
            "labels": [],
            "source": "silver",
        }
        | {
            "doc_id": "d",
            "patient_id": f"p{i}",
            "spans": [{"start": 5, "end": 8, "type": "Disease"}],
        }
        for i in range(6)
    )
    return draw(
        frame.assign(stratum="Disease"),
        kind="ner",
        categories={"Disease": "Disease", "Drug": "Drug"},
        definitions={},
        n=4,
        seed=0,
        **more,
    )
