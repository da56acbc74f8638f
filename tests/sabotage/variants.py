"""Known-bad variants: patches of the real product, each of which breaks one rule of the durability design.

A prover that has never failed anything proves nothing. Each variant is what a tired programmer might write, at most LINES_MAX
lines of it; the simulator must catch every one.
"""

import ast
import inspect
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.sabotage.theatre import Theatre

LINES_MAX = 10
SEEDS_MAX = 200  # of the shipped scenario; a variant that shows in so many is wide

Setter = Callable[[object, str, Any], None]
Scene = Callable[[Theatre], None]


@dataclass(frozen=True, slots=True)
class Variant:
    """Attributes:
    rule: of group-sync.md, the rules under which the design holds; None where it is about what replicas may show.
    scene: the directed scenario that must catch it; None for a wide one, which random seeds must catch.
    also: what else protects, and how the variant gets past it.
    """

    name: str
    rule: int | None
    patch: Callable[[Setter], None]
    scene: Scene | None = None
    also: str = ""

    @property
    def lines(self) -> int:
        """Of the patch, without its first line, what is said about it, and empty ones."""
        source = inspect.getsource(self.patch)
        (function,) = ast.parse(source).body
        assert isinstance(function, ast.FunctionDef)
        first = function.body[1 if ast.get_docstring(function) else 0]
        return sum(1 for line in source.splitlines()[first.lineno - 1 :] if line.strip())


@contextmanager
def sabotaged(variant: Variant | None) -> Generator[None]:
    """The product with a variant's patch, and as it was afterwards."""
    undo: list[tuple[Any, str, Any]] = []

    def put(target: Any, name: str, value: Any) -> None:
        undo.append((target, name, inspect.getattr_static(target, name)))  # what is not there cannot be patched
        setattr(target, name, value)

    try:
        if variant is not None:
            variant.patch(put)
        yield
    finally:
        for target, name, value in reversed(undo):
            setattr(target, name, value)
