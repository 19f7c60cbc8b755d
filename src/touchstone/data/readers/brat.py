"""Read brat stand-off: a folder of NAME.txt with NAME.ann beside it.

Entities (`T`, also in parts) are mentions, attributes (`A`, such as Negation) stand with them,
relations (`R`) are relations with `spans_as: relations`; with `labels` a relation gives its type as
a label to the sentence in which its first argument begins. Events are counted. Strict: a line of no
known kind, an annotation whose text is not at its place, a note without its .ann are errors. A byte
order mark and Windows line ends do no harm. Source: brat's description of its stand-off format.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
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
from touchstone.data.offsets import Place
from touchstone.data.pairs import Link
from touchstone.data.tables import decoded
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS)
ENTITY = re.compile(r"(T\S+)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)")
ATTRIBUTE = re.compile(r"[AM]\S+\t(\S+) (\S+)(?: (.+))?")
RELATION = re.compile(r"(R\S+)\t(\S+) \S+?:(\S+) \S+?:(\S+)\s*")


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a folder, or one for each part of a published split, as an example table.

    Returns
    -------
    frame, counted : see `annotated.table_of`; the document's id is the file's name without its
        ending. `relations` counts them.

    Raises
    ------
    UserError
        With file and line, see the module.
    """
    documents: list[Document] = []
    counted: Counter[str] = Counter()
    for part in parts.parts_of(files, data_folder):
        if not part.path.is_dir():
            raise UserError(
                f"{part.path}: brat is a folder of .txt and .ann files. Name the folder"
            )
        texts = []
        for path in parts.inside(part.path, ".txt"):
            note = path.with_suffix(".ann")
            if not note.exists():
                raise UserError(f"{path}: no {note.name} beside it; an empty one: nothing to mark")
            texts.append((path, decoded(path)[0], _annotations(note, files, counted)))
        if not texts:
            raise UserError(f"{part.path}: no .txt files in this folder")
        for path, text, (found, links) in texts:
            name = str(path.relative_to(part.path).with_suffix(""))
            mentions = mentions_of(
                [(name, text, found)], path=path.with_suffix(".ann"), given=files.offsets
            )[0]
            documents.append(
                Document(
                    name,
                    text,
                    mentions,
                    split=part.split,
                    origin=part.origin,
                    where=str(path.with_suffix(".ann")),
                    relations=relations_between(
                        found, mentions, links, str(path.with_suffix(".ann"))
                    ),
                )
            )
    frame, summary = table_of(documents, files, taxonomy, segmented=True)
    return frame, summary | dict(counted)


def _annotations(
    path: Path, files: GoldFiles, counted: Counter[str]
) -> tuple[list[Annotation], list[Link]]:
    """Return the annotations of one .ann file, and the relations between them."""
    entities: dict[str, tuple[str, tuple[Place, ...]]] = {}
    attributes: dict[str, list[str]] = {}
    relations: list[tuple[str, Link]] = []
    text, _ = decoded(path)
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        where = f"{path}, line {number}"
        if not line.strip() or line[0] in "#N*":  # notes, normalisations, equivalences
            continue
        if match := ENTITY.fullmatch(line):
            name, kind, spans, mention = match.groups()
            entities[name] = kind, _places(spans, mention, where)
        elif match := ATTRIBUTE.fullmatch(line):
            kind, target, value = match.groups()
            attributes.setdefault(target, []).append(f"{kind}={value}" if value else kind)
        elif match := RELATION.fullmatch(line):
            counted["relations"] += 1
            relations.append((match[1], Link(match[2], match[3], match[4])))
        elif line[0] == "E" and "\t" in line:
            counted["events"] += 1
        else:
            raise UserError(
                f"{where}: not brat stand-off (T, A, R, E, N, # or * with tabs between the parts)"
            )
    lost = [target for target in attributes if target[0] == "T" and target not in entities]
    if lost:
        raise UserError(f"{path}: an attribute of {lost[0]}, which the file does not have")
    annotations = [
        Annotation(places, kind, tuple(attributes.get(name, ())), (name,))
        for name, (kind, places) in entities.items()
    ]
    links = []
    for name, link in relations:
        for side in (link.first, link.second):
            if side not in entities and side[0] != "E":
                raise UserError(f"{path}: a relation of {side}, which the file does not have")
        if files.spans_as == "labels" and link.first in entities:
            annotations.append(Annotation(entities[link.first][1], link.type))
        if link.first in entities and link.second in entities:
            links.append(replace(link, attributes=tuple(attributes.get(name, ()))))
        else:
            counted["relations of events"] += 1
    return annotations, links


def _places(spans: str, mention: str, where: str) -> tuple[Place, ...]:
    """Cut the mention text, parts joined by single spaces, into the texts of the parts."""
    bounds = [tuple(map(int, span.split())) for span in spans.split(";")]
    if len(bounds) == 1:
        return ((bounds[0][0], bounds[0][1], mention),)
    out, at = [], 0
    for start, end in bounds:
        if end <= start:
            raise UserError(f"{where}: a part that ends before it begins")
        out.append((start, end, mention[at : at + end - start]))
        at += end - start + 1
    return tuple(out)
