"""Read entities from column files as they come: CoNLL 2002 and 2003, CoNLL-U like, MultiCoNER.

As readers/bio_tsv.py (whose decoding of tags this is), but forgiving of the layout: columns between
tabs or any white space, `#` comments, tags without a type (`B`, `I`, `O`: the type is
`options.entity_type`, or the taxonomy's only category). A document begins at `-DOCSTART-`, at
`# newdoc id = NAME`, `# doc_id = NAME` or `# id NAME`; without any, `docs_of` sentences make one.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import Document, Mention, table_of
from touchstone.data.files import opened
from touchstone.data.readers.bio_tsv import joined, marks_ends, spans_of
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEY = "corpus.gold."
KEYS = (
    *parts.KEYS,
    "token_column",
    "tag_column",
    "docs_of",
    "options",
    *(key for key in annotated.KEYS if key not in ("segment", "attributes", "offsets")),
)
TAG = re.compile(r"O|[BIESLU](?:[-_]\S+)?")
DOCSTART = "-DOCSTART-"
COMMENT = re.compile(r"#\s*(?:newdoc\s+id\s*=|newdoc_id\s*=|doc_id\s*=|id\b\s*=?)\s*(\S+).*")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sentence:
    """Tokens and tags; the document as the file names it, and how many it has begun before."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    name: str
    document: int


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read one file, or one for each part of a published split, as an example table.

    Returns
    -------
    frame, counted : see `annotated.table_of`; `repaired_tags` as in `bio_tsv.read`.

    Raises
    ------
    UserError
        With file and line: too few columns, a tag of no known scheme, a type that is missing.
    """
    default = _default_type(files, taxonomy)
    documents: list[Document] = []
    repaired: Counter[str] = Counter()
    for part in parts.parts_of(files, data_folder):
        sentences = list(_sentences(part.path, files, default))
        ends_marked = marks_ends(tag for sentence in sentences for tag in sentence.tags)
        for number, sentence in enumerate(sentences):
            text, offsets = joined(sentence.tokens)
            spans, repairs = spans_of(sentence.tags, ends_marked)
            repaired.update(kind for _, kind in repairs)
            counted = sentence.document - 1 if sentence.document else number // (files.docs_of or 1)
            documents.append(
                Document(
                    sentence.name or f"{part.split or 'doc'}-{counted:05d}",
                    text,
                    tuple(
                        Mention(offsets[first][0], offsets[last - 1][1], kind)
                        for first, last, kind in spans
                    ),
                    split=part.split,
                    origin=part.origin,
                    where=str(part.path),
                )
            )
    if repaired:
        log.warning("corpus.gold.reader=conll: %d tags repaired", repaired.total())
    frame, summary = table_of(documents, files, taxonomy, segmented=False)
    return frame, summary | {"repaired_tags": repaired.total()}


def _default_type(files: GoldFiles, taxonomy: Taxonomy) -> str | None:
    unknown = set(files.options) - {"entity_type"}
    if unknown:
        raise UserError(f"{KEY}options.{sorted(unknown)[0]}: conll has entity_type alone")
    if "entity_type" in files.options:
        return str(files.options["entity_type"])
    return taxonomy.ids[0] if len(taxonomy.ids) == 1 else None


def _sentences(path: Path, files: GoldFiles, default: str | None) -> Iterator[Sentence]:
    tokens: list[str] = []
    tags: list[str] = []
    name, document, width = "", 0, None
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            comment = COMMENT.fullmatch(line.strip()) if line.startswith("#") else None
            cells = _cells(line)
            ends = not cells or cells[0] == DOCSTART or _is_comment(line)
            if ends and tokens:
                yield Sentence(tuple(tokens), tuple(tags), name, document)
                tokens, tags = [], []
            if comment or (cells and cells[0].startswith(DOCSTART)):
                name = comment[1] if comment else ""
                document += 1
            if ends:
                continue
            width = width or len(cells)
            token, tag = _pair(cells, width, files, f"{path}, line {number}")
            tokens.append(token)
            tags.append(_typed(tag, default, f"{path}, line {number}"))
    if tokens:
        yield Sentence(tuple(tokens), tuple(tags), name, document)


def _cells(line: str) -> list[str]:
    line = line.rstrip("\r\n")
    cells = [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()
    while cells and not cells[-1]:
        cells = cells[:-1]  # a tab after the last column
    return cells


def _is_comment(line: str) -> bool:
    """Tell a comment from the token `#`, which has its tag in a column beside it."""
    return line.startswith("#") and (
        line.strip() == "#"
        or COMMENT.fullmatch(line.strip()) is not None
        or not TAG.fullmatch(_cells(line)[-1])
    )


def _pair(cells: list[str], width: int, files: GoldFiles, where: str) -> tuple[str, str]:
    if len(cells) != width or width < 2:
        raise UserError(
            f"{where}: {len(cells)} columns where {max(2, width)} were expected. Columns stand "
            "between tabs or blanks, an empty line ends a sentence"
        )
    for name, column in (("token_column", files.token_column), ("tag_column", files.tag_column)):
        if not -width <= column < width:
            raise UserError(
                f"{where}: no column {column} among {width}: {KEY}{name}=NUMBER, from 0"
            )
    tag = cells[files.tag_column]
    if not TAG.fullmatch(tag):
        raise UserError(
            f"{where}: column {files.tag_column} is no tag; a tag is O, or B, I, E, S, L or U, "
            "with "
            f"or without a type (B-Disease). {KEY}tag_column=NUMBER names another"
        )
    return cells[files.token_column], tag


def _typed(tag: str, default: str | None, where: str) -> str:
    if tag == "O":
        return tag
    if len(tag) > 1:
        return f"{tag[0]}-{tag[2:]}"
    if default is None:
        raise UserError(
            f"{where}: a tag without a type. Name it: +{KEY}options={{entity_type: TYPE}}"
        )
    return f"{tag}-{default}"
