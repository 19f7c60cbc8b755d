"""What a key of the configuration may be, stated on the field that declares it (schema.py).

    workers: int = key(16, at_least(1), bookkeeping=True)

A range does not see other keys; rules between keys stand in configuration.py. None passes every
range: whether a key may be null, its type says. Imports nothing of ours but the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any

from touchstone.errors import UserError


@dataclass(frozen=True)
class Range:
    """Allowed values: `holds` tells one, `must` says them in words after "must be"."""

    holds: Callable[[Any], bool]
    must: str


def key(default: Any, range: Range | None = None, *, bookkeeping: bool = False) -> Any:
    """Declare a key of the configuration.

    Parameters
    ----------
    default : its value where nothing else is chosen.
    range : allowed values; None: any of the type.
    bookkeeping : whether it cannot change a cell's result (where results go, how an endpoint is
        reached, what is shown), so that another value makes no other cell.
    """
    return field(default=default, metadata={"range": range, "bookkeeping": bookkeeping})


def at_least(low: float, more: str = "") -> Range:
    """At least `low`; `more` is added to the words: ", or null for all"."""
    return Range(lambda value: value >= low, f"at least {low}{more}")


def more_than(low: float, more: str = "") -> Range:
    """More than `low`."""
    return Range(lambda value: value > low, f"more than {low}{more}")


def between(low: float, high: float, more: str = "") -> Range:
    """At least `low` and at most `high`."""
    return Range(lambda value: low <= value <= high, f"at least {low} and at most {high}{more}")


def above(low: float, high: float, more: str = "") -> Range:
    """More than `low` and at most `high`."""
    return Range(lambda value: low < value <= high, f"more than {low} and at most {high}{more}")


def inside(low: float, high: float, more: str = "") -> Range:
    """More than `low` and less than `high`."""
    return Range(lambda value: low < value < high, f"between {low} and {high}{more}")


def one_of(choices: Sequence[str | None]) -> Range:
    """One of a few words; None stands for null."""
    words = ["null" if choice is None else choice for choice in choices]
    text = f"one of {', '.join(words)}" if len(words) > 2 else " or ".join(words)
    return Range(lambda value: value in choices, text)


def outside(part: Any, place: str = "") -> Iterator[tuple[str, Any, str]]:
    """Yield key, value and what it must be, for each value of a configuration that its field's
    range does not hold, and each number that is not finite."""
    for one, value in _values(part):
        where = f"{place}{one.name}"
        parts = _parts(value)
        if parts:
            for name, entry in parts.items():
                yield from outside(entry, f"{where}{name}.")
            continue
        allowed = one.metadata.get("range")
        if value is not None and allowed is not None and not allowed.holds(value):
            yield where, value, allowed.must
        elif isinstance(value, float) and not math.isfinite(value):
            yield where, value, "a finite number"


def check_options(schema: type, values: Any, place: str = "classifier.") -> None:
    """Check the attributes of an estimator against the ranges of the schema that declares them.

    Raises
    ------
    UserError
        For the first that is out of its range.
    """
    for one in fields(schema):
        allowed, value = one.metadata.get("range"), getattr(values, one.name, None)
        if value is not None and allowed is not None and not allowed.holds(value):
            raise UserError(f"{place}{one.name}={value}: must be {allowed.must}")


def counted(part: Any) -> dict[str, Any]:
    """Return a configuration as plain data without its bookkeeping: what decides the result."""
    plain: dict[str, Any] = {}
    for one, value in _values(part):
        if one.metadata.get("bookkeeping"):
            continue
        plain[one.name] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    """Return a value with the dataclasses in it, also those of a list or a dict (the sites of a
    corpus), without their bookkeeping."""
    if is_dataclass(value):
        return counted(value)
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value


def bookkeeping_keys(schema: type) -> list[str]:
    """Return the names of a dataclass's fields that are bookkeeping."""
    return [one.name for one in fields(schema) if one.metadata.get("bookkeeping")]


def _parts(value: Any) -> dict[str, Any]:
    """Return the dataclasses that a value is or holds, by what follows the value's own key."""
    if is_dataclass(value):
        return {"": value}
    if isinstance(value, list):
        return {f"[{i}]": entry for i, entry in enumerate(value) if is_dataclass(entry)}
    if isinstance(value, dict):
        return {f".{key}": entry for key, entry in value.items() if is_dataclass(entry)}
    return {}


def _values(part: Any) -> Iterator[tuple[Field[Any], Any]]:
    for one in fields(part):
        yield one, getattr(part, one.name)
