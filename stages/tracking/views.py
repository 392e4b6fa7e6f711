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
MOST_COLUMNS = 12  # of settings, and of metrics
KIND, MACHINE_LEARNING = "mlflow.experimentKind", "custom_model_development"  # opens on the runs
ALL_MODELS = f"metrics.`test.accuracy` >= 0 AND tags.`{tags.EXPERIMENT}` IS NULL"
MEASURES = ("train.accuracy", "validation.accuracy", "test.accuracy", "test.log_loss")
SETTINGS = (
    *("data.classes", "data.limit_per_class", "baseline.ridge", "cnn.recipe"),
    *("cnn.default.epochs", "cnn.default.learning_rate"),
    *("mobilenet.epochs", "mobilenet.learning_rate", "mobilenet.input_size"),
)
DESCRIPTION = """\
Runs of a DVC pipeline. There are two kinds:

- **Summary runs** (tag `dvc.summary`), one for each branch, tag, DVC experiment and the workspace:
  all settings and the headline metrics in a row. Compare these: *Views*, **Experiments**.
- **Runs of stages** (tag `stage`), one for each computation: curves, pictures, tables, models.
  *Views*, **The three models**, has the models side by side.

`make sync` makes what is missing; `make ui` prints links to both.
"""


def save(models: Sequence[str] | None = None, summaries: Sequence[Run] | None = None) -> None:
    """Give the experiment its views and its description.

    Args:
        models: ids of the runs that made the models of the workspace. Where people share a server
            each has a workspace: there, as without any, all runs that made models are shown.
        summaries: the summary runs; settings in which they differ get columns.
            Without one of these, its view is made only if there is none.
    """
    experiment = store.client().get_experiment(store.experiment_id())
    tag = {tags.NOTE: experiment.tags.get(tags.NOTE, DESCRIPTION), KIND: MACHINE_LEARNING}
    if (3, 15) <= store.VERSION < (4, 0):
        if models is not None or TAG + MODELS not in experiment.tags:
            these = models and not environment.URI_OF_USER
            tag[TAG + MODELS] = _view(
                "The three models",
                experiment.creation_time,
                f"attributes.run_id IN ({str(models)[1:-1]})" if these else ALL_MODELS,
                "tags.`mlflow.runName`" if these else "attributes.start_time",
                [*_columns("metrics", MEASURES), *_columns("params", SETTINGS)],
            )
        if summaries is not None or TAG + EXPERIMENTS not in experiment.tags:
            metrics = [name for run in (summaries or ())[-1:] for name in run.data.metrics]
            tag[TAG + EXPERIMENTS] = _view(
                "Experiments",
                experiment.creation_time,
                f"tags.`{tags.SUMMARY}` IS NOT NULL",
                "tags.`mlflow.runName`",
                [*_columns("params", _differing(summaries or ())), *_columns("metrics", metrics)],
            )
    for key, value in tag.items():
        if experiment.tags.get(key) != value:
            store.client().set_experiment_tag(experiment.experiment_id, key, value)


def links(address: str, models: Sequence[str], registered: Sequence[str]) -> dict[str, str]:
    """Addresses of the pages to open, by what they show.

    Args:
        address: of the server.
        models: ids of the runs to compare.
        registered: names of registered models.
    """
    experiment = store.experiment_id()
    compared = {"runs": json.dumps(list(models)), "experiments": json.dumps([experiment])}
    found = {}
    if models:
        page = f"{address}/#/compare-runs?{urllib.parse.urlencode(compared)}"
        found["the models side by side"] = page
    page = f"{address}/#/experiments/{experiment}/runs?viewStateShareKey={EXPERIMENTS}"
    found["the experiments"] = page
    for name in registered:
        found[f"the registered model {name}"] = f"{address}/#/models/{urllib.parse.quote(name)}"
    return found


def _view(name: str, created: int | None, runs: str, order: str, columns: list[str]) -> str:
    state = {
        "searchFilter": runs,
        "orderByKey": order,
        "orderByAsc": "name" in order.lower(),
        "selectedColumns": columns,
        "columnOrder": columns,
    }
    return json.dumps({"name": name, "createdAt": created, "state": json.dumps(state)})


def _columns(kind: str, names: Iterable[str]) -> list[str]:
    return [f"{kind}.`{name}`" for name in names][:MOST_COLUMNS]


def _differing(summaries: Sequence[Run]) -> list[str]:
    """Settings of which the summaries have several values."""
    values: dict[str, set[str]] = defaultdict(set)
    for run in summaries:
        for name, value in run.data.params.items():
            values[name].add(value)
    return [name for name, found in values.items() if len(found) > 1]
