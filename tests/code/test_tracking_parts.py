"""What the bridge between DVC and MLflow stands on: identity by content, and names that fit."""

import os
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stages.data.errors import UserError
from stages.tracking import environment, registry, store, summary, tags
from stages.tracking.outputs import content_of
from stages.tracking.run import entry_now
from stages.tracking.shown import artifacts_in, metrics_in, series_in
from stages.workflow.pipeline import LockEntry, lock_entries, read_pipeline
from stages.workflow.revisions import workspace

LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python -m stages.train
    deps:
    - path: data/train.npz
      hash: md5
      md5: '0123'
      size: 5
    params:
      params.yaml:
        cnn.default:
          learning_rate: 1e-05
          filters:
          - 32
          - 64
      libraries.yaml:
        keras: 3.15.1
    outs:
    - path: data/models/cnn.npz
      hash: md5
      md5: '4567'
      size: 7
  evaluate:
    cmd: python -m stages.evaluate
    deps:
    - path: data/models/cnn.npz
      hash: md5
      md5: '4567'
"""
TRAIN = LockEntry(
    "train",
    {
        "cnn.default.learning_rate": 1e-5,
        "cnn.default.filters": [32, 64],
        "libraries.yaml:keras": "3.15.1",
    },
    {"data/train.npz": "0123"},
    {"data/models/cnn.npz": "4567"},
)


def test_a_lock_file_is_read_entry_by_entry() -> None:
    entries = lock_entries(lambda _: LOCK.encode())
    assert list(entries) == ["train", "evaluate"]
    assert entries["train"] == TRAIN
    assert entries["evaluate"].outs == {}
    assert lock_entries(lambda _: b"schema: '2.0'\nstages: {}\n") == {}


def test_a_lock_file_of_any_version_of_dvc_is_read() -> None:
    of_dvc_1 = textwrap.dedent(LOCK.partition("stages:\n")[2])
    assert lock_entries(lambda _: of_dvc_1.encode())["train"] == TRAIN
    odd = """\
schema: '2.0'
stages:
  fit@us en:
    cmd: fit
    deps:
    - path: s3://bucket/rows
      etag: '"12-3"'
      size: 5
datasets:
- name: rows
  type: dvc
"""
    (entry,) = lock_entries(lambda _: odd.encode()).values()
    assert (entry.stage, entry.deps) == ("fit@us en", {"s3://bucket/rows": '"12-3"'})


def test_plots_and_params_of_any_version_of_dvc_are_understood() -> None:
    files = {
        "dvc.yaml": b"""
plots: {Loss: {x: step, y: {logs/a.tsv: loss}}, direct.csv: {x: epoch}}
stages: {fit: {cmd: fit, params: [all.toml: ], outs: [b.txt: {cache: false}, c.bin]}}
""",
        "all.toml": b"a = 1\n[b]\nc = 2\n",
    }
    pipeline = read_pipeline(files.get)
    assert pipeline.stages["fit"].params == {"all.toml:a": 1, "all.toml:b.c": 2}
    kinds = {
        path: pipeline.kind_of(path) for path in ("logs/a.tsv", "direct.csv", "b.txt", "c.bin")
    }
    assert list(kinds.values()) == ["plots", "plots", "kept", "outs"]


def test_names_that_files_share_get_the_files_before_them_and_broken_files_cost_no_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {
        "eval/live/metrics/acc.tsv": b"step\tacc\n1\t0.5\n",
        "train/live/metrics/acc.tsv": b"step\tacc\n1\t0.75\n2\t\n",
        "train/loss.json": b'{"loss": [{"step": 3, "value": 0.25, "note": "x"}]}',
        "train/no-steps.csv": b"a,b\n1,2\n",
    }
    assert series_in(files) == {
        "eval/live/metrics/acc": {1: 0.5},
        "train/live/metrics/acc": {1: 0.75},
        "value": {3: 0.25},
    }
    numbers = {"a/x.yaml": b"{n: 1, own: 2}", "b/x.toml": b"n = 3", "c.json": b'["no names"]'}
    assert metrics_in(numbers) == {"a/x.n": 1, "own": 2, "b/x.n": 3}
    assert series_in({"x.csv": b"step,a\nprepare,1\n,2\n3,4\n"}) == {"a": {3: 4.0}}
    assert metrics_in({"/elsewhere/x.json": b'{"n": 1}', "x.json": b'{"n": 2}'}) == {
        "elsewhere/x.n": 1,
        "x.n": 2,
    }
    broken = {"odd.json": b"{", "odd.yaml": b"a: [", "odd.csv": b"", "odd.tsv": b"\xff\xfe"}
    assert (metrics_in(broken), series_in(broken)) == ({}, {})
    said = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in said] == [
        *(" odd.json", " odd.yaml", " odd.csv", " odd.tsv"),
    ]
    assert all(line.endswith("runs are there without it") for line in said)
    assert set(artifacts_in({"a/x.png": b"", "b/x.png": b"", "c/y.csv": b"", "z.bin": b""})) == {
        "figures/a/x.png",
        "figures/b/x.png",
        "tables/y.csv",
    }


def test_a_lock_file_with_a_conflict_is_refused_with_advice() -> None:
    conflict = LOCK.replace(
        "    outs:", "<<<<<<< ours\n    outs:\n=======\n    outs:\n>>>>>>> theirs"
    )
    with pytest.raises(UserError, match=r"dvc\.lock: line 19: a merge has left .* `make repro`"):
        lock_entries(lambda _: conflict.encode())


@pytest.mark.parametrize(
    "other",
    [
        LockEntry("test", TRAIN.params, TRAIN.deps, TRAIN.outs),
        LockEntry("train", {**TRAIN.params, "seed": 1}, TRAIN.deps, TRAIN.outs),
        LockEntry("train", TRAIN.params, {"data/train.npz": "9"}, TRAIN.outs),
        LockEntry("train", TRAIN.params, TRAIN.deps, {"data/models/cnn.npz": "9"}),
    ],
)
def test_computations_that_differ_in_anything_have_different_keys(other: LockEntry) -> None:
    assert other.key != TRAIN.key


def test_the_order_of_entries_does_not_change_what_a_computation_is() -> None:
    params = dict(reversed(TRAIN.params.items()))
    assert LockEntry("train", params, TRAIN.deps, TRAIN.outs).key == TRAIN.key


def test_what_a_stage_reads_and_writes_now_may_be_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(
        "stages: {a: {cmd: mkdir out; cp in/file out, deps: [in], outs: [out], params: [x]}}"
    )
    Path("params.yaml").write_text("x: {y: 1e-3, z: [1, 2]}")
    Path("in").mkdir()
    Path("in/file").write_text("content")
    for command in (("init", "--no-scm"), ("repro",)):
        subprocess.run(["dvc", *command, "--quiet"], check=True)
    recorded = workspace().lock["a"]
    assert entry_now("a", with_outs=True) == recorded
    assert recorded.outs["out"].endswith(".dir")
    assert content_of(workspace(), "out", recorded.outs["out"]) == {"out/file": b"content"}


HOLD = "from stages.tracking import tags; print(tags.this_process(), flush=True); input()"


def test_a_writer_that_lives_is_known_from_one_that_is_gone_or_of_another_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    name = process.stdout.readline().strip()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")  # as a container made anew
    monkeypatch.setattr(tags.os, "getpid", lambda: 1)
    assert not tags.writer_is_gone(name)
    process.kill()
    process.wait()
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "another"))
    assert not tags.writer_is_gone(name)  # cannot be known
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert tags.writer_is_gone(name)
    assert list((tmp_path / ".dvc/tmp/mirror/running").iterdir()) == []
    # Who can write to the server must not name files of ours.
    (tmp_path / ".dvc/tmp/mirror/kept").touch()
    assert not tags.writer_is_gone("../kept")
    assert not tags.writer_is_gone("host 12 1700000000")  # as an earlier version wrote it


def test_a_writer_that_ends_leaves_nothing_behind(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "DVC_ROOT": str(tmp_path)},
        input="\n",
        text=True,
        capture_output=True,
        check=True,
    )
    assert finished.stdout.strip()
    assert list((tmp_path / ".dvc/tmp/mirror/running").iterdir()) == []


def test_all_that_begins_at_once_in_a_new_clone_numbers_it_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn() -> uuid.UUID:
        time.sleep(0.1)  # in which the others begin
        return as_it_is()

    as_it_is = uuid.uuid4
    monkeypatch.setattr(uuid, "uuid4", drawn)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        (one,) = {each.result() for each in [pool.submit(summary.this_clone) for _ in range(8)]}
    assert one.rpartition(" ")[2]


def test_settings_of_the_environment_that_would_mislead_mlflow_are_put_right() -> None:
    code = (
        "import os; from stages.tracking import environment as e; e.prepare_environment();"
        "print(os.environ.get('MLFLOW_RUN_ID'), os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MLFLOW_RUN_ID": "another"},
        text=True,
        capture_output=True,
        check=True,
    )
    assert finished.stdout.split() == ["None", "true"]


def test_what_runs_a_stage_does_not_import_mlflow() -> None:
    code = "import sys, stages.tracking.run; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://ada:secret@mlflow.example.org/x", "https://mlflow.example.org/x"),
        ("https://ada:sec/ret@mlflow.example.org/x", "https://mlflow.example.org/x"),
        ("https://ada:secret@ret@mlflow.example.org", "https://mlflow.example.org"),
        ("https://a?da#:sec@/ret@mlflow.example.org", "https://mlflow.example.org"),
        ("postgresql://db.example.org/x?user=ada&password=secret", "postgresql://db.example.org/x?user=ada&password=…"),
        ("https://mlflow.example.org/x?token=secret&a=b", "https://mlflow.example.org/x?token=…&a=b"),
        ("https://mlflow.example.org/x", "https://mlflow.example.org/x"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
    ],
)  # fmt: skip
def test_a_password_in_the_address_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, uri: str, shown: str
) -> None:
    monkeypatch.setattr(environment, "URI_OF_USER", uri)
    assert environment.shown_uri() == shown
    assert "sec" not in environment.printable(f"connection to '{uri}' failed")


@pytest.mark.parametrize("password", ["p@ss/word", "pa/ss@word", "pass@word"])
def test_a_part_of_a_password_that_was_taken_for_the_host_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    uri = f"http://ada:{password}@127.0.0.1:9"
    monkeypatch.setattr(environment, "URI_OF_USER", uri)
    client = store.mlflow.MlflowClient(uri)
    with pytest.raises(UserError) as failed, store.speaking_to_mlflow():
        client.search_experiments()
    assert str(failed.value).startswith("MLflow at http://127.0.0.1:9 failed")
    assert "ss" not in str(failed.value).replace("password", "").replace("address", "")


def test_what_is_printed_holds_no_secret_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "open sesame")
    said = environment.printable("401 for ada:open sesame at models:/a@champion")
    assert said == "401 for ada:… at models:/a@champion"


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("sqlite:///mlflow.db", "sqlite:////project/mlflow.db"),
        ("sqlite:///./a/mlflow.db?timeout=3", "sqlite:////project/./a/mlflow.db?timeout=3"),
        ("sqlite+pysqlite:///mlflow.db", "sqlite+pysqlite:////project/mlflow.db"),
        ("sqlite:///file:mlflow.db?mode=ro&uri=true", "sqlite:///file:/project/mlflow.db?mode=ro&uri=true"),
        ("", "sqlite:////project/mlflow.db?timeout=20"),
        *((uri, uri) for uri in (
            "sqlite:////data/mlflow.db", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true",
            "sqlite://", "http://host:5000/sqlite:///x", "postgresql:///db", "databricks",
        )),
    ],
)  # fmt: skip
def test_an_address_that_is_a_relative_path_is_meant_from_the_project(
    monkeypatch: pytest.MonkeyPatch, uri: str, meant: str
) -> None:
    """The working directory of `dvc exp run --temp` is deleted."""
    monkeypatch.setenv("DVC_ROOT", "/project")
    monkeypatch.setattr(environment, "URI_OF_USER", uri)
    assert environment.tracking_uri() == meant


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "file:./x", "file:///data/mlruns"])
def test_a_folder_for_runs_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setattr(environment, "URI_OF_USER", uri)
    with pytest.raises(UserError, match=f"^MLFLOW_TRACKING_URI={uri}: MLflow keeps no runs in"):
        store.client.__wrapped__()


def test_a_registry_without_the_model_or_without_a_champion_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = store.mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(store, "client", lambda: client)
    assert registry.champion_of("automobile-or-truck") is None
    client.create_registered_model("automobile-or-truck")
    assert registry.champion_of("automobile-or-truck") is None


def test_a_registry_that_does_not_answer_is_an_error_and_crowns_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = store.mlflow.MlflowClient("http://127.0.0.1:9")
    monkeypatch.setattr(store, "client", lambda: client)
    with pytest.raises(store.MlflowException) as failed:
        registry.champion_of("automobile-or-truck")
    assert failed.value.error_code == "INTERNAL_ERROR"
