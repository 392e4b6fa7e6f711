"""Run a stage of the pipeline, or a command for people.

    python -m stages train_cnn          what DVC calls; `make repro` runs what is out of date
    python -m stages compare --help     what a command does, and its options

Settings are in params.yaml. Mistakes are one line each, with exit code 2.
"""

import argparse
import ast
import codecs
import importlib
import inspect
import io
import os
import sys
import warnings
from pathlib import Path

from stages.data.errors import UserError
from stages.workflow import settings

EXIT_USER_ERROR = 2  # the same code that argparse uses for a wrong option
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
FOLDER = Path(__file__).parent
# In the order of the pipeline, and of a day's work.
STAGES = (
    *("fetch_cifar10", "prepare", "train_baseline", "train_cnn", "fetch_mobilenet"),
    *("finetune_mobilenet", "audit_labels", "evaluate", "draw"),
)
COMMANDS = (
    *("params", "results", "compare", "champion", "stale", "sync", "runs", "lineage", "ui"),
    *("predict", "serve", "demo", "export", "report", "seeds", "sweep", "plots_page"),
)
# What a terminal's encoding may lack of what is printed.
PLAIN = {"–": "-", "−": "-", "→": "->", "…": "..."}
PUT_ASIDE = settings.put_aside()  # now: what is imported from here on reads them


def main(arguments: list[str]) -> None:
    """Run what the command line names."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")
    # DVC and what it runs are those of this environment, activated or not.
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(places)
    name = next((each for each in arguments if not each.startswith("-")), "")
    options = _parser(name).parse_args(arguments)
    try:
        if name in STAGES:
            run_stage(name)
        else:
            importlib.import_module(f"stages.commands.{name}").run(options)
    except UserError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("stages"):
            raise
        print(
            f"ERROR: {sys.executable} has no {error.name}, so it is not the project's environment; "
            "`source .venv/bin/activate`, or use make, which does it for you",
            file=sys.stderr,
        )
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print("interrupted: nothing half-written is left; run it again", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def run_stage(name: str) -> None:
    """Run a stage, and watch it: params are checked before, tracking goes on around it.

    Raises:
        UserError: params.yaml, the packages that are installed, or the stage's files are wrong.
    """
    from stages.tracking.run import track_stage
    from stages.workflow.libraries import check_libraries
    from stages.workflow.params import read_params

    params = read_params()
    check_libraries(name)
    if warning := params.warning_of(name):
        print(f"WARNING: {name}: {warning}", file=sys.stderr)
        warnings.filterwarnings("ignore", module="sklearn")  # says it in its own words
    if PUT_ASIDE:
        what = ", ".join(PUT_ASIDE)
        print(f"WARNING: {name}: not heeded, as they could change results: {what}", file=sys.stderr)
    stage = importlib.import_module(f"stages.{name}")
    with track_stage(name) as tracker:
        stage.main(params, tracker.log_epoch)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """What is printed instead of characters that the terminal's encoding does not have."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(each, "?") for each in missing), error.end


def _parser(name: str) -> argparse.ArgumentParser:
    """A parser that knows all names, and the options of one."""
    parser = argparse.ArgumentParser(
        prog="python -m stages",
        description=__doc__,
        epilog="\n".join([*_listed("stages", STAGES), "", *_listed("commands", COMMANDS)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parsers = parser.add_subparsers(metavar="NAME", required=True, help=argparse.SUPPRESS)
    for each in (*STAGES, *COMMANDS):
        own = parsers.add_parser(
            each,
            description=_documentation(each),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if each == name and each in COMMANDS:
            importlib.import_module(f"stages.commands.{each}").add_arguments(own)
    return parser


def _listed(title: str, names: tuple[str, ...]) -> list[str]:
    lines = (_documentation(name).partition("\n")[0] for name in names)
    return [f"{title}:", *(f"  {name:<19}{line}" for name, line in zip(names, lines, strict=True))]


def _documentation(name: str) -> str:
    """The docstring of a module, without importing it: some import TensorFlow."""
    folder = FOLDER if name in STAGES else FOLDER / "commands"
    source = (folder / f"{name}.py").read_text(encoding="utf-8")
    return inspect.cleandoc(ast.get_docstring(ast.parse(source)) or "")


if __name__ == "__main__":
    main(sys.argv[1:])
