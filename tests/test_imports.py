"""Imports point downward only, and what runs at a customer's needs no training framework."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# from the lowest floor up: a room imports what lies below it, never its neighbours on its floor;
# what stands flat in a package are its commands
FLOORS = (
    ("voc_builder.base",),
    ("voc_builder.pixels",),
    ("voc_builder.tree",),
    ("voc_builder.sources",),
    ("voc_builder",),
    ("segtf.run",),
    ("segtf.data", "segtf.networks"),
    ("segtf.inference",),
    ("segtf.scoring",),
    ("segtf.training", "segtf.exporting", "segtf.outputs"),
    ("segtf.reports", "segtf.services"),
    ("segtf",),
    ("scripts",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
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


def all_modules() -> dict[str, Path]:
    """Every module of the three packages by its name."""
    found = {}
    for package in ("voc_builder", "segtf", "scripts"):
        for path in modules(package):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def room_of(module: str) -> str:
    room = ".".join(module.split(".")[:2])
    return room if room in FLOOR else module.partition(".")[0]


def own_imports(path: Path, known: Collection[str]) -> set[str]:
    """Our own modules that a file imports anywhere, also inside functions."""
    names = imported(ast.walk(tree_of(path)))
    return {name if name in known else name.rpartition(".")[0] for name in names} & set(known)


def test_every_folder_is_a_room_of_the_plan() -> None:
    folders = {
        f"{package}.{path.parent.name}"
        for package in ("voc_builder", "segtf")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert folders == {room for room in FLOOR if "." in room}


def test_imports_point_downward_only() -> None:
    known = all_modules()
    upward = {
        (module, other)
        for module, path in known.items()
        for other in own_imports(path, known) - {"voc_builder", "segtf", "scripts"}
        if room_of(other) != room_of(module) and FLOOR[room_of(other)] >= FLOOR[room_of(module)]
    }
    assert upward == set()


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = all_modules()
    order = TopologicalSorter(
        {module: own_imports(path, known) - {module} for module, path in known.items()}
    )
    order.prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("room", [room for room in FLOOR if "." in room])
def test_a_room_says_in_a_sentence_what_it_is_for(room: str) -> None:
    tree = tree_of(ROOT.joinpath(*room.split(".")) / "__init__.py")
    assert len(tree.body) == 1  # it exports nothing by magic
    docstring = ast.get_docstring(tree)
    assert docstring is not None and docstring.endswith(".")


def test_only_two_modules_of_voc_builder_import_tensorflow() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in modules("voc_builder")
        if packages(imported(ast.walk(tree_of(path)))) & {"tensorflow", "keras"}
    }
    assert users <= {"voc_builder/base/tensorflow.py", "voc_builder/tree/tfrecord.py"}


@pytest.mark.parametrize(
    "name",
    [
        "segtf.predict",
        "segtf.serve",
        "segtf.services.http.app",
        "segtf.bot",
        "segtf.services.telegram.conversation",
    ],
)
def test_what_runs_at_a_customers_reaches_no_training_framework(name: str) -> None:
    heavy = {name: packages(found) & HEAVY for name, found in reachable(name).items()}
    assert "voc_builder.pixels.images" in heavy
    assert {name: found for name, found in heavy.items() if found} == {}


def test_prediction_reaches_no_training_configuration() -> None:
    assert "segtf.run.config" not in reachable("segtf.predict")
