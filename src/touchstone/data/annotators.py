"""Several annotators of one text, settled into one gold.

An adjudicated layer is the gold where the file has one; `annotator` takes one person's; otherwise
a category or a span stands if more than half of the annotators of the text gave it. Where exactly
half did, nobody is right: it is left out, listed and told. Does not compute agreement
(evaluate/agreement.py does, from `single`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import parts
from touchstone.data.annotated import Document, Mention, table_of
from touchstone.data.files import quoted
from touchstone.errors import UserError, no_such
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

log = logging.getLogger(__name__)
TOLD = 5  # ties named in the message


@dataclass(frozen=True)
class Vote:
    """What one person said about one text: `document` with their labels and mentions."""

    annotator: str
    document: Document
    adjudicated: bool = False


@dataclass(frozen=True)
class Settled:
    """One gold of several annotators.

    Attributes
    ----------
    documents : in the order of the file.
    counted : `annotators` (texts of each), `adjudicated`, `majority`, `ties` (names of the texts in
        which something was left out since half of the annotators gave it).
    """

    documents: tuple[Document, ...]
    counted: dict[str, object]


# Reads one file of an export: the votes on each text, counting by name what is not used
Votes = Callable[[parts.Part, GoldFiles, Counter[str]], list[list["Vote"]]]


def read_votes(
    votes: Votes, files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None, left: str
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read an annotation tool's export as an example table.

    Parameters
    ----------
    votes : reads one file.
    left : what happened to what `votes` counts, for the log: "are not used".

    Returns
    -------
    frame, counted : see `annotated.table_of`; with several annotators also `settled`; and the
        counts of `votes`.
    """
    documents: list[Document] = []
    counted: Counter[str] = Counter()
    people: dict[str, Any] = {}
    for part in parts.parts_of(files, data_folder):
        chosen = settled(votes(part, files, counted), files.annotator, part.path)
        documents += chosen.documents
        people |= chosen.counted
    for name, count in counted.items():
        log.warning("corpus.gold.reader=%s: %d %s %s", files.reader, count, name, left)
    frame, summary = table_of(documents, files, taxonomy, segmented=False)
    return frame, summary | people | dict(counted)


def read_single(votes: Votes, files: GoldFiles, data_folder: str | Path | None) -> pd.DataFrame:
    """Return what each annotator of an export said; see `single`."""
    texts: list[list[Vote]] = []
    for part in parts.parts_of(files, data_folder):
        texts += votes(part, files, Counter())
    return single(texts)


def settled(texts: Iterable[Sequence[Vote]], annotator: str | None, path: object) -> Settled:
    """Settle texts, each with the votes on it.

    Parameters
    ----------
    annotator : `corpus.gold.annotator`: take this person's, leave out texts without theirs.

    Raises
    ------
    UserError
        If nobody has that name.
    """
    texts = [list(votes) for votes in texts]
    people = Counter(vote.annotator for votes in texts for vote in votes)
    if annotator is not None and annotator not in people:
        raise UserError(f"{path}: {no_such('annotator', annotator, map(quoted, people))}")
    documents: list[Document] = []
    ties: list[str] = []
    how: Counter[str] = Counter()
    for votes in texts:
        if annotator is not None:
            votes = [vote for vote in votes if vote.annotator == annotator]
        final = [vote for vote in votes if vote.adjudicated]
        if final or len(votes) == 1:
            documents.append((final or votes)[-1].document)
            how["adjudicated"] += bool(final)
        elif votes:
            document, tied = _majority(votes)
            documents.append(document)
            how["majority"] += 1
            ties += [document.doc_id] if tied else []
    if ties:
        log.warning(
            "%s: %d texts in which half of the annotators gave a label or mention that the others "
            "did not; it is left out there (%s%s)",
            path,
            len(ties),
            ", ".join(quoted(name) for name in ties[:TOLD]),
            ", ..." if len(ties) > TOLD else "",
        )
    counted: dict[str, object] = {}
    if len(people) > 1:
        counted = {"annotators": dict(sorted(people.items())), **how, "ties": ties}
    return Settled(tuple(documents), counted)


def single(texts: Iterable[Sequence[Vote]]) -> pd.DataFrame:
    """Return what each annotator said about the texts that all of them saw: one row a text (index
    doc_id/number), one column a person, cells are sorted lists of labels and mention types."""
    texts = [list(votes) for votes in texts]
    people = sorted({vote.annotator for votes in texts for vote in votes if not vote.adjudicated})
    rows = {}
    for number, votes in enumerate(texts):
        said = {vote.annotator: vote.document for vote in votes if not vote.adjudicated}
        if all(person in said for person in people):
            name = f"{next(iter(said.values())).doc_id}/{number}"
            rows[name] = [
                sorted({*said[p].labels, *(one.type for one in said[p].mentions)}) for p in people
            ]
    return pd.DataFrame.from_dict(rows, orient="index", columns=people)


def _majority(votes: Sequence[Vote]) -> tuple[Document, bool]:
    labels = Counter(label for vote in votes for label in set(vote.document.labels))
    mentions: Counter[Mention] = Counter(
        mention for vote in votes for mention in set(vote.document.mentions)
    )
    relations = Counter(one for vote in votes for one in set(vote.document.relations))
    half = len(votes) / 2
    document = replace(
        votes[0].document,
        labels=tuple(sorted(label for label, count in labels.items() if count > half)),
        mentions=tuple(
            sorted(
                (mention for mention, count in mentions.items() if count > half),
                key=lambda one: (one.start, one.end, one.type),
            )
        ),
        relations=tuple(
            sorted(
                (relation for relation, count in relations.items() if count > half),
                key=lambda one: (one.firsts, one.seconds, one.type),
            )
        ),
    )
    counts = (*labels.values(), *mentions.values(), *relations.values())
    tied = any(count == half for count in counts)
    return document, tied
