"""What a person sees who opens the links of `make ui`: in MLflow's pages, in a real browser.

With PICTURES=docs/pictures (`make pictures`) it looks at the project's own runs and keeps the
pictures that the README shows.
"""

import contextlib
import json
import math
import os
import re
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from playwright.sync_api import Browser, Page

from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST, answers, free_port
from tests.raw_files import ROOT

pytestmark = pytest.mark.xdist_group("swept")
PATIENCE = 60_000  # milliseconds
MODEL_STAGES = ("train_baseline", "train_cnn", "finetune_mobilenet")
LINK = re.compile(r"^(.+): (http\S+)$", re.MULTILINE)
# Rows of a table are drawn when they are in view.
SIZE = {"width": 2200, "height": 900}


@contextlib.contextmanager
def links_of(project: Project, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The links that `make ui` prints, for as long as the block lasts, at a port that is taken."""
    port = free_port()
    said = tmp_path / "said"
    with socket.create_server((HOST, port)), said.open("w") as output:
        process = subprocess.Popen(
            ["python", "-m", "stages", "ui", "--port", str(port)],
            cwd=project.folder,
            env=project.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 240
            while not (told := re.search(r"taken; taking (\d+)", said.read_text())) or not answers(
                int(told[1])
            ):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < deadline, said.read_text()
                time.sleep(0.3)
            assert "deprecat" not in said.read_text().lower()
            yield dict(LINK.findall(said.read_text()))
        finally:
            process.terminate()
            process.wait(30)


def shown_project(request: pytest.FixtureRequest, name: str) -> Project:
    """The project of a fixture; for pictures the project itself."""
    if os.environ.get("PICTURES"):
        return Project(ROOT)
    shown: Project = request.getfixturevalue(name)
    return shown


@pytest.fixture
def registered(clone: Callable[[], Project]) -> Project:
    """A clone whose best model is registered: by hand, as `champion` refuses quick trials."""
    project = clone()
    project.python("-m", "stages", "sync")
    (run,) = [each for each in project.runs() if each.data.tags["stage"] == "finetune_mobilenet"]
    mlflow.set_tracking_uri(f"sqlite:///{project.folder / 'mlflow.db'}")
    client = mlflow.MlflowClient()
    client.create_registered_model("automobile-or-truck")
    source = f"models:/{run.outputs.model_outputs[0].model_id}"
    client.create_model_version("automobile-or-truck", source, run.info.run_id)
    return project


@pytest.fixture
def page(browser: Browser) -> Page:
    page = browser.new_page(viewport=SIZE)
    page.set_default_timeout(PATIENCE)
    return page


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page, if pictures are wanted."""
    if folder := os.environ.get("PICTURES"):
        page.set_viewport_size({"width": 1700, "height": 620})
        page.get_by_label("Close", exact=True).click()  # of the assistant beside the runs
        page.wait_for_timeout(1500)  # the drawing moves
        (ROOT / folder).mkdir(exist_ok=True)
        page.screenshot(path=ROOT / folder / name)


def text_of(page: Page, address: str, *awaited: str) -> str:
    """All text of a page, when what is awaited stands in it."""
    page.goto(address)
    page.reload()  # another fragment of the address alone would not load it
    is_there = "texts => texts.every(text => document.body.innerText.includes(text))"
    page.wait_for_function(is_there, arg=awaited)
    return page.inner_text("body")


def compared(project: Project, link: str) -> list[mlflow.entities.Run]:
    """The runs that a link to MLflow's comparison names."""
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(link).fragment.partition("?")[2])
    return [run for run in project.runs() if run.info.run_id in json.loads(query["runs"][0])]


def test_every_link_of_make_ui_opens_on_the_numbers_of_the_three_models(
    request: pytest.FixtureRequest, page: Page, tmp_path: Path
) -> None:
    project = shown_project(request, "registered")
    with links_of(project, tmp_path) as links:
        side_by_side = links["all about the models, side by side"]
        runs = compared(project, side_by_side)
        assert {run.data.tags["stage"] for run in runs} == set(MODEL_STAGES)
        text = text_of(page, links["the three models"], *MODEL_STAGES)
        assert "3 matching runs" in text
        assert "mobilenet.input_size" in text
        for split in ("train", "validation", "test"):
            for run in runs:
                assert f"{run.data.metrics[f'{split}.accuracy']:g}" in text, (run, split)
        keep(page, "models.png")

        text = text_of(page, side_by_side, "test.accuracy", *MODEL_STAGES)
        assert "Comparing 3 Runs" in text
        for run in runs:  # this page rounds, a half upwards
            shown = math.floor(1000 * run.data.metrics["test.accuracy"] + 0.5) / 1000
            assert f"\n{shown:g}\n" in text

        experiments = links["the experiments"]
        text = text_of(page, experiments, *project.summaries())
        assert f"{len(project.summaries())} matching runs" in text
        assert_headline(text, project.summaries()["workspace"])

        (model,) = [link for what, link in links.items() if what.startswith("the registered")]
        assert "Version 1" in text_of(page, model, "Versions")


def assert_headline(text: str, run: mlflow.entities.Run) -> None:
    names = list(run.data.metrics)
    assert names
    for name in names[:9]:
        assert name in text
        assert f"{run.data.metrics[name]:g}" in text


def test_the_experiments_of_a_sweep_are_rows_with_the_setting_that_differs(
    request: pytest.FixtureRequest, page: Page, tmp_path: Path
) -> None:
    project = shown_project(request, "swept")
    with links_of(project, tmp_path) as links:
        experiments = project.experiments()
        assert len(experiments) >= 3, "run a sweep first: dvc exp run --queue -S baseline.ridge=…"
        text = text_of(page, links["the experiments"], *experiments)
        assert "baseline.ridge" in text
        assert "evaluation.draws" not in text  # which is the same in all of them
        for name in experiments:
            assert_headline(text, project.summaries()[name])
            assert project.summaries()[name].data.params["baseline.ridge"] in text
        keep(page, "experiments.png")
