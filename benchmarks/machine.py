"""On which machine and at which revision a benchmark was run."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from stages.data.files import write_json

CPUS = Path("/proc/cpuinfo")  # of Linux; elsewhere Python knows the name


def measured_on(folder: Path = Path()) -> dict[str, Any]:
    """`machine` (processor, kind, cores), and `revision` of a folder, with -dirty if changed.

    To be called before anything is measured: commits may follow meanwhile.
    """
    named = re.search(r"model name\s*: (.+)", CPUS.read_text()) if CPUS.exists() else None
    processor = named[1] if named else platform.processor()
    machine = {"machine": platform.machine(), "cores": os.cpu_count()}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    revision = subprocess.check_output(command, cwd=folder, text=True).strip()
    return {"machine": {"processor": processor, **machine}, "revision": revision}


def write_benchmark(path: Path, content: dict[str, Any], **tables: dict[str, Any]) -> None:
    """Write what was measured, and how it is shown: `make readme` puts the tables into pages.

    Args:
        path: of the file, JSON.
        content: what was measured, with where.
        tables: by name, the caption (text), header (texts) and rows (of texts) of each; `words` are
            the numbers of the columns that hold no numbers, but for the first.
    """
    write_json(path, {**content, "tables": tables})
    print(path.read_text(encoding="utf-8"), end="")
