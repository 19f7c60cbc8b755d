"""The sources of training data stand in one table; other modules read it."""

import ast
from pathlib import Path

from touchstone.schema import CorpusConfig, MixtureConfig, SetFiles, SourceMix
from touchstone.source_table import GOLD, SOURCES, SYNTHETIC, TABLE

PACKAGE = Path(__file__).parents[1] / "src" / "touchstone"
# Beside the table: the claim about which of these two has fewer label errors
ABOUT_BOTH = {"source_table.py", "review/results.py", "report/reviewed.py"}


def lists_of_sources(text):
    """Yield the line of each tuple, list, set or dict that names two synthetic sources."""
    for node in ast.walk(ast.parse(text)):
        parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        words = {
            word.value
            for part in parts
            if part is not None
            for word in ast.walk(part)
            if isinstance(word, ast.Constant)
        }
        if len(words & set(SYNTHETIC)) > 1:
            yield node.lineno


def test_no_other_module_lists_the_sources():
    places = {
        path.relative_to(PACKAGE).as_posix(): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := list(lists_of_sources(path.read_text(encoding="utf-8"))))
    }
    assert set(places) == ABOUT_BOTH, places


def test_each_line_has_settings():
    assert (GOLD, *SYNTHETIC) == SOURCES == ("gold", "silver", "bronze")
    assert all(isinstance(getattr(MixtureConfig(), name), SourceMix) for name in SOURCES)
    assert all(isinstance(getattr(CorpusConfig(), name), SetFiles) for name in SYNTHETIC)
    assert len({(one.colour, one.marker, one.line) for one in TABLE}) == len(TABLE)
