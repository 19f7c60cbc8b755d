"""The examples in the docstrings of evaluate/ print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import touchstone.evaluate

MODULES = [name for _, name, _ in pkgutil.iter_modules(touchstone.evaluate.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(f"touchstone.evaluate.{name}"))
    assert failed == 0


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in MODULES
        for test in finder.find(importlib.import_module(f"touchstone.evaluate.{name}"))
        if test.examples
    ]
    assert len(found) >= 4
