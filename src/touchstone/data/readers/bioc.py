"""Read BioC, XML or JSON, as PubMed, PubTator 3 and the BioCreative tasks give it.

Each passage (or sentence, where the file has those) is a text of its document; annotations are
mentions of the type in their `type`, other infons stand with them where `attributes` names them.
Every slice is compared with the annotation's text: BioC files count characters, bytes or UTF-16
units. Relations join annotations (nodes) or concepts (infons that name two), with `spans_as:
relations`; else they are counted. Needs the package bioc. Source: Comeau et al. 2013.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
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
from touchstone.data.pairs import UNNAMED, Link
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS)
NOT_WHAT = ("type", "identifier")  # infons that are no attributes
SEVERAL = re.compile(r"[|,;]")  # between the concepts of one mention
# document, text, annotations, whether the text is a sentence, relations
Text = tuple[str, str, list[Annotation], bool, list[Link]]


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a file (.xml or .json), or a folder of them.

    Returns
    -------
    frame, counted : see `annotated.table_of`; `relations` counts them, `relations_not_read` those
        that do not join two annotations or two concepts.

    Raises
    ------
    UserError
        With the file: not BioC, an annotation without type or place, or not at its place.
    """
    documents: list[Document] = []
    counted: Counter[str] = Counter()
    for part in parts.parts_of(files, data_folder):
        paths = [part.path]
        if part.path.is_dir():
            paths = [*parts.inside(part.path, ".xml"), *parts.inside(part.path, ".json")]
        for path in paths:
            texts = list(_texts(path, counted))
            placed = mentions_of(
                [(name, text, marks) for name, text, marks, *_ in texts],
                path=path,
                given=files.offsets,
            )
            for (name, text, marks, whole, links), mentions in zip(texts, placed, strict=True):
                documents.append(
                    Document(
                        name,
                        text,
                        mentions,
                        sentences=((0, len(text)),) if whole else None,
                        split=part.split,
                        origin=part.origin,
                        where=str(path),
                        relations=relations_between(marks, mentions, links, str(path), known=False),
                    )
                )
    frame, summary = table_of(documents, files, taxonomy, segmented=True)
    return frame, summary | dict(counted)


def _texts(path: Path, counted: Counter[str]) -> Iterator[Text]:
    for document in _collection(path).documents:
        texts = [
            (text, text is not passage)
            for passage in document.passages
            for text in passage.sentences or [passage]
            if text.text and text.text.strip()
        ]
        marks = [[_mark(one, text.offset, path) for one in text.annotations] for text, _ in texts]
        links = _links(document, marks, counted)
        for (text, whole), found, joined in zip(texts, marks, links, strict=True):
            yield str(document.id), text.text, found, whole, joined


def _links(document: Any, marks: list[list[Annotation]], counted: Counter[str]) -> list[list[Link]]:
    """Return the relations of each text of a document: those of which it has both sides. One that
    no text has whole stands with the first, where it is counted as left out."""
    here = [{name for mark in found for name in mark.names} for found in marks]
    links: list[list[Link]] = [[] for _ in marks]
    holders = [document, *document.passages]
    holders += [text for passage in document.passages for text in passage.sentences]
    for relation in (one for holder in holders for one in holder.relations):
        counted["relations"] += 1
        infons = relation.infons
        sides = [node.refid for node in relation.nodes]
        if not sides:  # of concepts, which other infons name: role1=Chemical|MESH:D007980
            values = [v for name, v in infons.items() if name.lower() not in ("type", "relation")]
            named = {str(value): _concepts(value) for value in values}
            sides = [names[-1] for names in named.values() if any({*names} & one for one in here)]
        if len(sides) != 2:
            counted["relations_not_read"] += 1
            continue
        link = Link(str(infons.get("type") or infons.get("relation") or UNNAMED), *sides)
        within = [number for number, names in enumerate(here) if {*sides} <= names]
        for number in within or [0][: len(links)]:
            links[number].append(link)
    return links


def _concepts(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):  # as PubTator 3 writes a role in JSON
        value = value.get("identifier", "")
    return tuple(part.strip() for part in SEVERAL.split(str(value)) if part.strip())


def _mark(one: Any, begin: int, path: Path) -> Annotation:
    kind = one.infons.get("type")
    if not kind or not one.locations:
        raise UserError(f"{path}: an annotation without type or location")
    mention = one.text if len(one.locations) == 1 else None
    places = tuple(
        (place.offset - begin, place.offset + place.length - begin, mention)
        for place in one.locations
    )
    others = sorted(
        f"{name}={value}" for name, value in one.infons.items() if name.lower() not in NOT_WHAT
    )
    concepts = [value for name, value in one.infons.items() if name.lower() != "type"]
    names = (str(one.id), *(name for value in concepts for name in _concepts(value)))
    return Annotation(places, kind, tuple(others), names)


def _collection(path: Path) -> Any:
    try:
        from bioc import biocjson, biocxml
    except ImportError:
        raise UserError(
            "corpus.gold.reader=bioc needs the package bioc: pip install 'touchstone-nlp[formats]'"
        ) from None
    try:
        if path.suffix == ".json":
            return biocjson.loads(path.read_text(encoding="utf-8-sig"))
        with open(path, "rb") as handle:
            return biocxml.load(handle)
    except (ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError, SyntaxError):
        raise UserError(f"{path}: not BioC; a collection of documents with passages") from None
