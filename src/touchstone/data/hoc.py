"""Make hoc.jsonl, one labelled sentence a line, from the Hallmarks of Cancer corpus as its authors
publish it.

The repository holds `text/PMID.txt`, one sentence a line, and `labels/PMID.txt`, one field for each
sentence, each field begun by `<` and holding labels parted by `AND`; a label is a path in a tree of
37 classes, levels parted by `--`, or empty, or NULL. We keep the top level, the ten hallmarks. Does
not split or map to a taxonomy (that is `sentences.py`). Source: Baker et al. 2016,
github.com/sb895/Hallmarks-of-Cancer.
"""

from __future__ import annotations

import json
import zipfile

from touchstone.errors import UserError

NO_LABEL = ("", "NULL")


def hoc_jsonl(archive: zipfile.ZipFile) -> bytes:
    """Convert the repository's archive.

    Returns
    -------
    JSONL in UTF-8 with `doc_id` (PMID), `sent` (from 0), `text` and `labels` (sorted names of
    hallmarks): documents in the order of their ids as strings. Sentences and label fields are
    paired in order up to the shorter of the two, as other preparations of the corpus do (BLURB:
    17,464 sentences); bytes that are not UTF-8 become U+FFFD.

    Raises
    ------
    UserError
        If the archive has no such files.
    """
    members = {
        tuple(name.split("/")[-2:]): name for name in archive.namelist() if name.endswith(".txt")
    }
    documents = sorted(name.removesuffix(".txt") for folder, name in members if folder == "text")
    if not documents:
        raise UserError("the archive has no text/PMID.txt; the publisher's layout has changed")
    lines = []
    for document in documents:
        if ("labels", f"{document}.txt") not in members:
            raise UserError(
                f"the archive has text/{document}.txt but no labels/{document}.txt; the "
                "publisher's layout has changed"
            )
        text, labels = (
            archive.read(members[folder, f"{document}.txt"]).decode("utf-8", "replace")
            for folder in ("text", "labels")
        )
        pairs = zip(text.strip("\n").split("\n"), labels.split("<")[1:], strict=False)
        for number, (sentence, field) in enumerate(pairs):
            row = {
                "doc_id": document,
                "sent": number,
                "text": sentence.strip(),
                "labels": hallmarks(field),
            }
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def hallmarks(field: str) -> list[str]:
    """Return the sorted top levels of the labels of one sentence.

    >>> field = "Resisting cell death--Apoptosis ANDSustaining proliferative signaling--Cell cycle"
    >>> hallmarks(field + " AND Resisting cell death--")
    ['Resisting cell death', 'Sustaining proliferative signaling']
    """
    names = {label.split("--")[0].strip() for label in field.split("AND")}
    return sorted(names.difference(NO_LABEL))
