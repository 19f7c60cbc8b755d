"""What a file calls a category, as a category of the taxonomy.

A label is an id or a name of the taxonomy, or what `label_map` (file's word -> id, or `none`) makes
of it; `*` there stands for every other word. Does not read files.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from touchstone.data.files import quoted
from touchstone.errors import UserError, no_such
from touchstone.taxonomy import NONE, Taxonomy

REST = "*"  # in label_map: every word that nothing else names
_heard: ContextVar[dict[str, None] | None] = ContextVar("heard", default=None)
SEPARATORS = re.compile(r"[,;|\n\t]")


@contextmanager
def hearing() -> Iterator[dict[str, None]]:
    """Collect the words that name no category, in their order, instead of refusing them: for
    looking at a file before there is a taxonomy."""
    heard: dict[str, None] = {}
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


def only_heard() -> bool:
    """Return whether words are being collected, so that none is a category yet."""
    return _heard.get() is not None


def hear(word: str) -> bool:
    """Collect a word that names no category; return whether words are being collected at all."""
    heard = _heard.get()
    if heard is None:
        return False
    heard.setdefault(word.strip(), None)
    return True


def words_of(
    taxonomy: Taxonomy, label_map: Mapping[str, str], key: str = "corpus.gold."
) -> dict[str, str]:
    """Return word of the file -> category id or `none`.

    Raises
    ------
    UserError
        If `label_map` names a category that the taxonomy lacks.
    """
    words = {category.name: category.id for category in taxonomy.categories}
    words |= {category_id: category_id for category_id in taxonomy.ids} | {NONE: NONE}
    for word, category_id in label_map.items():
        if category_id not in (*taxonomy.ids, NONE):
            raise UserError(
                f"{key}label_map: {no_such('category', category_id, [*taxonomy.ids, NONE])}"
            )
        words[str(word)] = category_id
    return words


def category_of(word: str, words: Mapping[str, str], where: str) -> str:
    """Return the category id of one label of a file, or `none`.

    Raises
    ------
    UserError
        If it is neither a category nor in `label_map`.
    """
    category = words.get(word, words.get(word.strip(), words.get(REST)))
    if category is None and hear(word):
        return NONE
    if category is None:
        choices = sorted({*words.values(), NONE} - {REST})
        raise UserError(
            f"{where}: {no_such('category', quoted(word), choices)}. "
            "Another word for one: +corpus.gold.label_map={WORD: CATEGORY}; none leaves it out"
        )
    return category


def categories_of(
    labels: Iterable[str], words: Mapping[str, str], order: Iterable[str], where: str
) -> list[str]:
    """Return the category ids of one example in the taxonomy's order; `none` is [].

    Raises
    ------
    UserError
        For an unknown category, or the word `none` beside a category.
    """
    labels = list(labels)
    ids = [category_of(label, words, where) for label in labels]
    present = [category_id for category_id in order if category_id in ids]
    if present and NONE in (label.strip() for label in labels):
        raise UserError(f'{where}: "{NONE}" beside a category ({", ".join(present)})')
    return present


def labels_in(cell: Any, words: Mapping[str, str], separator: str | None, where: str) -> list[str]:
    """Return the labels that one cell of a table holds.

    Parameters
    ----------
    cell : a list, the text of a JSON or Python list, one label, or several with a separator
        between them. Empty, null: no label.
    words : see `words_of`; a cell that is one of them is one label, whatever stands in it.
    separator : None: comma, semicolon, vertical bar, tab or line break.

    Raises
    ------
    UserError
        If it is something else.

    Examples
    --------
    >>> labels_in("['a', 'b']", {}, None, ""), labels_in("a | b", {}, None, "")
    (['a', 'b'], ['a', 'b'])
    """
    if cell is None or cell != cell:  # null of JSON, NaN of Parquet
        return []
    if hasattr(cell, "tolist"):
        cell = cell.tolist()
    if isinstance(cell, (list, tuple)):
        labels = list(cell)
    elif isinstance(cell, str):
        text = cell.strip()
        if not text or text in words:
            return [text] if text else []
        if text[0] in "[(" and text[-1] in "])":
            labels = _literal(text, where)
        else:
            parts = text.split(separator) if separator else SEPARATORS.split(text)
            labels = [part.strip() for part in parts if part.strip()]
    else:
        labels = [cell]
    return [_word(label, where) for label in labels]


def _word(label: Any, where: str) -> str:
    """Return a label as text: 1.0 and True, as tables hold codes, are 1."""
    if isinstance(label, (bool, int)) or (isinstance(label, float) and label.is_integer()):
        return str(int(label))
    if not isinstance(label, str):
        raise UserError(f"{where}: a label must be a word or a whole number")
    return label.strip()


def _literal(text: str, where: str) -> list[Any]:
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, (list, tuple)):
            return list(value)
    raise UserError(f"{where}: looks like a list of labels, and is neither a JSON nor a Python one")
