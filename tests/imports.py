"""Which of the project's modules a module imports, read from the source, nothing executed."""

import ast
from pathlib import Path

PACKAGE = "stages"


def imported_files(module: str, root: Path) -> set[str]:
    """Paths of a module and of all of ours that it imports, directly or not, in functions too.

    `__init__.py` files are left out: they hold a docstring and nothing else.
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


def _imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == PACKAGE}


def _path_of(module: str, root: Path) -> Path | None:
    path = root / (module.replace(".", "/") + ".py")
    return path if path.is_file() else None
