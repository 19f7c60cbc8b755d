"""The sources of training data: a line for each.

A line is all that a further source takes: `mixture.NAME` and `corpus.NAME` are its settings, its
examples are read from `corpus.NAME.path`, filtered, guarded against leakage and sampled as those of
the others are, and it has its rows and its colour in tables and figures. What an LLM makes of a
source is asked for by `generate/`; what gold alone is used for stands where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A source of training data.

    Attributes
    ----------
    name : in configuration, tables and file names.
    title : over examples of it.
    template : of a prompt, by which an LLM makes it; '' where only files hold it.
    colour, marker, line : in figures (Okabe and Ito 2008: told apart without colour vision).
    """

    name: str
    title: str
    template: str
    colour: str
    marker: str
    line: str


TABLE = (
    Source("gold", "sentences labelled by experts", "", "#E69F00", "o", "-"),
    Source("silver", "notes labelled by the LLM", "data_to_label", "#56B4E9", "s", "--"),
    Source("bronze", "sentences written by the LLM", "label_to_data", "#D55E00", "^", "-."),
)
SOURCES = tuple(source.name for source in TABLE)  # in the order of the tables
GOLD, *_others = SOURCES
SYNTHETIC = tuple(_others)  # what is not of experts
