"""Sets made elsewhere as a generation stage that asks nobody: silver and bronze files.

And what experts say of pool sentences (`corpus.pool.labels`): silver's true precision and recall.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from touchstone.data.examples import dataset
from touchstone.data.files import find, rows
from touchstone.data.foreign import read_set
from touchstone.data.readers.labelled_notes import parse_labels
from touchstone.errors import UserError
from touchstone.generate.stages import Generated
from touchstone.llm.usage import Usage
from touchstone.schema import Config
from touchstone.taxonomy import Taxonomy

FOREIGN = "file"  # stands where the prompt's name stands


def from_files(config: Config, source: str, taxonomy: Taxonomy) -> Generated:
    """Return the silver or bronze that files hold, in place of a stage that asks an LLM."""
    frame, provenance = read_set(config.corpus, source, taxonomy, config.paths.data)
    names = [Path(name).name for name in provenance["files"]]
    made_by = provenance["made_by"] or f"{', '.join(names)} (its making is not stated)"
    data = dataset(
        frame,
        f"{FOREIGN}/{source}",
        stage=source,
        prompt=FOREIGN,
        model=made_by,
        read_from=", ".join(
            f"{Path(name).name} ({digest[:12]})" for name, digest in provenance["files"].items()
        ),
        **provenance,
    )
    empty = pd.DataFrame(columns=["stage", "key", "reason", "text"])
    return Generated(source, data, empty, Usage(served_models=(made_by,)), (), (), False)


def expert_scores(silver: pd.DataFrame, config: Config, taxonomy: Taxonomy) -> pd.DataFrame:
    """Score silver labels against those that experts gave to some of the pool's sentences.

    Returns
    -------
    DataFrame[category, n, tp, fp, fn, precision, recall, f1]; the last row, `any`, is whether a
    sentence has any category. NaN where a share is undefined.

    Raises
    ------
    UserError
        With file and line: an unknown category; or if no sentence of silver is among them.
    """
    pool = config.corpus.pool
    if pool is None or pool.labels is None:
        raise UserError("corpus.pool.labels=null: no expert labels of pool sentences")
    path = find(pool.labels, config.paths.data)
    experts: dict[str, list[str]] = {}
    for line, record in rows(path):
        where = f"{path}, line {line}"
        lacking = [name for name in ("note_id", "sentence", "labels") if name not in record]
        if lacking:
            raise UserError(f'{where}: no field "{lacking[0]}"; note_id, sentence and labels')
        example_id = f"{record['note_id']}/{record['sentence']}"
        experts[example_id] = parse_labels(record["labels"].split(","), taxonomy, {}, where)
    judged = silver[silver["example_id"].isin(experts)]
    if judged.empty:
        raise UserError(
            f"{path}: none of its sentences is in silver; note_id and sentence (from 0) must be "
            "those of the pool"
        )
    true = [set(experts[example_id]) for example_id in judged["example_id"]]
    said = [set(labels) for labels in judged["labels"]]
    table = [
        _row(name, [name in one for one in true], [name in one for one in said])
        for name in taxonomy.ids
    ]
    table.append(_row("any", [bool(one) for one in true], [bool(one) for one in said]))
    return pd.DataFrame(table)


def _row(name: str, true: list[bool], said: list[bool]) -> dict[str, object]:
    a, b = np.array(true), np.array(said)
    tp, fp, fn = int((a & b).sum()), int((~a & b).sum()), int((a & ~b).sum())
    return {
        "category": name,
        "n": len(a),
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "precision": tp / (tp + fp) if tp + fp else np.nan,
        "recall": tp / (tp + fn) if tp + fn else np.nan,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else np.nan,
    }
