"""Search the params of a model by trials that learn from each other (docs/scale.md).

What is tried stands in sweep.yaml. Optuna proposes; each trial is a DVC experiment that runs the
stage of the model and what that needs, so that no test image is looked at. One that was interrupted
is taken up by the same command. With --ray the trials run on the machines of a Ray cluster.
"""

import argparse
import os
import signal
from contextlib import closing
from pathlib import Path

from stages.data.errors import UserError

STORAGE = "SWEEP_STORAGE"  # environment variable: a database that several machines can see


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file", nargs="?", default="sweep.yaml", help="what is tried (default: sweep.yaml)"
    )
    parser.add_argument(
        "--ray", type=int, metavar="N", help="run N trials at once on a Ray cluster (RAY_ADDRESS)"
    )
    parser.add_argument(
        "--best", action="store_true", help="write the best trial's values into params.yaml instead"
    )


def run(options: argparse.Namespace) -> None:
    """Search, or take over what was found.

    Raises:
        UserError: the file is wrong, its study is of something else, or the first trials all fail.
    """
    from stages.workflow.params import read_params
    from stages.workflow.pipeline import PARAMS_FILE
    from stages.workflow.runners import Here, OnRay
    from stages.workflow.sweeps import read_sweep, write_params
    from stages.workflow.trials import wait_for_workspace

    # What a script starts in the background ignores it, and so would trials that are to be ended.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.ray is not None and options.ray < 1:
        raise UserError(f"--ray {options.ray}: at least 1 trial at once is needed")
    wait_for_workspace(Path.cwd())
    read_params()
    sweep = read_sweep(options.file)
    try:
        from stages.tracking.search import PARAMS, Search
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise UserError("Optuna is not installed; `make scale` installs it") from None
    search = Search(sweep, os.environ.get(STORAGE, ""))
    if options.best:
        write_params(Path(PARAMS_FILE), search.best().user_attrs[PARAMS])
    else:
        with closing(OnRay(options.ray, sweep.stage) if options.ray else Here()) as runner:
            search.run(runner)
    best = search.best()
    print(f"best of {len(search.study.trials)} trials: {sweep.name}-{best.number}")
    print(f"  {sweep.goal} {best.value:.4f}")
    for key, text in best.user_attrs[PARAMS].items():
        print(f"  {key}: {text}")
    print("these are in params.yaml; now `dvc repro`" if options.best else "`make best` takes them")
