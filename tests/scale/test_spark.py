"""A logged model on a real cluster of Spark, by the lines of docs/scale.md."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import pytest
from PIL import Image

from stages.data.files import read_arrays
from tests.pipeline.conftest import Project
from tests.raw_files import ROOT

# Programs that live for seconds: half the time to start them.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


@pytest.fixture
def spark(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A master and two workers, as an environment for programs that use them."""
    pytest.importorskip("pyspark", reason="make scale installs it")
    if not shutil.which("java"):
        what = "there is no Java (Debian: apt-get install openjdk-17-jre-headless)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(what)
    from benchmarks.spark import cluster

    with cluster(tmp_path, JAVA_TOOL_OPTIONS=JAVA) as environment:
        yield environment


def test_the_documented_lines_say_of_a_folder_on_two_workers_what_predict_says(
    tiny: Project, spark: dict[str, str], tmp_path: Path
) -> None:
    tiny.python("-m", "stages", "champion")
    photos, folder = tmp_path / "photos", tmp_path / "elsewhere"
    (photos / "more").mkdir(parents=True)
    folder.mkdir()
    images = read_arrays(tiny.folder / "data/prepared/test.npz")["images"]
    for number, image in enumerate(images):
        below = "more" if number % 2 else ""
        Image.fromarray(image).save(photos / below / f"{number} % of ä+.png")
    (photos / "text.png").write_text("no photo at all\n")
    (photos / "cut off.png").write_bytes((photos / "0 % of ä+.png").read_bytes()[:99])
    (photos / "empty.png").touch()

    page = (ROOT / "docs" / "scale.md").read_text().partition("## Scoring on Spark")[2]
    script, command = (
        re.search(rf"```{language}\n(.*?)```", page, re.DOTALL)[1]
        for language in ("python", "bash")
    )
    (folder / "score.py").write_text(script)
    command = command.replace("spark://HOST:7077", spark["MASTER"])
    command = command.replace("sqlite:///mlflow.db", f"sqlite:///{tiny.folder}/mlflow.db")
    command = command.replace(" photos predictions", f" {photos} {folder}/predictions")
    scored = subprocess.run(
        ["bash", "-ec", command], cwd=folder, env=spark, capture_output=True, text=True, check=False
    )
    assert scored.returncode == 0, scored.stderr
    found = pd.read_parquet(folder / "predictions")
    found.index = pd.Index([unquote(url).removeprefix("file://") for url in found.pop("file")])

    ask = ("-m", "stages", "predict", "--model", "baseline", "--format", "jsonl", str(photos))
    predicted = tiny.python(*ask, check=False)
    rows = [json.loads(line) for line in predicted.stdout.splitlines()]
    errors = dict(re.findall(r"^ERROR: (/.*?\.png): (.*)$", predicted.stderr, re.MULTILINE))
    assert (len(rows), len(errors)) == (len(images), 3)
    assert sorted(found.index) == sorted([*errors, *(row["file"] for row in rows)])
    assert found.error[list(errors)].to_dict() == errors
    assert found.probability[list(errors)].isna().all()
    for row in rows:
        said = found.loc[row["file"]]
        assert said.error == ""
        assert (said.prediction, said.sure) == (row["prediction"], row["sure"])
        assert said.probability == row["probability"]
    logs = [path.read_text() for path in tmp_path.glob("app-*/*/stderr")]
    assert ["Running task" in log for log in logs] == [True, True]
