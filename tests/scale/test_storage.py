"""A team's server: MLflow on PostgreSQL, artifacts and DVC's data in a storage that speaks S3.

compose.yaml names images, which are not started here; its commands are, as processes.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import psycopg
import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST, mlflow_server
from tests.pipeline.postgres import postgres
from tests.pipeline.tiny import MODEL, copy_of
from tests.raw_files import ROOT
from tests.scale.s3 import USER, Storage, s3_server

SERVICES = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())["services"]
SETTING = re.compile(r"\$\{(\w+):\?[^}]+\}")
BUCKET = "team"
PASSWORD = "p@ss/word:1"  # noqa: S105  # its signs would break an address
SYNC = ("-m", "stages", "sync")
PICTURE = "figures/weights.png"
NOWHERE = f"http://{HOST}:9"  # the port of `discard`, where nobody listens
# Of the machine there are no keys; a storage that is away is not tried for long.
OURS = {"HOME": "/nowhere", "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1"}


@dataclass(frozen=True)
class Team:
    """Storage and server, and two people: Ada computes and pushes, Bob clones and pulls."""

    storage: Storage
    uri: str
    ada: Project
    bob: Project

    def run(self, project: Project, *command: str, **environment: str) -> Any:
        """Run a program, or `-m MODULE`, whatever comes of it; it must not tell the keys."""
        run = project.python if command[0] == "-m" else project.run
        finished = run(*command, check=False, **OURS, **environment)
        for key in self.storage.keys.values():
            assert key not in finished.stdout + finished.stderr
        return finished

    def at_server(self, experiment: str = "car-or-truck") -> dict[str, str]:
        """The environment of whoever knows where the server is, and has no keys."""
        return {"MLFLOW_TRACKING_URI": self.uri, "MLFLOW_EXPERIMENT_NAME": experiment}


def of_compose(name: str, here: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a service, with settings and addresses of here.

    Args:
        name: of the service.
        here: what to write for a setting, and for an address as it stands in compose.yaml.
    """

    def said(text: str) -> str:
        text = SETTING.sub(lambda found: here[found[1]], text)
        for there, address in here.items():
            text = text.replace(there, address)
        return text

    service = SERVICES[name]
    environment = {key: said(value) for key, value in service["environment"].items()}
    return [said(part) for part in service["command"]], environment


@pytest.fixture(scope="module")
def team(tiny_origin: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    with s3_server() as storage, postgres(PASSWORD) as database:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(database)
        here = {
            "POSTGRES_PASSWORD": PASSWORD,
            "S3_ACCESS_KEY": storage.key,
            "S3_SECRET_KEY": storage.secret,
            "http://storage:8333": storage.url,
            "mlflow@postgres/mlflow": database.partition("//")[2],
        }
        (_, *code), environment = of_compose("bucket", here)
        for _ in ("first", "when it is there"):
            subprocess.run([sys.executable, *code], env=os.environ | environment, check=True)
        (_, _, *options), environment = of_compose("mlflow", here)
        with mlflow_server(folder / "server", options=options, **environment) as port:
            ada = copy_of(tiny_origin, folder / "ada")
            shutil.copytree(tiny_origin.folder.parent / "cache", ada.folder / ".dvc" / "cache")
            ada.run("dvc", "config", "--unset", "cache.dir")
            team = Team(storage, f"http://{HOST}:{port}", ada, Project(folder / "bob"))
            _share(team, folder / "team.git")
            yield team


def _share(team: Team, shared: Path) -> None:
    """What docs/scale.md has people type; Ada has the keys in her environment, Bob in a file."""
    ada, bob = team.ada, team.bob
    ada.run("git", "init", "--quiet", "--bare", "--initial-branch", "main", str(shared))
    ada.run("dvc", "remote", "add", "--default", "storage", f"s3://{BUCKET}/dvc")
    ada.run("dvc", "remote", "modify", "storage", "endpointurl", team.storage.url)
    ada.set_params("evaluation.draws=2")
    ada.run("dvc", "repro")
    ada.run("dvc", "push", **team.storage.keys)
    ada.commit("more draws, and where data are")
    ada.run("git", "push", "--quiet", str(shared), "main")
    ada.run("git", "clone", "--quiet", str(shared), str(bob.folder))
    modify = ("dvc", "remote", "modify", "--local", "storage")
    bob.run(*modify, "access_key_id", team.storage.key)
    bob.run(*modify, "secret_access_key", team.storage.secret)


def test_a_colleague_has_the_same_bytes_and_mlflow_is_filled_from_them(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, storage = team.ada, team.bob, team.storage
    assert not (bob.folder / MODEL).exists()
    pulled = team.run(bob, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert (bob.folder / MODEL).read_bytes() == (ada.folder / MODEL).read_bytes()
    assert team.run(bob, "dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert bob.git_status() == ""

    first, second = (team.run(bob, *SYNC, **team.at_server()) for _ in range(2))
    assert "4 made from files; " in first.stdout, first.stderr
    assert "nothing to do" in second.stdout, second.stderr
    client = mlflow.MlflowClient(team.uri)
    experiment = client.get_experiment_by_name("car-or-truck")
    runs = client.search_runs([experiment.experiment_id])
    (run,) = [each for each in runs if each.data.tags.get("stage") == "train_baseline"]
    traced = team.run(bob, "-m", "stages", "lineage", run.info.run_id, **team.at_server())
    # It has that from an artifact, code.json.
    assert "code: 1 files, as in commit" in traced.stdout, traced.stderr
    # Nor has this process keys: the server hands out what lies in the bucket.
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")  # as docs/scale.md says
    here = bob.folder / "downloaded"
    here.mkdir()
    picture = Path(client.download_artifacts(run.info.run_id, PICTURE, str(here)))
    assert picture.read_bytes() == (ada.folder / "metrics" / PICTURE).read_bytes()
    model = client.get_logged_model(run.outputs.model_outputs[0].model_id)
    downloaded = mlflow.artifacts.download_artifacts(
        model.artifact_location, dst_path=str(here), tracking_uri=team.uri
    )
    (file,) = Path(downloaded).glob("data/*.npz")
    assert file.read_bytes() == (ada.folder / MODEL).read_bytes()
    kept = storage.objects(BUCKET)
    assert {name.split("/")[0] for name in kept} == {"dvc", "mlflow"}
    assert any(name.endswith(f"{run.info.run_id}/artifacts/{PICTURE}") for name in kept)
    # Neither Git nor MLflow knows the keys.
    history = bob.run("git", "log", "--all", "--patch", "--format=%H").stdout
    assert storage.url in history
    told = history + "".join(str(each.to_dictionary()) for each in runs)
    assert not [key for key in storage.keys.values() if key in told]


@pytest.mark.parametrize(
    ("command", "keys", "setting", "said"),
    [
        ("pull", None, (), "Unable to locate credentials"),
        ("pull", {"AWS_SECRET_ACCESS_KEY": "wrong"}, (), "Forbidden"),
        ("push", {}, ("url", "s3://none/dvc"), "The specified bucket does not exist"),
        ("pull", {}, ("endpointurl", NOWHERE), "Could not connect to the endpoint URL"),
    ],
    ids=["no key", "wrong key", "no bucket", "away"],
)
def test_dvc_says_what_is_wrong_with_the_storage(
    team: Team,
    tmp_path: Path,
    command: str,
    keys: dict[str, str] | None,
    setting: tuple[str, ...],
    said: str,
) -> None:
    project = copy_of(team.ada, tmp_path / "project")
    if command == "pull":
        shutil.rmtree(project.folder / ".dvc" / "cache")
    if setting:
        project.run("dvc", "remote", "modify", "--local", "storage", *setting)
    known = {} if keys is None else team.storage.keys | keys
    failed = team.run(project, "dvc", command, **known)
    assert failed.returncode
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


def test_make_repro_computes_what_a_storage_without_keys_does_not_give(
    team: Team, tmp_path: Path
) -> None:
    project = copy_of(team.ada, tmp_path / "project")
    shutil.rmtree(project.folder / ".dvc" / "cache")
    shutil.rmtree(project.folder / "data" / "prepared")
    programs = f"BIN={Path(sys.executable).parent}"
    recipe = _run("make", "--dry-run", "repro", programs).stdout.replace("\\\n", "")
    (command,) = [line for line in recipe.splitlines() if "dvc repro" in line]
    finished = team.run(project, "sh", "-c", command)
    assert finished.returncode == 0, finished.stderr
    assert "WARNING: storage storage is empty or cannot be read" in finished.stderr
    assert "Running stage 'prepare'" in finished.stdout
    assert project.git_status() == ""


def assert_one_line(failed: Any, team: Team, said: str) -> None:
    """A command ended as after a mistake, with one line that names the server and the cause."""
    assert failed.returncode == 2, failed.stdout + failed.stderr
    assert failed.stderr.startswith(f"ERROR: MLflow at {team.uri} failed (")
    assert failed.stderr.count("\n") == 1
    assert said in failed.stderr


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({}, "Unable to locate credentials"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "Check your key and signing method"),
        ({"AWS_ENDPOINT_URL_S3": NOWHERE}, "Could not connect to the endpoint URL"),
    ],
    ids=["no key", "wrong key", "away"],
)
def test_a_storage_that_a_client_is_to_reach_itself_fails_in_one_line(
    team: Team, at: dict[str, str], said: str
) -> None:
    name = f"direct, {said}"
    location = f"s3://{BUCKET}/direct"
    mlflow.MlflowClient(team.uri).create_experiment(name, location)
    keys = {**team.storage.keys, "AWS_ENDPOINT_URL_S3": team.storage.url, **at} if at else {}
    failed = team.run(team.ada, *SYNC, **team.at_server(name), **keys)
    assert_one_line(failed, team, said)


def test_a_storage_that_fails_behind_the_server_costs_no_result(team: Team) -> None:
    """The last one, as it leaves no storage."""
    ada, client = team.ada, team.storage.client()
    at_server = team.at_server("behind")

    def remove_bucket() -> None:
        for name in team.storage.objects(BUCKET):
            client.delete_object(Bucket=BUCKET, Key=name)
        client.delete_bucket(Bucket=BUCKET)

    def revoke_key() -> None:
        client.create_bucket(Bucket=BUCKET)
        team.storage.client("iam").delete_access_key(UserName=USER, AccessKeyId=team.storage.key)

    for end in (remove_bucket, revoke_key, team.storage.server.stop):
        end()
        assert_one_line(team.run(ada, *SYNC, **at_server), team, "too many 500 error responses")
    assert_one_line(team.run(ada, "-m", "stages", "champion", **at_server), team, "too many 500")
    finished = team.run(ada, "python", "steps.py", "train_baseline", **at_server)
    assert finished.returncode == 0
    assert finished.stderr.count("WARNING") == 1
    assert "too many 500" in finished.stderr
    assert ada.git_status() == ""


def test_compose_has_pinned_images_ports_of_this_machine_and_no_password() -> None:
    for service in SERVICES.values():
        assert re.fullmatch(r"[\w./-]+:\d[\w.-]*", service["image"])
        assert all(port.startswith(f"{HOST}:") for port in service.get("ports", []))
        for name, value in service["environment"].items():
            assert SETTING.fullmatch(value) or not re.search("PASS|KEY", name)
    assert SERVICES["mlflow"]["image"].endswith(f":{mlflow.__version__}")
    locks = [(ROOT / f"requirements.{each}").read_text() for each in ("lock", "scale.lock")]
    installed = re.findall(
        r"([\w]+)(?:\[\w+\])?==([\d.]+)", (ROOT / "compose.Dockerfile").read_text()
    )
    assert [name for name, _ in installed] == ["mlflow", "psycopg", "boto3"]
    for name, version in installed:
        assert any(f"\n{name}=={version} " in f"\n{lock}" for lock in locks), name
    asked = set(SETTING.findall((ROOT / "compose.yaml").read_text()))
    example = (ROOT / ".env.example").read_text().splitlines()
    assert {f"{name}=" for name in asked} == {each for each in example if "#" not in each}
    subprocess.run(["git", "check-ignore", "--quiet", ".env"], cwd=ROOT, check=True)


def _compose(*arguments: str, **settings: str) -> Any:
    """Docker Compose, which reads a configuration without a daemon."""
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]) and _run(*program, "version").returncode == 0:
            example = ("--env-file", ".env.example", "--file", "compose.yaml")
            return _run(*program, *example, *arguments, **settings)
    what = "Docker Compose is not installed (Debian and Ubuntu: apt-get install docker-compose)"
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def _run(*command: str, **environment: str) -> Any:
    there = os.environ | environment
    return subprocess.run(command, cwd=ROOT, env=there, capture_output=True, text=True, check=False)


def test_compose_reads_it_and_says_which_password_is_missing() -> None:
    settings = {"POSTGRES_PASSWORD": "a", "S3_ACCESS_KEY": "b", "S3_SECRET_KEY": "c"}
    read = _compose("config", **settings)
    assert read.returncode == 0, read.stderr
    assert set(YAML(typ="safe").load(read.stdout)["services"]) == set(SERVICES)
    for name in settings:
        failed = _compose("config", **{**settings, name: ""})
        assert failed.returncode
        assert f"write {name} to .env, as .env.example shows" in failed.stderr
