"""Two people with one MLflow server, on PostgreSQL, which hands out the artifacts itself."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow

from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST, mlflow_server
from tests.pipeline.postgres import postgres

MakeClone = Callable[[str], Project]


def both(projects: list[Project], run: Any, *command: str, **environment: str) -> list[str]:
    """What a command says in two projects at the same time."""

    def said(project: Project) -> str:
        return str(run(project, *command, LOGNAME=project.folder.name, **environment).stdout)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(said, projects))


def test_two_people_see_each_others_runs_and_do_not_collide(
    tiny_named: MakeClone, tmp_path: Path
) -> None:
    people = [tiny_named("ada"), tiny_named("bob")]
    with postgres() as database, mlflow_server(tmp_path / "server", database) as port:
        uri = f"http://{HOST}:{port}"
        at_server = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
        # Each computes something of their own and takes the rest from files, at the same time.
        for project, ridge in zip(people, (21, 22), strict=True):
            project.set_params(f"baseline.ridge={ridge}")
        both(people, Project.run, "dvc", "repro", "train_baseline", **at_server)
        both(people, Project.python, "-m", "stages", "sync", **at_server)

        client = mlflow.MlflowClient(uri)
        experiment = client.get_experiment_by_name("car-or-truck")
        runs = list(client.search_runs([experiment.experiment_id]))
        of_stages = [run for run in runs if "stage" in run.data.tags]
        records = Counter(run.data.tags["dvc.record"] for run in of_stages)
        assert set(records.values()) == {1}, "a computation has two runs"
        summaries = Counter(run.data.tags["revision"] for run in runs if run not in of_stages)
        assert summaries == {"main": 1, "workspace": 2}  # one branch, two workspaces
        computed = {
            run.data.tags["mlflow.user"]: run
            for run in of_stages
            if run.data.tags["stage"] == "train_baseline" and "made_from" not in run.data.tags
        }
        assert set(computed) == {"ada", "bob"}
        # Each finds the other's run, and can fetch what the server keeps for it.
        for project, other in zip(people, ("bob", "ada"), strict=True):
            run_id = computed[other].info.run_id
            shown = project.python(*("-m", "stages", "lineage", run_id), **at_server).stdout
            assert run_id in shown
            figures = client.download_artifacts(run_id, "figures", str(project.folder))
            assert (Path(figures) / "weights.png").exists()
        for project in people:  # what was made twice is gone: summaries lead to the other ones
            project.python("-m", "stages", "sync", **at_server)
        said = both(people, Project.python, "-m", "stages", "sync", **at_server)
        assert all("nothing to do" in each for each in said), said
        shown = people[0].python("-m", "stages", "ui", **at_server).stdout
        assert f"the experiments: {uri}/#/experiments/{experiment.experiment_id}/runs?view" in shown
        assert f"side by side: {uri}/#/compare-runs?runs=" in shown
