"""The champion is asked for: who is registered, who gets the alias; nothing else moves it."""

from typing import Any

import mlflow
import pytest
from mlflow.entities.model_registry import ModelVersion

from stages.results.promotion import registered_name
from tests.pipeline.conftest import Project
from tests.pipeline.tiny import MODEL

NAME = "automobile-or-truck"


def client_of(project: Project) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{project.folder / 'mlflow.db'}")


def versions(project: Project) -> list[ModelVersion]:
    client = client_of(project)
    found = client.search_model_versions(f"name = '{NAME}'")
    return sorted(
        (client.get_model_version(NAME, each.version) for each in found),
        key=lambda each: int(each.version),
    )


def champion(project: Project) -> int | None:
    """Number of the version that has the alias."""
    found = [int(each.version) for each in versions(project) if each.aliases == ["champion"]]
    return found[0] if found else None


def retrain(project: Project, *settings: str, on_new_data: bool = False) -> None:
    """What `dvc repro` does after a change of params, sooner; the pictures stay as they are."""
    project.set_params(*settings)
    for stage in ("prepare",) * on_new_data + ("train_baseline", "evaluate"):
        project.python("steps.py", stage)
    project.run("dvc", "commit", "--force", "--quiet")


def propose(project: Project, *arguments: str, **environment: str) -> Any:
    command = ("-m", "stages", "champion", *arguments)
    return project.python(*command, check=False, **environment)


def accepted(project: Project, *arguments: str) -> str:
    finished = propose(project, *arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return str(finished.stdout)


def refused(project: Project, *arguments: str) -> str:
    finished = propose(project, *arguments)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    return str(finished.stdout)


def test_the_first_model_that_keeps_to_the_gate_is_the_champion_and_its_page_says_why(
    tiny: Project,
) -> None:
    said = accepted(tiny)  # on an empty store: its run and its model are made first
    assert said == (
        f"{NAME} version 1: The least-squares baseline, the best in the workspace by "
        "validation.accuracy, test accuracy 1.0000\n"
        "CHAMPION: there was none, and it keeps to `gate`\n"
    )
    (version,) = versions(tiny)
    md5 = tiny.locked()["train_baseline"]["outs"][0]["md5"]
    commit = tiny.run("git", "rev-parse", "HEAD").stdout.strip()
    assert version.aliases == ["champion"]
    assert version.tags["md5"] == md5
    assert version.tags["git.commit"] == commit
    for told in (commit, md5, said.splitlines()[1]):
        assert told in version.description
    shown = tiny.python("-m", "stages", "lineage", MODEL).stdout
    assert f"registered: {NAME} 1 (champion); CHAMPION: there was none" in shown
    models = mlflow.pyfunc.load_model  # the address that users load from
    mlflow.set_tracking_uri(f"sqlite:///{tiny.folder / 'mlflow.db'}")
    assert models(f"models:/{NAME}@champion").metadata.get_model_info()

    assert accepted(tiny).endswith("CHAMPION already\n")
    (version,) = versions(tiny)
    assert "CHAMPION: there was none" in version.description


def test_the_name_of_many_classes_fits_into_the_tables_of_mlflow() -> None:
    assert registered_name(["truck", "automobile"]) == NAME
    breeds = [f"a dog of breed {number}" for number in range(40)]
    assert len(registered_name(breeds)) == 200
    assert registered_name(breeds) == registered_name(breeds[::-1])
    assert registered_name(breeds) != registered_name(breeds[:-1])


def test_a_model_below_a_floor_is_registered_without_the_alias_and_says_why(tiny: Project) -> None:
    retrain(tiny, "baseline.mistakes=20")
    tiny.set_params("gate.floors.baseline.accuracy=0.6", "gate.ceilings.baseline.brier=0.3")
    said = refused(tiny)
    (version,) = versions(tiny)
    assert version.aliases == []
    for told in (
        "REFUSED, as `gate` in params.yaml asks for more: ",
        "baseline: accuracy is 0.5, at least 0.6 is asked",
        "baseline: brier is 0.5, at most 0.3 is asked",
    ):
        assert told in said
        assert told in version.tags["verdict"]
    tiny.set_params("gate.floors.baseline.accuracy=0.5", "gate.ceilings.baseline.brier=0.5")
    assert "CHAMPION: there was none" in accepted(tiny)  # another gate runs no stage again


def test_a_better_model_takes_the_place_and_a_worse_one_does_not(tiny: Project) -> None:
    tiny.run("git", "checkout", "--quiet", "-b", "good")
    tiny.run("git", "checkout", "--quiet", "main")
    retrain(tiny, "baseline.mistakes=20")
    tiny.commit("a bad model")
    assert "there was none" in accepted(tiny)

    said = accepted(tiny, "good")
    assert "version 2: The least-squares baseline, the best at good by" in said
    assert "CHAMPION: The least-squares baseline is better than the champion, version 1" in said
    assert "on the same 40 test images; exact McNemar p" in said
    assert champion(tiny) == 2

    for arguments in ((), ("--accept-equal",)):
        said = refused(tiny, *arguments)
        assert "REFUSED, version 2 stays the champion: The least-squares baseline is worse" in said
        assert "registry.margin allows −0.0300, so --accept-equal is of no use" in said
        assert champion(tiny) == 2


def test_small_steps_down_do_not_add_up(tiny: Project) -> None:
    accepted(tiny)
    retrain(tiny, "baseline.mistakes=1")  # 0.975; never committed: MLflow has the predictions
    said = refused(tiny)
    assert "There is no evidence of a difference between the least-squares baseline and the" in said
    assert "(version 1, 1.0000) it has −0.0250; registry.margin allows −0.0300, so" in said
    assert "--accept-equal moves the alias to it" in said
    assert champion(tiny) == 1
    assert "CHAMPION, as an equal one is accepted: " in accepted(tiny, "--accept-equal")
    assert champion(tiny) == 2

    retrain(tiny, "baseline.mistakes=2")  # 0.95: as near to version 2 as that was to version 1
    said = refused(tiny, "--accept-equal")
    assert "no evidence of a difference" in said
    assert "Beside the best champion so far (version 1, 1.0000) it has −0.0500" in said
    assert "so --accept-equal is of no use" in said
    assert champion(tiny) == 2
    # A champion from before champions were noted counts by its predictions.
    for version in versions(tiny):
        for key in version.tags:
            if key.startswith("champion_on."):
                client_of(tiny).delete_model_version_tag(NAME, version.version, key)
    assert "(version 2, 0.9750) it has −0.0250" in refused(tiny)


def test_on_other_test_images_the_gate_alone_decides(tiny: Project) -> None:
    accepted(tiny)
    retrain(tiny, "data.seed=1", "baseline.mistakes=8", on_new_data=True)
    why = "no champion was measured on these test images, so `gate` alone decides"
    assert f"CHAMPION: {why}" in accepted(tiny)
    # Back on the first images, the champion that was is not forgotten.
    retrain(tiny, "data.seed=0", "baseline.mistakes=4", on_new_data=True)
    said = refused(tiny, "--accept-equal")
    assert "Nothing tells how the champion, version 2, predicts these test images" in said
    assert "(version 1, 1.0000) it has −0.1000" in said
    # Other classes are another question, with a champion of its own.
    steps = tiny.folder / "steps.py"
    steps.write_text(steps.read_text().replace('"automobile", "truck"', '"dog", "cat"'))
    retrain(tiny)
    assert accepted(tiny).startswith("cat-or-dog version 1: ")


def test_a_quick_trial_on_an_empty_registry_is_no_champion(tiny: Project) -> None:
    retrain(tiny, "data.limit_per_class=20")
    said = refused(tiny)
    assert "with data.limit_per_class = 20 they are those of a quick trial" in said
    assert versions(tiny) == []


def test_results_that_do_not_belong_to_the_settings_are_not_proposed(tiny: Project) -> None:
    tiny.set_params("baseline.ridge=5")
    said = refused(tiny)
    assert said.startswith("REFUSED, and nothing was registered: the results in the workspace do")
    assert "(train_baseline, evaluate, draw); `python -m stages stale workspace` tells why" in said
    assert versions(tiny) == []
    assert champion(tiny) is None
    assert "there was none" in accepted(tiny, "main")  # what is committed belongs together


def test_nothing_else_registers_a_model_or_moves_the_alias(tiny: Project) -> None:
    # As `make seeds` does.
    command = ("dvc", "exp", "run", "--temp", "--name", "seed-0", "-S", "baseline.ridge=7")
    tiny.run(*command, "evaluate")
    tiny.python("-m", "stages", "sync")
    assert sum(run.data.tags.get("stage") == "evaluate" for run in tiny.runs()) == 2
    assert list(client_of(tiny).search_registered_models()) == []

    accepted(tiny, "seed-0")
    retrain(tiny, "baseline.ridge=9", "baseline.mistakes=1")
    tiny.python("-m", "stages", "sync")
    assert [each.aliases for each in versions(tiny)] == [["champion"]]
    (version,) = versions(tiny)
    assert version.tags["dvc.exp_name"] == "seed-0"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("nowhere",), "ERROR: nowhere: is no revision"),
        (("--equal",), "unrecognized arguments: --equal"),
    ],
)
def test_a_mistake_is_one_line(tiny: Project, arguments: tuple[str, ...], what: str) -> None:
    finished = propose(tiny, *arguments)
    assert finished.returncode == 2
    assert what in finished.stderr.splitlines()[-1]


def test_a_server_that_is_away_is_one_line(tiny: Project) -> None:
    finished = propose(tiny, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert finished.returncode == 2
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("ERROR: MLflow at http://127.0.0.1:9 failed")


def test_a_model_that_is_nowhere_is_named(tiny: Project) -> None:
    (tiny.folder / MODEL).unlink()
    cache = tiny.folder / "empty"  # not that of the other tests
    tiny.run("dvc", "cache", "dir", "--local", str(cache))
    finished = propose(tiny)
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"ERROR: {MODEL}: neither MLflow nor this machine has this content; ")
    assert list(client_of(tiny).search_registered_models()) == []


def test_rules_that_are_wrong_are_named(tiny: Project) -> None:
    tiny.set_params("registry.margin=2")
    finished = propose(tiny)
    assert finished.returncode == 2
    assert "params.yaml: registry.margin: 2 is not allowed; allowed: a number" in finished.stderr
