"""Example tables as files that other tools read: a Hugging Face folder, JSONL, CSV, brat, Label
Studio.

    huggingface    data/SPLIT.parquet, read by `datasets.load_dataset(folder)`
    jsonl, csv     SPLIT.jsonl, SPLIT.csv
    brat           SPLIT/ID.txt and SPLIT/ID.ann, annotation.conf
    label_studio   SPLIT.json, tasks with annotations

Each with README.md, the card (cards.py). Does not read a store, decide what may be exported, or
send anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

COLUMNS = ("example_id", "text", "labels", "spans", "source", "doc_id", "confidence")
FORMATS = ("huggingface", "jsonl", "csv", "brat", "label_studio")


def write(
    splits: Mapping[str, pd.DataFrame],
    folder: Path,
    name: str,
    *,
    kind: str,
    categories: Sequence[str],
) -> list[Path]:
    """Write example tables in a format and return the files.

    Parameters
    ----------
    splits : split name -> example table.
    name : of `FORMATS`.
    kind : of the task; ner has spans, the others labels.
    categories : in the order of the class labels.
    """
    writer: Callable[..., list[Path]] = {
        "huggingface": _huggingface,
        "jsonl": _jsonl,
        "csv": _csv,
        "brat": _brat,
        "label_studio": _label_studio,
    }[name]
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    for split, frame in splits.items():
        files += writer(frame[list(COLUMNS)], folder, split, kind, list(categories))
    return files


def _huggingface(
    frame: pd.DataFrame, folder: Path, split: str, kind: str, categories: list[str]
) -> list[Path]:
    """Parquet with class labels as numbers, as the card's `dataset_info` names them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = {name: i for i, name in enumerate(categories)}
    columns: dict[str, pa.Array] = {
        name: pa.array(frame[name].astype(str).tolist(), pa.string())
        for name in ("example_id", "text")
    }
    if kind == "ner":
        span = pa.struct([("start", pa.int64()), ("end", pa.int64()), ("type", pa.int64())])
        spans = [
            [{"start": s["start"], "end": s["end"], "type": number[s["type"]]} for s in row]
            for row in frame["spans"]
        ]
        columns["spans"] = pa.array(spans, pa.list_(span))
    else:
        labels = [[number[label] for label in row] for row in frame["labels"]]
        columns["labels"] = pa.array(labels, pa.list_(pa.int64()))
    for name in ("source", "doc_id", "confidence"):
        columns[name] = pa.array(frame[name].astype(str).tolist(), pa.string())
    path = folder / "data" / f"{split}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return [path]


def _jsonl(
    frame: pd.DataFrame, folder: Path, split: str, kind: str, categories: list[str]
) -> list[Path]:
    path = folder / f"{split}.jsonl"
    rows = frame.drop(columns="labels" if kind == "ner" else "spans").to_dict("records")
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return [path]


def _csv(
    frame: pd.DataFrame, folder: Path, split: str, kind: str, categories: list[str]
) -> list[Path]:
    path = folder / f"{split}.csv"
    if kind == "ner":
        table = frame.drop(columns="labels").assign(spans=[json.dumps(s) for s in frame["spans"]])
    else:
        table = frame.drop(columns="spans").assign(labels=["|".join(x) for x in frame["labels"]])
    table.to_csv(path, index=False)
    return [path]


def _brat(
    frame: pd.DataFrame, folder: Path, split: str, kind: str, categories: list[str]
) -> list[Path]:
    """One document a sentence; labels of sentences are spans over the whole of it."""
    files = [folder / "annotation.conf"]
    files[0].write_text(
        "[entities]\n" + "\n".join(categories) + "\n\n[relations]\n\n[events]\n\n[attributes]\n",
        encoding="utf-8",
    )
    (folder / split).mkdir(exist_ok=True)
    width = len(str(len(frame)))
    for place, row in enumerate(frame.itertuples(index=False)):
        marks = (
            [(s["type"], s["start"], s["end"]) for s in row.spans]
            if kind == "ner"
            else [(label, 0, len(row.text)) for label in row.labels]
        )
        lines = [
            f"T{i}\t{name} {start} {end}\t{row.text[start:end]}\n"
            for i, (name, start, end) in enumerate(marks, start=1)
        ]
        stem = re.sub(r"[^\w.-]+", "_", str(row.example_id))
        text = folder / split / f"{place:0{width}d}_{stem}.txt"
        text.write_text(row.text, encoding="utf-8")
        text.with_suffix(".ann").write_text("".join(lines), encoding="utf-8")
        files += [text, text.with_suffix(".ann")]
    return files


def _label_studio(
    frame: pd.DataFrame, folder: Path, split: str, kind: str, categories: list[str]
) -> list[Path]:
    """Tasks with the labels as annotations; offsets in UTF-16 units, as Label Studio counts."""

    def units(text: str, offset: int) -> int:
        return len(text[:offset].encode("utf-16-le", "surrogatepass")) // 2

    tasks = []
    for row in frame.itertuples(index=False):
        shared = {"from_name": "label", "to_name": "text"}
        if kind == "ner":
            result = [
                {
                    **shared,
                    "type": "labels",
                    "value": {
                        "start": units(row.text, s["start"]),
                        "end": units(row.text, s["end"]),
                        "text": row.text[s["start"] : s["end"]],
                        "labels": [s["type"]],
                    },
                }
                for s in row.spans
            ]
        else:
            value = {"choices": list(row.labels) or ["none"]}
            result = [{**shared, "type": "choices", "value": value}]
        data = {"text": row.text, "example_id": row.example_id, "source": row.source}
        tasks.append({"data": data, "annotations": [{"result": result}]})
    path = folder / f"{split}.json"
    path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return [path]
