"""Read the XML of the i2b2 and n2c2 challenges, of MAE and of MedTator: a text and tags on it.

One file a note: TEXT, then TAGS, each tag an element named for its type, with `start` and `end`, or
`spans` (`4~9`, parts between commas), and the `text` it stands on, which is checked. A tag without
a place is a label of the whole note: `NAME`, `NAME=value` for each attribute it has, and by its
`met` in the n2c2 way (`met` gives NAME, `not met` nothing). Links (`fromID`, `toID`) are relations
of their tag's name. Other attributes of a tag (TYPE of the de-identification challenge) stand with
it where `attributes` names them. Sources: Stubbs, Uzuner 2015 (2014 challenge); Stubbs et al. 2019
(n2c2 2018); MedTator (He 2022).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import (
    Annotation,
    Document,
    mentions_of,
    relations_between,
    table_of,
)
from touchstone.data.files import quoted
from touchstone.data.offsets import Place
from touchstone.data.pairs import Link
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS)
PLACE = {"start", "end", "spans", "text", "id", "comment"}
SPANS = re.compile(r"\d+~\d+(?:,\s*\d+~\d+)*")
NOWHERE = ("", "-1~-1", "-1")
ENDING = re.compile(r"\s*(?:\.\.\.|…)\s*")  # MAE writes a mention in parts as "one ... two"


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a folder of .xml files, or one file; the document's id is the file's name.

    Returns
    -------
    frame, counted : see `annotated.table_of`; notes whose tags are labels of the whole note stay
        whole, others are cut into sentences. `links` counts what joins two tags.

    Raises
    ------
    UserError
        With the file: no XML, no TEXT, a tag whose text is not at its place.
    """
    documents: list[Document] = []
    counted: Counter[str] = Counter()
    for part in parts.parts_of(files, data_folder):
        found = parts.inside(part.path, ".xml") if part.path.is_dir() else [part.path]
        if not found:
            raise UserError(f"{part.path}: no .xml files in this folder")
        for path in found:
            text, labels, marks, links = _note(path, counted)
            name = str(path.relative_to(part.path).with_suffix("")) if path != part.path else ""
            name = name or path.stem
            mentions = mentions_of([(name, text, marks)], path=path, given=files.offsets)[0]
            documents.append(
                Document(
                    name,
                    text,
                    mentions,
                    labels,
                    split=part.split,
                    origin=part.origin,
                    where=str(path),
                    relations=relations_between(marks, mentions, links, str(path), known=False),
                )
            )
    whole = any(document.labels for document in documents)
    if whole and any(document.mentions for document in documents) and files.segment is None:
        raise UserError(
            f"{documents[0].where}: tags of places and tags of whole notes. Which are the gold? "
            "corpus.gold.segment=true (places), and +corpus.gold.label_map={TAG: none} "
            "for the others; or segment=false (whole notes)"
        )
    frame, summary = table_of(documents, files, taxonomy, segmented=not whole)
    return frame, summary | dict(counted)


def _note(
    path: Path, counted: Counter[str]
) -> tuple[str, tuple[str, ...], list[Annotation], list[Link]]:
    """Return the text, the labels of the whole note, the tags with a place, and the links."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        line = getattr(error, "position", (0, 0))[0]
        raise UserError(f"{path}, line {line}: not well-formed XML") from None
    body = root.find("TEXT")
    if body is None:
        raise UserError(
            f"{path}: no TEXT in it; i2b2, n2c2, MAE and MedTator write TEXT and TAGS. Other XML: "
            "corpus.gold.reader=bioc, uima_cas, or one of your own"
        )
    text = "".join(body.itertext())
    labels: list[str] = []
    marks: list[Annotation] = []
    links: list[Link] = []
    tags = root.find("TAGS")
    for tag in [] if tags is None else list(tags):
        attributes = dict(tag.attrib)
        places = _places(
            attributes, f"{path}, tag {quoted(tag.tag)} {quoted(attributes.get('id', ''))}"
        )
        ends = [attributes.get(f"{end}ID", attributes.get(f"{end}Id")) for end in ("from", "to")]
        if ends[0] is not None:
            counted["links"] += 1
            links.append(Link(tag.tag, str(ends[0]), str(ends[1])))
        elif places:
            others = tuple(
                f"{name}={value}"
                for name, value in sorted(attributes.items())
                if name not in PLACE and value
            )
            marks.append(Annotation(places, tag.tag, others, (attributes.get("id", ""),)))
        else:
            labels += _of_note(tag.tag, attributes)
    return text, tuple(labels), marks, links


def _places(given: Mapping[str, str], where: str) -> tuple[Place, ...]:
    mention = given.get("text")
    if given.get("spans", "") not in NOWHERE:
        if not SPANS.fullmatch(given["spans"]):
            raise UserError(f"{where}: spans must be written START~END")
        bounds = [tuple(map(int, span.split("~"))) for span in given["spans"].split(",")]
        pieces = ENDING.split(mention) if mention and len(bounds) > 1 else [mention]
        texts = pieces if len(pieces) == len(bounds) else [None] * len(bounds)
        return tuple((b[0], b[1], text) for b, text in zip(bounds, texts, strict=True))
    if given.get("start", "") in NOWHERE:
        return ()
    try:
        return ((int(given["start"]), int(given["end"]), mention),)
    except (KeyError, ValueError):
        raise UserError(f"{where}: start and end must be whole numbers") from None


def _of_note(name: str, given: Mapping[str, str]) -> list[str]:
    if "met" in given:
        return [name] if given["met"].strip().lower() == "met" else []
    values = [f"{name}={value}" for key, value in sorted(given.items()) if key not in PLACE]
    return values or [name]
