"""Comments of the YAML files in conf/ are read in an editor: a line of prose fits 100 columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CONF = Path(__file__).parents[1] / "conf"
WIDTH = 100
# one piece each: commands to copy, addresses, and tables or examples set in columns
UNBROKEN = re.compile(r"# ?(python |touchstone )|python run\.py|`?touchstone |https?://|: {2,}|#  ")


def too_wide(text: str) -> list[int]:
    """Return the numbers of the lines that are wholly a comment in prose and wider than WIDTH."""
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if len(line) > WIDTH and line.lstrip().startswith("#") and not UNBROKEN.search(line)
    ]


@pytest.mark.parametrize(
    "path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF))
)
def test_comments_in_prose_fit_the_width(path):
    assert too_wide(path.read_text(encoding="utf-8")) == []


def test_prose_that_is_too_wide_is_found_and_a_command_is_not():
    prose, command = "# " + "word " * 30, "# python run.py " + "task=hoc " * 20
    assert too_wide(f"name: a\n{prose}\n{command}\n") == [2]
