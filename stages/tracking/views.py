"""What MLflow's pages open on: named views of the experiment's runs, its description, the links.

MLflow 3.15 and later keep a view as a tag of the experiment, `mlflow.sharedViewState.ID`: JSON with
a name, a time and the state of the table (filter, order, columns) as JSON again, which the page
lays over its defaults (savedViewEnvelope.ts, ExperimentPageUIState.tsx in MLflow's source). It is
no documented format, so another major version gets no views.
"""

import json
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Sequence

from stages.tracking import environment, store, tags
from stages.tracking.store import Run

TAG = "mlflow.sharedViewState."
MODELS, EXPERIMENTS = "three-models", "experiments"
KIND, MACHINE_LEARNING = "mlflow.experimentKind", "custom_model_development"  # opens on the runs
NEWEST_FIRST, BY_NAME = "attributes.start_time", "tags.`mlflow.runName`"
MOST_COLUMNS = 12  # of settings, and of metrics
MEASURES = ("train.accuracy", "validation.accuracy", "test.accuracy", "test.log_loss")
SETTINGS = (
    *("data.classes", "data.limit_per_class", "baseline.ridge", "cnn.recipe"),
    *("cnn.default.epochs", "cnn.default.learning_rate"),
    *("mobilenet.epochs", "mobilenet.learning_rate", "mobilenet.input_size"),
)
ALL_MODELS = f"metrics.`test.accuracy` >= 0 AND tags.`{tags.EXPERIMENT}` IS NULL"
DESCRIPTION = """\
To compare, open *Views* above.

There are two kinds of runs:

- **Summary runs** (tag `dvc.summary`), one for each branch, tag, DVC experiment and the workspace:
  all settings and the headline metrics in one row.
- **Runs of stages** (tag `stage`), one for each computation of a stage of the DVC pipeline: curves,
  pictures, tables, models.

`sync` makes what is missing; `ui` also prints links.
"""


def save(
    models: Sequence[str] | None = None,
    summaries: Sequence[Run] | None = None,
    *,
    is_ours: bool = True,
) -> None:
    """Give the experiment its views and its description.

    Args:
        models: ids of the runs that made the models of the workspace. Where people share a server
            each has a workspace: there, as without any, all runs that made models are shown.
        summaries: the summary runs; settings in which they differ get columns.
            Without one of these, its view is made only if there is none.
        is_ours: whether it is this project, whose models have a view.
    """
    experiment = store.client().get_experiment(store.experiment_id())
    wanted = {tags.NOTE: experiment.tags.get(tags.NOTE, DESCRIPTION), KIND: MACHINE_LEARNING}

    def view(key: str, name: str, runs: str, order: str, columns: list[str]) -> None:
        state = {
            "searchFilter": runs,
            "orderByKey": order,
            "orderByAsc": order != NEWEST_FIRST,
            "selectedColumns": columns,
            "columnOrder": columns,
        }
        shown = {"name": name, "createdAt": experiment.creation_time, "state": json.dumps(state)}
        wanted[TAG + key] = json.dumps(shown)

    if is_ours and (models is not None or TAG + MODELS not in experiment.tags):
        are_mine = models and not environment.URI_OF_USER
        runs = f"attributes.run_id IN ({str(models)[1:-1]})" if are_mine else ALL_MODELS
        columns = [*_columns("metrics", MEASURES), *_columns("params", SETTINGS)]
        view(MODELS, "The three models", runs, NEWEST_FIRST, columns)
    if summaries is not None or TAG + EXPERIMENTS not in experiment.tags:
        settings = _differing(summaries or ())
        # Of the newest that has any: a workspace whose pipeline was stopped half-way has none.
        measured = [run.data.metrics for run in summaries or () if run.data.metrics]
        metrics = measured[-1] if measured else ()
        columns = [*_columns("params", settings), *_columns("metrics", metrics)]
        runs = f"tags.`{tags.SUMMARY}` IS NOT NULL"
        view(EXPERIMENTS, "Experiments", runs, BY_NAME, columns)
    for key, value in wanted.items():
        is_known = store.MAJOR_VERSION == 3 or not key.startswith(TAG)
        if is_known and experiment.tags.get(key) != value:
            store.client().set_experiment_tag(experiment.experiment_id, key, value)


def links(
    address: str, models: Sequence[str], registered: Sequence[str], *, is_ours: bool = True
) -> dict[str, str]:
    """Addresses of the pages to open, by what they show.

    Args:
        address: of the server.
        models: ids of the runs to compare; none if empty.
        registered: names of registered models.
        is_ours: as for `save`.
    """
    experiment, kind = store.experiment_id(), {"workflowType": "machine_learning"}
    table = f"experiments/{experiment}/runs"
    pages = {"the experiments": (table, {"viewStateShareKey": EXPERIMENTS} | kind)}
    if is_ours:
        pages = {"the three models": (table, {"viewStateShareKey": MODELS} | kind)} | pages
    if models:
        runs = {"runs": json.dumps(list(models)), "experiments": json.dumps([experiment])}
        pages["all about the models, side by side"] = ("compare-runs", runs | kind)
    for name in registered:
        pages[f"the registered model {name}"] = (f"models/{urllib.parse.quote(name)}", kind)
    return {
        what: f"{address}/#/{page}?{urllib.parse.urlencode(query)}"
        for what, (page, query) in pages.items()
    }


def run_link(address: str, run: Run) -> str:
    """Address of a run's page, of MLflow's pages at an address."""
    return f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def _columns(kind: str, names: Iterable[str]) -> list[str]:
    return [f"{kind}.`{name}`" for name in names][:MOST_COLUMNS]


def _differing(summaries: Sequence[Run]) -> list[str]:
    """Settings of which the summaries have several values."""
    values: dict[str, set[str]] = defaultdict(set)
    for run in summaries:
        for name, value in run.data.params.items():
            values[name].add(value)
    return [name for name, found in values.items() if len(found) > 1]
