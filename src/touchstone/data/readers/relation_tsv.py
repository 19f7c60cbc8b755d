"""Read sentences with two marked entities and whether a relation between them holds, as the BioBERT
preparation writes them.

TSV with a header (`index, sentence, label`) or without one (`sentence, label` or `index, sentence,
label`); the entities stand in the sentence as `@GENE$` and `@DISEASE$`. Publishers give ten folds
of train and test; one is read. Does not make a dev part. Sources: Lee et al. 2020 (BioBERT) for the
format; Bravo et al. 2015 (GAD) and van Mulligen et al. 2012 (EU-ADR) for the labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.data.files import check_header, fold_file, opened
from touchstone.data.readers.bio_tsv import published
from touchstone.digest import digest_file
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import NONE, Taxonomy

KEY = "corpus.gold."
KEYS = ("path", "train", "dev", "test", "fold", "docs_of")
MARK = re.compile(r"@[A-Z_]+\$")
HEADERS = ("index", "sentence", "label")


def read(
    gold: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read one fold of a relation corpus as an example table.

    Parameters
    ----------
    gold : `path`, or `train`, `test` and perhaps `dev`, which may hold `{fold}`; `fold`;
        `docs_of`, sentences a pseudo-document (None: 1), since the files name no documents.
    taxonomy : of one category, the relation. Label 1 or its id is that category, 0 or `none` is no
        category.
    data_folder : where files are looked for first, see `files.find`.

    Returns
    -------
    frame : example table; white space is collapsed, example_id is `test-00012/0`, origin is the
        digest of the file.
    counted : for each part `sentences`, `related` and `not_two_marks`, sentences in which there are
        not exactly two marked entities.

    Raises
    ------
    UserError With file and line: a wrong number of columns, an empty sentence, a label that is
        neither; a file without sentences, no train or test, a taxonomy of more than one category,
        `{fold}` without `fold` or the other way round.
    """
    parts = published(gold)
    if len(taxonomy.ids) != 1:
        raise UserError(
            f"taxonomy={taxonomy.name} has {len(taxonomy.ids)} categories; "
            f"{KEY}reader=relation_tsv knows one relation, or none"
        )
    if gold.fold is not None and not any("{fold}" in name for name in parts.values() if name):
        raise UserError(
            f"{KEY}fold={gold.fold} changes nothing: no file name holds {{fold}}. Write {{fold}} "
            "where its number stands, or null"
        )
    if gold.docs_of is not None and gold.docs_of < 1:
        raise UserError(
            f"{KEY}docs_of={gold.docs_of}: must be at least 1, or null for one sentence a document"
        )
    rows: list[dict[str, Any]] = []
    counted: dict[str, Any] = {}
    for split, name in parts.items():
        if name:
            pairs = _read_part(
                fold_file(name, gold.fold, data_folder), split, taxonomy.ids[0], gold.docs_of or 1
            )
            rows += pairs
            counted[split or "all"] = {
                "sentences": len(pairs),
                "related": sum(bool(row["labels"]) for row in pairs),
                "not_two_marks": sum(len(MARK.findall(row["text"])) != 2 for row in pairs),
            }
    return examples(rows), counted


def _read_part(path: Path, split: str, relation: str, docs_of: int) -> list[dict[str, Any]]:
    labels = {"1": [relation], relation: [relation], "0": [], NONE: []}
    origin = digest_file(path)
    rows: list[dict[str, Any]] = []
    for line, text, label in _sentences(path):
        if not text:
            raise UserError(f"{path}, line {line}: empty sentence")
        if label not in labels:
            raise UserError(
                f"{path}, line {line}: the label must be 1 or {relation}, 0 or {NONE}; found "
                f"something else of {len(label)} characters"
            )
        number = len(rows)
        document = f"{split or 'all'}-{number // docs_of:05d}"
        rows.append(
            {
                "example_id": f"{document}/{number % docs_of}",
                "text": text,
                "labels": list(labels[label]),
                "source": "gold",
                "doc_id": document,
                "patient_id": document,
                "split": split,
                "origin": origin,
            }
        )
    if not rows:
        raise UserError(f"{path}: no sentences")
    return rows


def _sentences(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, sentence and label of each row; the first line says whether there is a header and
    which column is which."""
    sentence, label = 0, 1
    width: int | None = None
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""]:
                continue
            if width is None:
                width = len(cells)
                names = [cell.strip().lower() for cell in cells]
                header = "sentence" in names and "label" in names
                sentence, label = (
                    (names.index("sentence"), names.index("label"))
                    if header
                    else (width - 2, width - 1)
                )
                if not header and width not in (2, 3):
                    raise UserError(
                        f"{path}, line {number}: {width} tab-separated columns; sentence and "
                        "label, or "
                        f"{', '.join(HEADERS)}, were expected, "
                        "or a header line that names them"
                    )
                if header:
                    check_header(names, path)
                    continue
            if len(cells) != width:
                raise UserError(
                    f"{path}, line {number}: {len(cells)} tab-separated columns where the lines "
                    f"before it have {width}"
                )
            yield number, " ".join(cells[sentence].split()), cells[label].strip()
