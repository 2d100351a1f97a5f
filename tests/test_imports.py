"""Imports point downward only, and what runs at a customer's needs no training framework."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABOVE = {"voc_builder": {"segtf", "scripts"}, "segtf": {"scripts"}}
# for training and drawing; onnx and tf2onnx are for exporting
HEAVY = {"tensorflow", "keras", "albumentations", "matplotlib", "segmentation_models", "tf2onnx"}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The full names of all that import statements among `nodes` bring in."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: not its functions, not what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def packages(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def path_of(name: str) -> Path | None:
    """The file of one of our own modules, None for anything else."""
    stem = ROOT.joinpath(*name.split("."))
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def reachable(name: str) -> dict[str, set[str]]:
    """What each of our modules that are imported with `name` imports."""
    seen: dict[str, set[str]] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        path = path_of(current)
        if path is not None and current not in seen:
            seen[current] = imported(at_import(tree_of(path)))
            waiting += [*seen[current], current.partition(".")[0]]
    return seen


@pytest.mark.parametrize("package", list(ABOVE))
def test_imports_point_downward_only(package: str) -> None:
    upward = {
        path.relative_to(ROOT).as_posix(): sorted(found)
        for path in modules(package)
        if (found := packages(imported(ast.walk(tree_of(path)))) & ABOVE[package])
    }
    assert upward == {}


def test_only_tfrecord_of_voc_builder_imports_tensorflow() -> None:
    users = {
        path.name
        for path in modules("voc_builder")
        if packages(imported(ast.walk(tree_of(path)))) & {"tensorflow", "keras"}
    }
    assert users <= {"tfrecord.py"}


@pytest.mark.parametrize("name", ["segtf.predict", "segtf.serve", "segtf.services.http.app"])
def test_what_runs_at_a_customers_reaches_no_training_framework(name: str) -> None:
    heavy = {name: packages(found) & HEAVY for name, found in reachable(name).items()}
    assert "voc_builder.pixels.images" in heavy
    assert {name: found for name, found in heavy.items() if found} == {}
