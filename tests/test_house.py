"""The house stays in order: arrows, doors, sizes, words at the head of each file."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import actors
import durable_rooms
import replication

ROOT = Path(__file__).parent.parent
PACKAGES = ("actors", "replication", "durable_rooms")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
DOORS = {f"actors/system/{name}.py" for name in ("doors", "disk", "libc", "threads", "yielding")}
BEHIND_DOORS = {"time", "random", "secrets", "threading", "fcntl", "resource", "ctypes", "shutil", "subprocess", "socket"}
LINES_MAX, FUNCTION_LINES_MAX, FOLDER_MODULES_MAX = 400, 70, 30


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    return relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: Path) -> set[str]:
    """What a module imports when it is imported, or names for the type checker alone, as dotted names."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    nested = [inner for node in tree.body if isinstance(node, ast.If) for inner in node.body]
    for node in [*tree.body, *nested]:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{relative(path)} begins without a word"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_and_functions_fit_a_screen_or_two(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{relative(path)}: {node.name} is too long"


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=relative)
def test_a_folder_can_be_taken_in_at_a_glance(folder: Path) -> None:
    assert sum(path.parent == folder for path in MODULES) <= FOLDER_MODULES_MAX


def test_no_package_imports_upward() -> None:
    for path in MODULES:
        above = PACKAGES[PACKAGES.index(relative(path).split("/")[0]) + 1 :]
        wrong = [name for name in imports(path) if name.split(".")[0] in above]
        assert not wrong, f"{relative(path)} imports {wrong}"


def test_no_imports_in_a_circle() -> None:
    known = {dotted(path) for path in MODULES}
    graph = {dotted(path): {name for name in imports(path) if name in known and name != dotted(path)} for path in MODULES}
    for package in PACKAGES:  # a package's __init__ collects its modules; nobody inside imports from it
        graph[package] = set()
    TopologicalSorter(graph).prepare()


def test_actors_and_replication_leave_the_process_only_through_the_doors() -> None:
    for path in MODULES:
        if relative(path).startswith(("actors/", "replication/")) and relative(path) not in DOORS:
            wrong = {name.split(".")[0] for name in imports(path)} & BEHIND_DOORS
            wrong -= {"random"} if "from random import Random" in path.read_text() else set()
            assert not wrong, f"{relative(path)} imports {wrong}: use actors.system.doors"


@pytest.mark.parametrize("package", [actors, durable_rooms, replication], ids=lambda package: package.__name__)
def test_what_a_package_offers_is_complete(package: object) -> None:
    names = getattr(package, "__all__")  # noqa: B009 - a module has no declared attributes here
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(package, name)


def test_every_error_is_offered_at_the_front_door() -> None:
    errors = {
        name for name, value in vars(actors.errors).items() if isinstance(value, type) and issubclass(value, actors.RoomsError)
    }
    assert errors <= set(durable_rooms.__all__)


def test_the_error_tree_in_words_is_the_tree_in_code() -> None:
    text = actors.errors.__doc__ or ""
    for name, value in vars(actors.errors).items():
        if isinstance(value, type) and issubclass(value, actors.RoomsError):
            assert name in text, f"{name} is missing from the drawing in actors/errors.py"
