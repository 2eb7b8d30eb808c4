"""Imports go one way: each module uses what stands above its own row here, and its own package."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "intel_quantized_embeddings"
SOURCES = Path(__file__).resolve().parents[2] / "src" / PACKAGE

# A module's own name goes before that of its package.
TIERS = (
    ("errors", "version"),
    ("options", "texts"),
    ("files", "process"),
    ("vectors", "reporting", "architectures", "runtimes.table"),
    ("similarity",),
    ("models", "tasks"),
    ("int8_folder", "runtimes"),
    ("encoding",),
    ("quantization",),
    ("encoders",),
    ("integrations", "evaluation"),
    ("ingestion", "benchmarks", "__init__"),
    ("serving", "comparing"),
    ("cli",),
)
ROW = {place: row for row, places in enumerate(TIERS) for place in places}


def _name(file: Path) -> str:
    parts = file.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {_name(file): file for file in SOURCES.rglob("*.py")}


def _place(module: str) -> str:
    return module if module in ROW else module.partition(".")[0]


# Only inside these can an import be.
_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def _imported(file: Path) -> set[str]:
    """Modules of this package, those imported inside functions too; not those that only type checkers see."""
    tree = ast.parse(file.read_text("utf-8"))
    found = set()
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            left += node.orelse
        else:
            left += (child for child in ast.iter_child_nodes(node) if isinstance(child, _HOLDS_STATEMENTS))
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            inside = (node.module or "")[len(PACKAGE) + 1 :]
            for alias in node.names:
                module = f"{inside}.{alias.name}".removeprefix(".")
                found.add(module if module in MODULES else inside or "__init__")
    return found - {_name(file)}


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    """Of each module, those that it imports."""
    return {name: _imported(file) for name, file in MODULES.items()}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_from_the_rows_above_its_own_and_from_its_own_package(name, imports):
    assert _place(name) in ROW, "a new package needs a row"
    for imported in imports[name]:
        mine, its = _place(name), _place(imported)
        assert its == mine or ROW[its] < ROW[mine], f"{name} imports {imported}"


def test_no_module_imports_itself_by_way_of_others(imports):
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
