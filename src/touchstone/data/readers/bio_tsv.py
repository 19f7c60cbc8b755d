"""Read sentences with entities from token-per-line TSV: IOB/BIO, IOBES or BILOU tags, any order of
columns.

One token a line, a blank line after each sentence, `-DOCSTART-` lines (CoNLL) before documents
where the file has them. The text of a sentence is its tokens joined by single spaces: the corpora
keep no record of the original white space, so "T - cell" stays as the publisher cut it; spans are
exact character offsets into that text. A tag sequence that breaks its own scheme is read as
conlleval reads it, and counted. Does not split: the publisher's parts are kept. Sources: Crichton,
Pyysalo, Chiu, Korhonen 2017 (MTL-Bioinformatics-2016) for the corpora in this form; Ratinov, Roth
2009 for the schemes.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.data.files import find, opened
from touchstone.digest import digest_file
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEY = "corpus.gold."
KEYS = ("path", "train", "dev", "test", "token_column", "tag_column", "docs_of")
TAG = re.compile(r"O|[BIESLU]-\S+")
ENDS, SINGLES = frozenset("EL"), frozenset("SU")  # IOBES writes E- and S-, BILOU writes L- and U-
DOCSTART = "-DOCSTART-"
Span = tuple[int, int, str]  # first token, token after the last, type
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence as it stands in the file; `line` is that of its first token, `document` counts
    `-DOCSTART-` lines (0: before any)."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    line: int
    document: int


def read(
    gold: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a corpus, with a published split or as one file, as an example table with spans.

    Parameters
    ----------
    gold : `path`, or `train`, `test` and perhaps `dev`; `token_column` and `tag_column` (from 0,
        negative from the right); `docs_of`, sentences a pseudo-document where the files mark no
        documents (None: 1). Documents stand in for patients in splits and intervals.
    taxonomy : not used; the types are those of the tags.
    data_folder : where files are looked for first, see `files.find`.

    Returns
    -------
    frame : example table; example_id is `train-00012/0` for the first sentence of the 13th document
        of train, span types are those of the tags, origin is the digest of the file.
    counted : for each part `sentences`, `tokens`, `documents`, `entities` (by type) and
        `repaired_tags` (by kind, see `spans_of`); and `repaired_tags` in total.

    Raises
    ------
    UserError With file and line: a missing column, an empty token, a tag of no known scheme; a file
        without sentences, no train or test.
    """
    parts = published(gold)
    if gold.docs_of is not None and gold.docs_of < 1:
        raise UserError(
            f"{KEY}docs_of={gold.docs_of}: must be at least 1, or null for one sentence a document"
        )
    rows: list[dict[str, Any]] = []
    counted: dict[str, Any] = {"repaired_tags": 0}
    for split, name in parts.items():
        if name:
            path = find(name, data_folder)
            sentences, of_part = _read_part(path, split, gold)
            rows += sentences
            counted[split or "all"] = of_part
            counted["repaired_tags"] += sum(of_part["repaired_tags"].values())
    return examples(rows), counted


def published(gold: GoldFiles) -> dict[str, str | None]:
    """Return the parts of a corpus, split -> file: `train`, `dev` and `test`, or '' -> `path`.

    Raises
    ------
    UserError
        If neither or both are named.
    """
    parts = {"train": gold.train, "dev": gold.dev, "test": gold.test}
    key = f"{KEY}reader={gold.reader}"
    if gold.path and any(parts.values()):
        raise UserError(f"{key}: name {KEY}path, or {KEY}train and {KEY}test, not both")
    if not gold.path and not (gold.train and gold.test):
        raise UserError(f"{key} needs {KEY}train and {KEY}test, or {KEY}path")
    return {"": gold.path} if gold.path else parts


def marks_ends(tags: Iterable[str]) -> bool:
    """Return whether tags are IOBES or BILOU rather than IOB: whether E-, L-, S- or U- occurs among
    them."""
    return any(tag[0] in ENDS or tag[0] in SINGLES for tag in tags)


def spans_of(
    tags: Sequence[str], ends_marked: bool = False
) -> tuple[list[Span], list[tuple[int, str]]]:
    """Decode the tags of one sentence into token spans, repairing what breaks the scheme as
    conlleval does.

    Parameters
    ----------
    tags : `O`, or prefix and type, e.g. `B-Disease`.
    ends_marked : the scheme is IOBES or BILOU (see `marks_ends`; a property of the whole file), so
        a span must not end silently.

    Returns
    -------
    spans : (first token, token after the last, type), in order, never overlapping.
    repairs : (token, kind) for each repair. `no_begin`: I-, E- or L- without an open span of its
        type begins a span (so IOB1, where that is legal, is read right, but counted). `no_end`:
        with `ends_marked`, a span that O, another span or the end of the sentence cuts off before
        E- or L- ends there.

    Examples
    --------
    >>> spans_of(["B-Disease", "I-Disease", "O", "I-Disease"])
    ([(0, 2, 'Disease'), (3, 4, 'Disease')], [(3, 'no_begin')])
    """
    spans: list[Span] = []
    repairs: list[tuple[int, str]] = []
    start: int | None = None
    kind = ""
    for token, tag in enumerate([*tags, "O"]):  # the end of the sentence closes like O
        prefix, _, entity = tag.partition("-")
        inside = prefix == "I" or prefix in ENDS
        if start is not None and not (inside and entity == kind):
            spans.append((start, token, kind))
            if ends_marked:
                repairs.append((token - 1, "no_end"))
            start = None
        if prefix == "O":
            continue
        if start is None:
            if inside:
                repairs.append((token, "no_begin"))
            start, kind = token, entity
        if prefix in ENDS or prefix in SINGLES:
            spans.append((start, token + 1, kind))
            start = None
    return spans, repairs


def joined(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Join tokens by single spaces and return the text with each token's [start, end) character
    offsets."""
    offsets, at = [], 0
    for token in tokens:
        offsets.append((at, at + len(token)))
        at += len(token) + 1
    return " ".join(tokens), offsets


def tagged_sentences(path: Path, token_column: int, tag_column: int) -> Iterator[TaggedSentence]:
    """Read the sentences of one file, one by one.

    Raises
    ------
    UserError
        With file and line, see `read_bio`; the text of the line never stands in the message.
    """
    tokens: list[str] = []
    tags: list[str] = []
    first, document, width = 0, 0, None
    with opened(path) as handle:
        for number, line in enumerate(handle, start=1):
            cells = line.rstrip("\r\n").split("\t")
            blank = not line.strip()
            starts_document = cells[0].startswith(DOCSTART)
            if (blank or starts_document) and tokens:
                yield TaggedSentence(tuple(tokens), tuple(tags), first, document)
                tokens, tags = [], []
            document += starts_document
            if blank or starts_document:
                continue
            width = width or len(cells)
            token, tag = _cells(cells, width, token_column, tag_column, f"{path}, line {number}")
            first = first if tokens else number
            tokens.append(token)
            tags.append(tag)
    if tokens:
        yield TaggedSentence(tuple(tokens), tuple(tags), first, document)


def _read_part(
    path: Path, split: str, gold: GoldFiles
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    origin = digest_file(path)
    rows: list[dict[str, Any]] = []
    entities: Counter[str] = Counter()
    repaired: Counter[str] = Counter()
    in_document: Counter[str] = Counter()
    n_tokens, first_repair = 0, 0
    sentences = list(tagged_sentences(path, gold.token_column, gold.tag_column))
    ends_marked = marks_ends(tag for sentence in sentences for tag in sentence.tags)
    for number, sentence in enumerate(sentences):
        text, offsets = joined(sentence.tokens)
        spans, repairs = spans_of(sentence.tags, ends_marked)
        place = sentence.document - 1 if sentence.document else number // (gold.docs_of or 1)
        document = f"{split or 'all'}-{place:05d}"
        rows.append(
            {
                "example_id": f"{document}/{in_document[document]}",
                "text": text,
                "labels": [],
                "spans": [
                    {"start": offsets[start][0], "end": offsets[end - 1][1], "type": kind}
                    for start, end, kind in spans
                ],
                "source": "gold",
                "doc_id": document,
                "patient_id": document,
                "split": split,
                "origin": origin,
            }
        )
        in_document[document] += 1
        entities.update(kind for _, _, kind in spans)
        repaired.update(kind for _, kind in repairs)
        first_repair = first_repair or (sentence.line + repairs[0][0] if repairs else 0)
        n_tokens += len(sentence.tokens)
    if not rows:
        raise UserError(f"{path}: no sentences")
    if repaired:
        log.warning(
            "%s: %d tags repaired (%s), the first on line %d",
            path,
            repaired.total(),
            _kinds(repaired),
            first_repair,
        )
    counted = {
        "sentences": len(rows),
        "tokens": n_tokens,
        "documents": len(in_document),
        "entities": dict(sorted(entities.items())),
        "repaired_tags": dict(sorted(repaired.items())),
    }
    return rows, counted


def _cells(
    cells: list[str], width: int, token_column: int, tag_column: int, where: str
) -> tuple[str, str]:
    if len(cells) != width:
        raise UserError(
            f"{where}: {len(cells)} tab-separated columns where the lines before it have {width}"
        )
    for name, column in (("token_column", token_column), ("tag_column", tag_column)):
        if not -width <= column < width:
            raise UserError(
                f"{where}: no column {column} among {width} tab-separated columns. Name the one "
                f"to read: {KEY}{name}=NUMBER, from 0"
            )
    if token_column % width == tag_column % width:
        raise UserError(
            f"{where}: {KEY}token_column and {KEY}tag_column are both column "
            f"{token_column % width} of {width}; tokens and tags must differ"
        )
    token, tag = cells[token_column], cells[tag_column]
    if not token.strip():
        raise UserError(f"{where}: empty token")
    if not TAG.fullmatch(tag):
        raise UserError(
            f"{where}: column {tag_column} is no tag; a tag is O, or B-, I-, E-, S-, L- or U- "
            "with an entity type. "
            f"{KEY}tag_column=NUMBER names another"
        )
    return token, tag


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
