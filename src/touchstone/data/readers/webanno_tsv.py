"""Read WebAnno TSV 3, as INCEpTION and WebAnno export it: one file a document.

Sentences are the file's own. One span layer and one feature of it give the types:
`options.layer` and `options.feature` choose where there are several. Offsets count UTF-16 units and
are compared with the tokens. Relations and chains are not read. Source: WebAnno's description of
the format, versions 3.1 to 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import Annotation, Document, mentions_of, table_of
from touchstone.data.tables import decoded
from touchstone.errors import UserError, no_such
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (
    *parts.KEYS,
    "options",
    *(key for key in annotated.KEYS if key not in ("attributes", "offsets")),
)
KEY = "corpus.gold.options"
HEAD = re.compile(r"#FORMAT=WebAnno TSV 3\S*")
OFFSETS = re.compile(r"(\d+)-(\d+)")
VALUE = re.compile(r"(.*?)(?:\[(\d+)\])?", re.DOTALL)
ESCAPED = re.compile(r"\\(->|[\\\[\]|_;*trn])")
PLAIN = {"t": "\t", "r": "\r", "n": "\n"}


@dataclass(frozen=True)
class Line:
    """One token (or part of one): [start, end) in the document, its text, its values."""

    start: int
    end: int
    text: str
    values: tuple[str, ...]


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a folder of .tsv files, or one file; the document's id is the file's name.

    Returns
    -------
    frame, counted : see `annotated.table_of`.

    Raises
    ------
    UserError
        With the file: not WebAnno TSV 3, a layer or feature to be chosen, tokens that do not fit.
    """
    documents: list[Document] = []
    for part in parts.parts_of(files, data_folder):
        paths = parts.inside(part.path, ".tsv") if part.path.is_dir() else [part.path]
        if not paths:
            raise UserError(f"{part.path}: no .tsv files in this folder")
        for path in paths:
            name = path.stem
            column = None
            for text, lines, layers in _sentences(path):
                column = _column(layers, files.options, path) if column is None else column
                begin = lines[0].start
                tokens = [
                    Annotation(((line.start - begin, line.end - begin, line.text),), "")
                    for line in lines
                ]
                marks = _marks(lines, column, begin)
                placed = mentions_of(
                    [(name, text, [*tokens, *marks])], path=path, given=None, usual="utf16"
                )[0]
                documents.append(
                    Document(
                        name,
                        text,
                        placed[len(tokens) :],
                        sentences=((0, len(text)),),
                        split=part.split,
                        origin=part.origin,
                        where=str(path),
                    )
                )
    return table_of(documents, files, taxonomy, segmented=True)


def _sentences(path: Path) -> list[tuple[str, list[Line], list[str]]]:
    """Return the sentences of a file with their tokens; and the columns as LAYER.FEATURE."""
    text, _ = decoded(path)
    rows = text.split("\n")
    if not HEAD.match(rows[0]):
        raise UserError(f"{path}: does not begin with #FORMAT=WebAnno TSV 3; export it as that")
    layers: list[str] = []
    out: list[tuple[str, list[Line], list[str]]] = []
    said: list[str] = []
    lines: list[Line] = []
    for number, row in enumerate([*rows[1:], ""], start=2):
        row = row.rstrip("\r")
        if row.startswith("#T_SP="):
            name, *features = row.removeprefix("#T_SP=").split("|")
            layers += [f"{name}.{feature}" for feature in features] or [f"{name}."]
        elif row.startswith("#T_"):
            layers += [""] * max(1, row.count("|"))  # relations and chains: columns not read
        elif row.startswith("#Text="):
            said.append(_unescaped(row.removeprefix("#Text=")))
        elif row.startswith("#") and not lines:
            continue
        elif row.strip():
            lines.append(_line(row, f"{path}, line {number}"))
        elif lines:
            if not said:
                raise UserError(f"{path}, line {number}: tokens without a #Text= line above them")
            out.append(("\n".join(said), lines, layers))
            said, lines = [], []
    return out


def _line(row: str, where: str) -> Line:
    cells = row.split("\t")
    offsets = OFFSETS.fullmatch(cells[1]) if len(cells) > 2 else None
    if offsets is None:
        raise UserError(f"{where}: not a token line: number, offsets, token between tabs")
    return Line(
        int(offsets[1]), int(offsets[2]), _unescaped(cells[2]), tuple(c for c in cells[3:] if c)
    )


def _column(layers: Sequence[str], options: Mapping[str, Any], path: Path) -> int | None:
    """Return which column of values holds the types, None where the file has no span layer."""
    unknown = set(options) - {"layer", "feature"}
    if unknown:
        raise UserError(f"{KEY}.{sorted(unknown)[0]}: webanno_tsv has layer and feature")
    layer, feature = options.get("layer"), options.get("feature")
    fitting = [
        index
        for index, name in enumerate(layers)
        if name
        and (layer is None or name.rpartition(".")[0].endswith(str(layer)))
        and (feature is None or name.rpartition(".")[2] == feature)
    ]
    named = [name for name in layers if name]
    if len(fitting) == 1 or not named:
        return fitting[0] if fitting else None
    wanted = ".".join(str(one) for one in (layer, feature) if one is not None)
    if not fitting:
        raise UserError(f"{path}: {no_such('layer and feature', wanted, named)}")
    raise UserError(
        f"{path}: several layers and features ({', '.join(named)}). Which holds the types? "
        f"{KEY}={{layer: LAYER, feature: FEATURE}}"
    )


def _marks(lines: Sequence[Line], column: int | None, begin: int) -> list[Annotation]:
    """Join the values of tokens into spans: `Type[3]` is span 3, a value without number is one."""
    if column is None:
        return []
    spans: dict[tuple[str, str], tuple[int, int]] = {}
    for index, line in enumerate(lines):
        cell = line.values[column] if column < len(line.values) else "_"
        if cell == "_":
            continue
        for number, value in enumerate(re.split(r"(?<!\\)\|", cell)):
            match = VALUE.fullmatch(value)
            kind, span = (match[1], match[2]) if match else (value, None)
            key = (span or f"token {index}.{number}", _unescaped(kind))
            start, _ = spans.get(key, (line.start, line.end))
            spans[key] = (start, line.end)
    return [
        Annotation(((start - begin, end - begin, None),), kind)
        for (_, kind), (start, end) in spans.items()
        if kind not in ("", "*", "_")
    ]


def _unescaped(text: str) -> str:
    return ESCAPED.sub(lambda match: PLAIN.get(match[1], match[1]), text)
