"""Read PubTator: `PMID|t|title`, `PMID|a|abstract`, then annotations between tabs.

Title and abstract are one text, the title its first line; offsets count through it and are compared
with the mentions. A relation (`PMID CID D1 D2`) joins concepts, so all mentions of the two, with
`spans_as: relations`; else it is counted. Strict: a line of another kind, a document twice, an
annotation before its text are errors with file and line. Source: Wei et al. 2013.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import (
    Annotation,
    Document,
    mentions_of,
    relations_between,
    table_of,
)
from touchstone.data.files import opened, quoted
from touchstone.data.pairs import Link
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *(key for key in annotated.KEYS if key != "attributes"))
SEVERAL = re.compile(r"[|,;]")  # between the concepts of one mention
TEXT = re.compile(r"([^|\t]+)\|([ta])\|(.*)")


@dataclass
class Abstract:
    """One document while it is read."""

    texts: dict[str, str] = field(default_factory=dict)
    marks: list[Annotation] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read one file, or one for each part of a published split, as an example table.

    Returns
    -------
    frame, counted : see `annotated.table_of`; `relations` counts them.
    """
    documents: list[Document] = []
    counted: Counter[str] = Counter()
    for part in parts.parts_of(files, data_folder):
        abstracts = _abstracts(part.path, counted)
        texts = [
            (name, "\n".join(one.texts[key] for key in "ta" if key in one.texts), one.marks)
            for name, one in abstracts.items()
        ]
        placed = mentions_of(texts, path=part.path, given=files.offsets)
        for (name, text, _), mentions in zip(texts, placed, strict=True):
            documents.append(
                Document(
                    name,
                    text,
                    mentions,
                    split=part.split,
                    origin=part.origin,
                    where=str(part.path),
                    relations=relations_between(
                        abstracts[name].marks,
                        mentions,
                        abstracts[name].links,
                        str(part.path),
                        known=False,
                    ),
                )
            )
    frame, summary = table_of(documents, files, taxonomy, segmented=True)
    return frame, summary | dict(counted)


def _abstracts(path: Path, counted: Counter[str]) -> dict[str, Abstract]:
    abstracts: dict[str, Abstract] = {}
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            line = line.rstrip("\r\n")
            where = f"{path}, line {number}"
            if not line.strip():
                continue
            if match := TEXT.fullmatch(line):
                name, key, text = match.groups()
                one = abstracts.setdefault(name, Abstract())
                if key in one.texts:
                    raise UserError(f"{where}: document {quoted(name)} has this part twice")
                one.texts[key] = text
                continue
            cells = line.split("\t")
            if cells[0] not in abstracts or len(cells) < 4:
                raise UserError(
                    f"{where}: not PubTator; PMID|t|TITLE, PMID|a|ABSTRACT, or PMID, start, end, "
                    "mention and type between tabs after them"
                )
            if not (cells[1].isdigit() and cells[2].isdigit()):
                counted["relations"] += 1
                abstracts[cells[0]].links.append(Link(cells[1], cells[2], cells[3]))
                continue
            if len(cells) < 5:
                raise UserError(f"{where}: an annotation needs start, end, mention and type")
            place = (int(cells[1]), int(cells[2]), cells[3])
            concepts = SEVERAL.split(cells[5]) if len(cells) > 5 else []
            names = tuple(one.strip() for one in concepts if one.strip())
            abstracts[cells[0]].marks.append(Annotation((place,), cells[4], (), names))
    return abstracts
