"""What is used of others without a promise that it stays is listed in docs/architecture.md, and
nothing is listed that is not used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
LIBRARIES = ("hydra", "mlflow", "omegaconf", "sklearn", "torch", "transformers", "openai")
# modules without a page in their project's reference; a name with a leading underscore is private
# anyhow
UNDOCUMENTED = (
    "hydra.core.config_search_path",
    "hydra.core.object_type",
    "hydra.core.override_parser",
    "hydra.core.utils",
    "mlflow.data.dataset_source_registry",
    "mlflow.store",
    "mlflow.tracing.client",
    "mlflow.tracing.constant",
    "mlflow.utils",
)


def table() -> list[tuple[list[str], list[str]]]:
    """Return the rows of the page's table: names, and files below src/."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## Private interfaces")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return [
        (
            re.findall(r"`([^`]+)`", what),
            [
                name if name.startswith("hydra_plugins") else f"touchstone/{name}"
                for name in re.findall(r"`([^`]+)`", files)
            ],
        )
        for what, _, files, _ in rows
    ]


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the undocumented modules and underscored names of the libraries that a module uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            private = any(re.match(r"_[a-z]\w*(?<!_)$", part) for part in parts[1:])
            if parts[0] in LIBRARIES and (private or name.startswith(UNDOCUMENTED)):
                yield name
            elif private and re.fullmatch(r"(super\(\)|(?!self\b|cls\b|os\b)\w+)(\.\w+)+", name):
                yield name


def uses() -> dict[str, set[str]]:
    """Return file -> the private names in it."""
    out = {}
    for path in SOURCE.rglob("*.py"):
        names = set(private_names(ast.parse(path.read_text(encoding="utf-8"))))
        if names:
            out[path.relative_to(SOURCE).as_posix()] = names
    return out


def listed(name: str, file: str) -> bool:
    return any(
        file in files and any(_names(entry, name) for entry in entries)
        for entries, files in table()
    )


def _names(entry: str, name: str) -> bool:
    """Return whether an entry stands for a dotted name: it, a part before it, or its last part."""
    return name == entry or name.startswith(f"{entry}.") or name.split(".")[-1] == entry


def test_every_private_name_is_in_the_table():
    missing = [
        f"{file}: {name}"
        for file, names in sorted(uses().items())
        for name in sorted(names)
        if not listed(name, file)
    ]
    assert not missing


def test_nothing_is_listed_that_is_not_used():
    found = uses()
    for entries, files in table():
        for file in files:
            text = (SOURCE / file).read_text(encoding="utf-8")
            if entries and entries[0].startswith(UNDOCUMENTED):
                assert any(_names(entries[0], name) for name in found.get(file, ())), (
                    entries[0],
                    file,
                )
            elif entries:
                assert entries[0].rpartition(".")[2] in text, (entries[0], file)


def test_a_private_name_is_seen_wherever_it_stands():
    text = """
import torch
from mlflow.utils import x
from hydra._internal import y
torch._z()
self._own()
source._kind()
"""
    assert set(private_names(ast.parse(text))) == {
        "mlflow.utils.x",
        "hydra._internal.y",
        "torch._z",
        "source._kind",
    }
