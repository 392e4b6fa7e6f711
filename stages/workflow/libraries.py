"""The numeric libraries: their versions change results, so they are params of the stages.

`libraries.yaml` names them; `make lock` writes it from the lock file.
"""

import importlib.metadata

from stages.data.errors import UserError
from stages.workflow.revisions import workspace

LIBRARIES_FILE = "libraries.yaml"


def check_libraries(stage: str) -> None:
    """Check that the libraries which a stage computes with are those that DVC records.

    Raises:
        UserError: another version is installed, or dvc.yaml has no such stage.
    """
    for name, version in workspace().pipeline.stage(stage).params.items():
        file, _, library = name.partition(":")
        if file == LIBRARIES_FILE:
            installed = importlib.metadata.version(library)
            if installed != version:
                raise UserError(
                    f"{LIBRARIES_FILE}: {library}: {version} is recorded, and {installed} is "
                    "installed; run `make setup`, or `make lock` to record another"
                )
