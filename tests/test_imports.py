"""Imports point down the order that docs/architecture.md states, without a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
SOURCE = ROOT / "src" / "touchstone"


def modules_of(source: Path) -> dict[str, Path]:
    """Return dotted name -> file of every module of a package."""
    names = {}
    for path in source.rglob("*.py"):
        parts = [source.name, *path.relative_to(source).with_suffix("").parts]
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(source: Path) -> dict[str, set[str]]:
    """Return module -> modules of the same package that it imports, wherever in its text."""
    modules, arrows = modules_of(source), {}
    for name, path in modules.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                kept = package.split(".")[: len(package.split(".")) + 1 - node.level]
                base = ".".join([*(kept if node.level else []), *filter(None, [node.module])])
                # what is named may be a module or something in one
                wanted |= {f"{base}.{alias.name}" for alias in node.names}
        own = {target for one in wanted if (target := _module(one, modules))}
        arrows[name] = own - {name}
    return arrows


def _module(name: str, modules: Mapping[str, Path]) -> str:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def stated_order(page: str) -> dict[str, int]:
    """Return room -> line of the list under `:name: order`, top first."""
    block = re.search(r"^:name: order\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    assert block, "docs/architecture.md has no list named order"
    return {
        room.strip(): line
        for line, rooms in enumerate(block[1].splitlines())
        for room in rooms.split(",")
    }


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def arrows_upwards(arrows: Mapping[str, set[str]], order: Mapping[str, int]) -> list[str]:
    """Return the imports that do not point down, and those of one line of the list."""
    return [
        f"{name} imports {other}"
        for name, others in sorted(arrows.items())
        for other in sorted(others)
        if room_of(name) != room_of(other) and order[room_of(name)] >= order[room_of(other)]
    ]


def circle_in(arrows: Mapping[str, set[str]]) -> list[str] | None:
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_every_room_has_its_place_in_the_stated_order():
    rooms = {room_of(module) for module in modules_of(SOURCE)}
    assert rooms == set(stated_order(PAGE.read_text()))


def test_no_import_points_upwards():
    assert arrows_upwards(imports_of(SOURCE), stated_order(PAGE.read_text())) == []


def test_modules_do_not_import_each_other_in_a_circle():
    assert circle_in(imports_of(SOURCE)) is None


@pytest.fixture
def package(tmp_path):
    """A package of which the lower module comes back to the upper one inside of a function."""
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "roof.py").write_text("from house import cellar\n")
    (folder / "cellar.py").write_text("def f():\n    from .roof import tile\n    return tile\n")
    return folder


def test_an_import_inside_of_a_function_counts(package):
    arrows = imports_of(package)
    order = {"roof": 0, "cellar": 1, "house": 2}
    assert arrows_upwards(arrows, order) == ["house.cellar imports house.roof"]
    assert set(circle_in(arrows)) == {"house.roof", "house.cellar"}
