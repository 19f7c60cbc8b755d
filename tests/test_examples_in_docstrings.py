"""The examples in the docstrings of the package print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import touchstone

MODULES = [
    module.name
    for module in pkgutil.walk_packages(touchstone.__path__, "touchstone.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert failed == 0


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    found = [
        test
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(found) >= 4
