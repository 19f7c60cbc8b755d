"""Where an annotation stands in a text: offsets of any tool as Python characters, checked.

Tools count differently: characters (code points), UTF-16 units (browsers: Label Studio, doccano),
UTF-8 bytes, and with `\\r\\n` as one or as two. The unit of a file is the one in which every slice
equals the mention text that the file gives beside it; where none fits, the file is refused with the
first place that differs. Does not guess where a file gives no mention text and the units differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from touchstone.errors import UserError

UNITS = ("characters", "utf16", "bytes", "characters_lf", "utf16_lf")  # _lf: \r\n counts as one
Place = tuple[int, int, str | None]  # start, end, mention text where the file gives it


def converted(text: str, start: int, end: int, unit: str) -> tuple[int, int] | None:
    """Return offsets as Python characters, None where they cut a character or leave the text.

    >>> converted("\\U0001f600 gout", 3, 7, "utf16")
    (2, 6)
    """
    marks = positions(text, unit)
    first, last = marks.get(start), marks.get(end)
    return None if first is None or last is None or first >= last else (first, last)


def unit_of(
    texts: Sequence[tuple[str, str, Sequence[Place]]],
    *,
    path: object,
    given: str | None = None,
    usual: str = "characters",
) -> str:
    """Return the unit in which the offsets of a file count.

    Parameters
    ----------
    texts : for each text of the file: its id (for the message), the text, its places.
    path : the file, for messages.
    given : `corpus.gold.offsets`, which decides where it is set.
    usual : what this tool counts in, taken where several units fit and differ.

    Raises
    ------
    UserError
        If no unit fits; or if the file gives no mention texts, the units differ, and none is given.
    """
    if given is not None:
        if given not in UNITS:
            raise UserError(f"corpus.gold.offsets={given}: must be one of {', '.join(UNITS)}")
        _refuse_misfit(texts, given, path)
        return given
    order = (usual, *(unit for unit in UNITS if unit != usual))
    fitting = [unit for unit in order if _misfit(texts, unit) is None]
    if not fitting:
        _refuse_misfit(texts, usual, path)
    spoken = all(mention is not None for _, _, places in texts for *_, mention in places)
    if not spoken and len({_slices(texts, unit) for unit in fitting if unit in order[:3]}) > 1:
        raise UserError(
            f"{path}: holds characters that tools count as one or as two, and gives no mention "
            "texts to tell by. Say how its offsets count: corpus.gold.offsets=characters, or utf16"
        )
    return fitting[0]


def collapsed(text: str, start: int, end: int) -> tuple[str, dict[int, int]]:
    """Return a part of a text with white space collapsed to single spaces, and where each of its
    characters went: position in `text` -> position in the result, for all but white space.

    >>> collapsed("a  gout\\n", 0, 8)
    ('a gout', {0: 0, 3: 2, 4: 3, 5: 4, 6: 5})
    """
    out: list[str] = []
    where: dict[int, int] = {}
    blank = False
    for position in range(start, end):
        if text[position].isspace():
            blank = bool(out)
            continue
        if blank:
            out.append(" ")
            blank = False
        where[position] = len(out)
        out.append(text[position])
    return "".join(out), where


def same(found: str, mention: str) -> bool:
    """Return whether a slice is the mention, whatever white space stands in and around them."""
    return found == mention or found.split() == mention.split()


def positions(text: str, unit: str) -> dict[int, int]:
    """Return position in the unit -> position in characters; one within a character is absent."""
    kind, _, lines = unit.partition("_")
    width = {
        "characters": lambda character: 1,
        "utf16": lambda character: 1 + (character > "\uffff"),
        "bytes": lambda character: len(character.encode("utf-8", "surrogatepass")),
    }[kind]
    widths = [width(character) for character in text]
    if lines:
        widths = [
            0 if text[at : at + 2] == "\r\n" else size
            for at, size in enumerate(widths)  # \r of \r\n
        ]
    return {at: index for index, at in enumerate(accumulate(widths, initial=0))}


def _fits(text: str, marks: dict[int, int], place: Place) -> bool:
    first, last = marks.get(place[0]), marks.get(place[1])
    if first is None or last is None or first >= last:
        return False
    return place[2] is None or same(text[first:last], place[2])


def _misfit(
    texts: Iterable[tuple[str, str, Sequence[Place]]], unit: str
) -> tuple[str, Place] | None:
    """Return the first place that does not fit."""
    for name, text, places in texts:
        marks = positions(text, unit) if places else {}
        for place in places:
            if not _fits(text, marks, place):
                return name, place
    return None


def _refuse_misfit(
    texts: Sequence[tuple[str, str, Sequence[Place]]], unit: str, path: object
) -> None:
    misfit = _misfit(texts, unit)
    if misfit is not None:
        name, (start, end, mention) = misfit
        what = "outside its text" if mention is None else "not where its mention text stands"
        raise UserError(
            f"{path}: the annotation {start}..{end} of {name} is {what}. Was the text changed "
            "after the annotation (line ends, encoding, a byte order mark)? Export both again"
        )


def _slices(
    texts: Sequence[tuple[str, str, Sequence[Place]]], unit: str
) -> tuple[tuple[int, int] | None, ...]:
    return tuple(
        converted(text, start, end, unit) for _, text, places in texts for start, end, _ in places
    )
