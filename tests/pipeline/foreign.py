"""A DVC project that knows nothing of this one, with all that DVC lets people write."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pipeline.conftest import Project

PIPELINE = """\
vars:
  - settings/paths.toml
  - kept: kept
stages:
  prepare:
    cmd: python src/step.py ${ paths.table } ${ kept }
    deps: [src, raw.csv, {external}]
    outs: [prepared]
    params:
      - split
      - settings/more.json: [depth]
      - settings/code.py: [WIDTH]
      - settings/whole.yaml:
  train:
    foreach: [small, large]
    do:
      cmd: python src/step.py model ${item}
      deps: [prepared, src/step.py]
      params: ["size.${item}"]
      outs: ["models/${item}"]
      metrics: ["scores/${item}.yaml"]
      plots:
        - "curves/${item}.tsv": {x: step, cache: false}
  grid:
    matrix:
      kind: [a, b]
      depth: [1, 2]
    cmd: python src/step.py number ${item.kind} ${item.depth}
    deps: [prepared]
    metrics: ["grid/${item.kind}${item.depth}.json": {cache: false}]
  report:
    wdir: nested/place
    cmd: python ../../src/step.py report
    deps: [../../models/small, ../../src/step.py]
    params: [local]
    outs: [live]
  stopped:
    cmd: python src/step.py number stopped 0
    params: [split]
    metrics: [grid/stopped0.json: {cache: false}]
params: [settings/listed.toml]
metrics: [nested/place/live/metrics.json]
plots:
  - nested/place/live/plots/metrics: {x: step}
  - nested/place/live/plots/images
artifacts:
  small-model:
    path: models/small
    type: model
"""
BELOW = """\
stages:
  inner:
    cmd: python ../src/step.py number inner 5
    deps: [../raw.csv]
    params: [inside]
    metrics: [grid/inner5.json]
"""
STEP = """\
import json
import sys
from pathlib import Path

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ff"
    "ff3f0005fe02fedccc59e70000000049454e44ae426082"
)


def write(path, content):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        Path(path).write_bytes(content)
    else:
        Path(path).write_text(content)


what, *more = sys.argv[1:]
if what == "table":
    write("prepared/rows.csv", Path("raw.csv").read_text())
    write("prepared/vocabulary.json", json.dumps({str(n): n for n in range(1000)}))
elif what == "model":
    (size,) = more
    write(f"models/{size}/weights.bin", size)
    write(f"models/{size}/config.json", "{}")
    write(f"scores/{size}.yaml", "accuracy: 0.5\\nloss: {train: 1.5, test@1: 2.5}\\n")
    write(f"curves/{size}.tsv", "step\\tloss\\n0\\t3\\n10\\t1.5\\n")
elif what == "number":
    name, depth = more
    write(f"grid/{name}{depth}.json", json.dumps({"score": float(depth)}))
elif what == "report":
    write("live/metrics.json", json.dumps({"step": 2, "train": {"acc": 0.75}, "loss": 0.25}))
    rows = "timestamp\\tstep\\t{}\\n17000000\\t1\\t0.5\\n17000001\\t2\\t{}\\n"
    write("live/plots/metrics/loss.tsv", rows.format("loss", 0.25))
    write("live/plots/metrics/train/acc.tsv", rows.format("acc", 0.75))
    write("live/plots/metrics/eval/acc.tsv", rows.format("acc", 0.625))
    write("live/plots/images/sample.png", PIXEL)
"""
FILES = {
    "dvc.yaml": PIPELINE,
    "below/dvc.yaml": BELOW,
    "below/params.yaml": "inside: 7\n",
    "src/step.py": STEP,
    "params.yaml": "split: 0.2\nsize: {small: 1, large: 2}\n",
    "nested/place/params.yaml": "local: true\n",
    "settings/paths.toml": "[paths]\ntable = 'table'\n",
    "settings/more.json": '{"depth": 3, "list": [1, 2]}',
    "settings/code.py": "WIDTH = 4\n",
    "settings/whole.yaml": "one: 1\ntwo: {three: 3}\n",
    "settings/listed.toml": "beside = 'all'\n",
    "README.md": "Not ours.\n",
}


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> "Project":
    """Such a project, run by DVC, in a folder of a larger repository; main has two commits."""
    from tests.pipeline.conftest import Project

    repository = tmp_path_factory.mktemp("foreign")
    project = Project(repository / "project")
    external = repository / "elsewhere.txt"
    external.write_text("not in the project")
    for name, content in FILES.items():
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("{external}", str(external)))
    (project.folder / "raw.csv").write_text("a,b\n1,2\n")
    for command in (
        ("git", "init", "--quiet", "--initial-branch", "main", str(repository)),
        ("git", "config", "user.name", "Test"),
        ("git", "config", "user.email", "test@example.invalid"),
        ("dvc", "init", "--quiet", "--subdir"),
        ("dvc", "add", "--quiet", "raw.csv"),
        ("dvc", "repro", "--quiet", "--all-pipelines"),
        ("dvc", "freeze", "--quiet", "stopped"),
    ):
        project.run(*command)
    project.commit("first")
    project.set_params("size.large=20")
    project.run("dvc", "repro", "--quiet", "--all-pipelines")
    project.commit("second")
    return project
