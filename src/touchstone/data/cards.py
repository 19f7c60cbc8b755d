"""Dataset and model cards in the format of the Hugging Face hub: a YAML head, and what a reader has
to know before use.

Pure text from plain values: does not read a store nor the network. Sources: the hub's dataset card
(https://huggingface.co/docs/hub/datasets-cards) and model card specifications; the sections after
Gebru et al. 2021 (Datasheets for Datasets) and Mitchell et al. 2019 (Model Cards).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

TASKS = {
    "binary": "text-classification",
    "multiclass": "text-classification",
    "multilabel": "text-classification",
    "relation": "text-classification",
    "ner": "token-classification",
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def size_category(n: int) -> str:
    """Return the hub's word for a number of rows.

    Examples
    --------
    >>> size_category(2518)
    '1K<n<10K'
    """
    return next((name for most, name in SIZES if n < most), "1M<n<10M")


def dataset_card(facts: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the README.md of a data set.

    Parameters
    ----------
    facts : title, license, language, kind, categories, splits (name -> rows), corpus, citation,
        restricted, agreement, and making: for each source its stage, LLM, prompt, version, date,
        cost and the messages of its first request; or `read_from`, the files it was read from.
    tables : heading -> table; an empty one is said to be missing.
    """
    rows = sum(facts["splits"].values())
    head = {
        "license": _licence(facts["license"]),
        "language": list(facts["language"]),
        "pretty_name": facts["title"],
        "task_categories": [TASKS[facts["kind"]]],
        "size_categories": [size_category(rows)],
        "tags": ["clinical", "synthetic", "touchstone"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": name, "path": f"data/{name}.parquet"} for name in facts["splits"]
                ],
            }
        ],
        "dataset_info": {
            "features": features(facts["kind"], facts["categories"]),
            "splits": [{"name": name, "num_examples": n} for name, n in facts["splits"].items()],
        },
    }
    parts = [
        f"# {facts['title']}",
        f"{rows:,} sentences: {_counted(facts['splits'])}. Categories: "
        f"{', '.join(facts['categories'])}. A sentence without a category has no label.",
        "## How it was made",
        *(_made(one) for one in facts["making"]),
        *_sections(tables),
        "## Intended use",
        "Research on training clinical text classifiers. Labels of silver and bronze were given by "
        "a language model; see the review, where there is one, for how often experts agree.",
        "## What it must not be used for",
        "Decisions about patients; estimates of how frequent a condition is (bronze has the "
        "frequencies that were asked for); training without a test on data of one's own. The scan "
        "for identifiers says where to look; it is not de-identification.",
        "## Licence and source",
        f"Corpus: {facts['corpus']}, licence {facts['license']}. {facts['citation']}",
    ]
    if facts.get("restricted"):
        parts.append(
            f"The corpus is restricted. Exported under the agreement: {facts['agreement']}. "
            "It may go no further than that agreement allows."
        )
    return _card(head, parts)


def model_card(facts: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the README.md of a trained cell.

    Parameters
    ----------
    facts : title, license, language, kind, categories, corpus, citation, classifier, mixture, run,
        code, score (name, value, low, high, n, unit).
    tables : heading -> table.
    """
    score = facts["score"]
    head = {
        "license": _licence(facts["license"]),
        "language": list(facts["language"]),
        "library_name": "touchstone",
        "pipeline_tag": TASKS[facts["kind"]],
        "tags": ["clinical", "touchstone"],
        "model-index": [
            {
                "name": facts["title"],
                "results": [
                    {
                        "task": {"type": TASKS[facts["kind"]]},
                        "dataset": {"type": facts["corpus"], "name": facts["corpus"]},
                        "metrics": [
                            {"type": score["name"], "value": score["value"], "name": score["name"]}
                        ],
                    }
                ],
            }
        ],
    }
    interval = f" [{score['low']:.3f}, {score['high']:.3f}]" if score["low"] == score["low"] else ""
    parts = [
        f"# {facts['title']}",
        f"{facts['classifier']} trained on {facts['mixture']} of {facts['corpus']}: "
        f"{score['name']} {score['value']:.3f}{interval} on {score['n']:,} test sentences.",
        *_sections(tables),
        "## Intended use",
        "Research on what LLM-made training data are worth. Categories: "
        f"{', '.join(facts['categories'])}.",
        "## What it must not be used for",
        "Decisions about patients; notes of another place without a test there.",
        "## Run it again",
        f"`touchstone reproduce {facts['run']}` (code {facts['code']}).",
        f"Source: {facts['citation']}",
    ]
    return _card(head, parts)


def features(kind: str, categories: Sequence[str]) -> list[dict[str, Any]]:
    """Return the columns as the hub describes them: labels are class labels, spans a list."""
    label = {"class_label": {"names": {str(i): name for i, name in enumerate(categories)}}}
    text = [{"name": name, "dtype": "string"} for name in ("example_id", "text")]
    kinds = (
        [
            {
                "name": "spans",
                "list": [
                    {"name": "start", "dtype": "int64"},
                    {"name": "end", "dtype": "int64"},
                    {"name": "type", "dtype": label},
                ],
            }
        ]
        if kind == "ner"
        else [{"name": "labels", "list": label}]
    )
    rest = [{"name": name, "dtype": "string"} for name in ("source", "doc_id", "confidence")]
    return [*text, *kinds, *rest]


def _made(one: Mapping[str, Any]) -> str:
    if one.get("read_from"):
        return (
            f"**{one['stage']}**: read from {one['read_from']}; made by: {one['model']}. No LLM "
            "was asked here."
        )
    text = (
        f"**{one['stage']}**: {one['model']} (served as {one['served']}), prompt {one['prompt']} "
        f"version {one['version']}, generated {one['date']}; {one['requests']} requests; cost: "
        f"{one['cost']}."
    )
    return text + (
        "\n\n<details><summary>First "
        f"request</summary>\n\n```\n{one['messages'].strip()}\n```\n\n</details>"
        if one["messages"]
        else ""
    )


def _sections(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    out = []
    for heading, table in tables.items():
        out.append(f"## {heading}")
        out.append(
            "Not measured." if table.empty else table.to_markdown(index=False, floatfmt=".3f")
        )
    return out


def _counted(splits: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in splits.items())


def _licence(name: str) -> str:
    """Return a licence as the hub spells it; one that it does not list is `other`."""
    known = name.strip().lower()
    listed = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "mit", "apache-2.0")
    return known if known in listed else "other"


def _card(head: Mapping[str, Any], parts: Sequence[str]) -> str:
    dumped = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True)
    return f"---\n{dumped}---\n\n" + "\n\n".join(parts) + "\n"
