"""What a module imports, read from the source, nothing executed."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "stages"


def imported_files(module: str, root: Path) -> set[str]:
    """Paths of a module and of all of ours that it imports, directly or not, in functions too.

    `__init__.py` files are left out, as they hold a docstring and nothing else; so is what only the
    type checker imports.
    """
    found: set[str] = set()
    waiting = [_path_of(module, root)]
    while waiting:
        path = waiting.pop()
        if path is None or str(path.relative_to(root)) in found:
            continue
        found.add(str(path.relative_to(root)))
        waiting += [_path_of(name, root) for name in _imports_of(path)]
    return found


def imported_packages(paths: set[str], root: Path) -> set[str]:
    """The top-level packages that these files import."""
    return {name.split(".")[0] for path in paths for name in _imports_of(root / path)}


def _imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in _executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those below `if TYPE_CHECKING`."""
    yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        skipped = node.body if node.test.id == "TYPE_CHECKING" else []
    else:
        skipped = []
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _executed(child)


def _path_of(module: str, root: Path) -> Path | None:
    path = root / (module.replace(".", "/") + ".py")
    return path if module.split(".", maxsplit=1)[0] == PACKAGE and path.is_file() else None
