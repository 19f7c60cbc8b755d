"""Read a data set of Hugging Face: a folder of `save_to_disk`, of Parquet files, or a hub name.

Three layouts: a text and labels (`text_field`, `labels_field`; also BigBIO's `text` schema), tokens
and tags (`tokens`, `ner_tags`), and BigBIO's `kb` schema (passages, entities, relations). Codes are
read as the names that the data set gives them. Splits are those of the data set: train, validation
(dev), test; `options.splits` chooses (`[train]`: one part, which is then split here). A hub name
(`owner/name`) is downloaded once by huggingface_hub, as its Parquet conversion; loading scripts are
not run. Needs no further package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, arrow, parts, records
from touchstone.data.annotated import (
    Annotation,
    Document,
    Mention,
    mentions_of,
    relations_between,
    table_of,
)
from touchstone.data.arrow import Rows
from touchstone.data.labels import labels_in
from touchstone.data.pairs import UNNAMED, Link
from touchstone.data.readers.bio_tsv import joined, marks_ends, spans_of
from touchstone.errors import UserError, no_such
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = ("path", "options", *annotated.KEYS, *records.KEYS, "labels_field", "label_separator")
OPTIONS = {"splits", "config", "revision"}
TOKENS, TAGS = "tokens", ("ner_tags", "tags", "labels")
KB = {"passages", "entities"}


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a data set as an example table.

    Returns
    -------
    frame, counted : see `annotated.table_of`.

    Raises
    ------
    UserError
        For a missing data set or split, a column that is not there, offsets that do not fit.
    """
    unknown = set(files.options) - OPTIONS
    if unknown:
        raise UserError(f"corpus.gold.options: {no_such('option', sorted(unknown)[0], OPTIONS)}")
    if not files.path:
        raise UserError("corpus.gold.reader=huggingface needs corpus.gold.path, a folder or a name")
    splits = arrow.splits_of(files.path, data_folder, files.options)
    documents: list[Document] = []
    kb = False
    for split, rows in splits.items():
        part = parts.Part(Path(files.path), split, rows.origin)
        if KB <= set(rows.columns):
            kb = True
            documents += _kb(rows, files, part)
        elif TOKENS in rows.columns:
            documents += _tagged(rows, files, part)
        else:
            documents += _texts(rows, files, part)
    return table_of(documents, files, taxonomy, segmented=kb)


def _texts(rows: Rows, files: GoldFiles, part: parts.Part) -> list[Document]:
    out = []
    for number, row in enumerate(rows.values, start=1):
        where = f"{files.path}, row {number}"
        document = records.document(row, files, where, part)
        cell = records.named(row, files.labels_field, "labels_field", where)
        cell = rows.named(files.labels_field, cell)
        labels = labels_in(cell, files.label_map, files.label_separator, where)
        out.append(records.with_annotations(document, tuple(labels), ()))
    return out


def _tagged(rows: Rows, files: GoldFiles, part: parts.Part) -> list[Document]:
    column = next((name for name in TAGS if name in rows.columns), None)
    if column is None:
        raise UserError(f"{files.path}: tokens without tags; one of {', '.join(TAGS)} was expected")
    tagged = [(row, [str(tag) for tag in rows.named(column, row[column])]) for row in rows.values]
    ends_marked = marks_ends(tag for _, tags in tagged for tag in tags)
    out = []
    for number, (row, tags) in enumerate(tagged, start=1):
        text, offsets = joined(row[TOKENS])
        spans, _ = spans_of(tags, ends_marked)
        where = f"{files.path}, row {number}"
        document = records.document(row | {files.text_field: text}, files, where, part)
        mentions = tuple(Mention(offsets[a][0], offsets[b - 1][1], kind) for a, b, kind in spans)
        out.append(records.with_annotations(document, (), mentions))
    return out


def _kb(rows: Rows, files: GoldFiles, part: parts.Part) -> list[Document]:
    """BigBIO's knowledge-base schema: passages are joined at their offsets."""
    texts: list[tuple[str, str, Sequence[Annotation]]] = []
    for row in rows.values:
        texts.append((str(row["document_id"]), _whole(row["passages"]), _entities(row["entities"])))
    placed = mentions_of(texts, path=files.path, given=files.offsets)
    where = str(files.path)
    return [
        Document(
            name,
            text,
            mentions,
            split=part.split,
            origin=part.origin,
            where=where,
            relations=relations_between(marks, mentions, _links(row), where, known=False),
        )
        for (name, text, marks), mentions, row in zip(texts, placed, rows.values, strict=True)
    ]


def _links(row: Mapping[str, Any]) -> list[Link]:
    relations = row.get("relations")
    return [
        Link(str(one["type"] or UNNAMED), str(one["arg1_id"]), str(one["arg2_id"]))
        for one in ([] if relations is None else relations)
    ]


def _whole(passages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a document; between passages stand line breaks."""
    text = ""
    for passage in passages:
        for piece, (start, _) in zip(passage["text"], passage["offsets"], strict=True):
            text += "\n" * max(0, start - len(text)) + piece
    return text


def _entities(given: Sequence[Mapping[str, Any]]) -> list[Annotation]:
    return [
        Annotation(
            tuple(
                (start, end, mention)
                for (start, end), mention in zip(one["offsets"], one["text"], strict=True)
            ),
            one["type"],
            (),
            (str(one.get("id", "")),),
        )
        for one in given
    ]
