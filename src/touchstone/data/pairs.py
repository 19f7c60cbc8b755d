"""Relations of annotated documents: each pair of entities of a sentence as an example of its own.

The rules, each counted:
- a candidate is a pair of entities in one sentence (joined as annotated.py says, if an entity
  crosses its end) whose marks are those of the taxonomy; a taxonomy without marks takes the pairs
  of types that some relation of the files joins;
- the two are written as their marks, `@GENE$` and `@DISEASE$`, as `relation_tsv` has them; other
  entities keep their words;
- a pair that a relation joins, in either direction, has its category; a pair that none joins is
  `none`, a negative;
- a relation between concepts (PubTator, BioC) holds for every pair of their mentions;
- two entities that overlap are no pair, since both cannot be masked;
- a relation whose entities stand in no common sentence is left out.
Does not read files and does not cut sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from touchstone.data.files import quoted
from touchstone.errors import UserError
from touchstone.taxonomy import NONE

MARK = re.compile(r"@\w+\$")
UNNAMED = "relation"  # the type of a relation that its file gives no name
At = tuple[int, int, str]  # an entity: start, end, type as the file names it
Found = list[tuple[int, str]]  # relations: number within the document, category


@dataclass(frozen=True)
class Link:
    """A relation as a file gives it: its type, and the names (ids, concepts) of its two sides."""

    type: str
    first: str
    second: str
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A relation between places of a text; a side that names a concept has all its mentions."""

    type: str
    firsts: tuple[At, ...]
    seconds: tuple[At, ...]
    attributes: tuple[str, ...] = ()

    def joined(self) -> set[frozenset[At]]:
        """Return the pairs of entities that it holds between."""
        return {frozenset((first, second)) for first in self.firsts for second in self.seconds}


@dataclass(frozen=True)
class Entity:
    """An entity that may stand in a pair, its type as the file names it, and its mark."""

    start: int
    end: int
    type: str
    mark: str

    @property
    def at(self) -> At:
        """Where it stands, as relations name it."""
        return self.start, self.end, self.type


@dataclass(frozen=True)
class Rule:
    """Which pairs are candidates: the marks of the taxonomy, what `label_map` says of types, and
    the pairs of types that relations join, which decide where the taxonomy has no marks."""

    marks: tuple[str, ...]
    words: Mapping[str, str]
    joined: frozenset[frozenset[str]]


def relations_of(
    links: Iterable[Link], named: Mapping[str, Sequence[At]], where: str, *, known: bool = True
) -> tuple[Relation, ...]:
    """Return relations between names as relations between places.

    Parameters
    ----------
    named : name -> the entities that have it.
    known : every name must be one of an entity; False: a concept may have no mention.

    Raises
    ------
    UserError
        For a name that no entity has, where `known`.
    """
    out = []
    for link in links:
        lost = [name for name in (link.first, link.second) if not named.get(name)]
        if lost and known:
            raise UserError(f"{where}: a relation of {quoted(lost[0])}, which the file lacks")
        sides = [tuple(named.get(name, ())) for name in (link.first, link.second)]
        out.append(Relation(link.type, sides[0], sides[1], link.attributes))
    return tuple(out)


def mark_of(word: str, marks: Sequence[str], label_map: Mapping[str, str]) -> str | None:
    """Return how an entity of a type is written when it is masked, None where it takes no part.

    A type has the mark of its name in capitals, or the one that `label_map` gives it.

    >>> mark_of("Gene", ["@GENE$"], {}), mark_of("Chemical", ["@DRUG$"], {"Chemical": "@DRUG$"})
    ('@GENE$', '@DRUG$')
    >>> mark_of("Species", ["@GENE$"], {}) is None
    True
    """
    given = label_map.get(word)
    if given == NONE:
        return None
    own = f"@{re.sub(r'[^0-9A-Za-z]+', '_', word).strip('_').upper()}$"
    mark = given if given is not None and MARK.fullmatch(given) else own
    return mark if not marks or mark in marks else None


def words_apart(
    label_map: Mapping[str, str], marks: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the words of `label_map` that stand for categories, and those that stand for marks.

    Raises
    ------
    UserError
        For a mark that the taxonomy does not have.
    """
    of_marks = {word: to for word, to in label_map.items() if MARK.fullmatch(str(to))}
    strange = sorted({to for to in of_marks.values() if marks and to not in marks})
    if strange:
        raise UserError(
            f"corpus.gold.label_map: the taxonomy has no mark {strange[0]}. There are: "
            f"{', '.join(sorted(set(marks)))}"
        )
    return {word: to for word, to in label_map.items() if word not in of_marks}, of_marks


def joined_types(relations: Iterable[Relation]) -> frozenset[frozenset[str]]:
    """Return the pairs of types that relations join."""
    return frozenset(
        frozenset(at[2] for at in both) for relation in relations for both in relation.joined()
    )


def in_sentence(
    text: str,
    position: Mapping[int, int],
    entities: Iterable[Entity],
    held: Mapping[frozenset[At], Found],
    rule: Rule,
    counted: Counter[str],
) -> Iterator[tuple[str, Found]]:
    """Yield the candidates of one sentence in the order of the text: the sentence with the pair
    masked, and the relations that hold between the two.

    Parameters
    ----------
    text, position : the collapsed sentence, see `offsets.collapsed`.
    entities : that begin in it.
    held : pair of entities -> the number and category of each relation between them.
    counted : gets `overlapping_pairs` and `blank_pairs`.
    """
    distinct = sorted(set(entities), key=lambda one: one.at)
    for first, second in combinations(distinct, 2):
        if not _candidate(first, second, rule):
            continue
        if second.start < first.end:
            counted["overlapping_pairs"] += 1
            continue
        pair = _masked(text, position, first, second)
        if pair is None:
            counted["blank_pairs"] += 1
        else:
            yield pair, held.get(frozenset((first.at, second.at)), [])


def _candidate(first: Entity, second: Entity, rule: Rule) -> bool:
    if not rule.marks:
        return frozenset((first.type, second.type)) in rule.joined
    marks = sorted(rule.marks * 2 if len(rule.marks) == 1 else rule.marks)
    return len(marks) != 2 or sorted((first.mark, second.mark)) == marks


def _masked(text: str, position: Mapping[int, int], first: Entity, second: Entity) -> str | None:
    """Return a collapsed text with two entities written as their marks; None where one of them is
    white space alone."""
    places = []
    for entity in (first, second):
        inside = [position[at] for at in range(entity.start, entity.end) if at in position]
        if not inside:
            return None
        places.append((inside[0], inside[-1] + 1))
    (a, b), (c, d) = places
    return text[:a] + first.mark + text[b:c] + second.mark + text[d:]


def refuse_none(n_pairs: int, counted: Mapping[str, int], rule: Rule, reader: str) -> None:
    """Raise a UserError where the files hold no relation, or no pair of entities to learn from."""
    key = f"corpus.gold.reader={reader}, spans_as=relations"
    if not counted.get("relations"):
        raise UserError(
            f"{key}: the files hold no relation, or none that is a category, or this reader reads "
            "none. spans_as=spans reads the entities"
        )
    if not n_pairs:
        raise UserError(
            f"{key}: no sentence holds a pair of {' and '.join(rule.marks) or 'related types'}. "
            "Say which type of the files a mark stands for: "
            "+corpus.gold.label_map={TYPE: '@MARK$'}"
        )
