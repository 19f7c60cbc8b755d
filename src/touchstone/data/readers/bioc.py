"""Read BioC, XML or JSON, as PubMed, PubTator 3 and the BioCreative tasks give it.

Each passage (or sentence, where the file has those) is a text of its document; annotations are
mentions of the type in their `type`, other infons stand with them where `attributes` names them.
Every slice is compared with the annotation's text: BioC files count characters, bytes or UTF-16
units. Relations are counted. Needs the package bioc. Source: Comeau et al. 2013.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import Annotation, Document, mentions_of, table_of
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS)
NOT_WHAT = ("type", "identifier")  # infons that are no attributes


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a file (.xml or .json), or a folder of them.

    Returns
    -------
    frame, counted : see `annotated.table_of`; `relations` counts them.

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
                [(name, text, marks) for name, text, marks, _ in texts],
                path=path,
                given=files.offsets,
            )
            for (name, text, _, whole), mentions in zip(texts, placed, strict=True):
                documents.append(
                    Document(
                        name,
                        text,
                        mentions,
                        sentences=((0, len(text)),) if whole else None,
                        split=part.split,
                        origin=part.origin,
                        where=str(path),
                    )
                )
    frame, summary = table_of(documents, files, taxonomy, segmented=True)
    return frame, summary | dict(counted)


def _texts(path: Path, counted: Counter[str]) -> Iterator[tuple[str, str, list[Annotation], bool]]:
    """Yield document, text, annotations and whether the text is a sentence."""
    for document in _collection(path).documents:
        counted["relations"] += len(document.relations)
        for passage in document.passages:
            counted["relations"] += len(passage.relations)
            for text in passage.sentences or [passage]:
                if text.text and text.text.strip():
                    marks = [_mark(one, text.offset, path) for one in text.annotations]
                    yield str(document.id), text.text, marks, text is not passage


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
    return Annotation(places, kind, tuple(others))


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
