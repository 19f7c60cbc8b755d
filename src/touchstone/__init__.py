"""Touchstone: what is LLM-made training data worth for a clinical model?

Compares gold (experts), silver (LLM labels real text) and bronze (LLM writes text from label
definitions) as training data, each alone and mixed, on one expert-labelled test set. The public
functions are those of api.py, and are loaded when they are first used: importing this package loads
nothing heavy.

    import touchstone as ts
    ts.run("mixture=gold,gold_bronze", "task.gold_patients=5").table
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "compare",
    "compose",
    "errors",
    "generated",
    "predictions",
    "quality",
    "read_corpus",
    "results",
    "run",
]


class _Callable(ModuleType):
    """A module of this package that has the name of a public function (run, errors): called, it is
    that function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _function(self.__name__.rpartition(".")[2])(*arguments, **options)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in __all__ and isinstance(value, ModuleType):  # Python sets what it has imported
            value.__class__ = _Callable
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in __all__:
        return _function(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _function(name: str) -> Any:
    return getattr(importlib.import_module("touchstone.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
