"""The runs as a person sees them: in MLflow's pages, in a real browser.

With PICTURES=docs/pictures (`make pictures`) it looks at the project's own runs and keeps the
pictures that the README shows.
"""

import contextlib
import json
import os
import subprocess
import time
import urllib.parse
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST, answers, free_port
from tests.raw_files import ROOT

pytestmark = pytest.mark.xdist_group("swept")
PATIENCE = 60_000  # milliseconds
MODEL_STAGES = ("train_baseline", "train_cnn", "finetune_mobilenet")
COLUMNS = ("train.accuracy", "validation.accuracy", "test.accuracy", "data.classes")
HIDDEN = ("Dataset", "Source")


@contextlib.contextmanager
def pages_of(project: Project) -> Iterator[str]:
    """Address of `make ui` of a project, for as long as the block lasts."""
    port = free_port()
    process = subprocess.Popen(
        ["python", "-m", "stages", "ui", "--port", str(port)],
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert process.poll() is None, "make ui ended"
            assert time.monotonic() < deadline, "make ui did not answer"
            time.sleep(0.3)
        yield f"http://{HOST}:{port}"
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
def page(browser: Browser) -> Page:
    page = browser.new_page(viewport={"width": 1500, "height": 480})
    page.set_default_timeout(PATIENCE)
    return page


def keep(page: Page, name: str) -> None:
    """Keep a picture of the page, if pictures are wanted."""
    if folder := os.environ.get("PICTURES"):
        page.wait_for_timeout(1500)  # the drawing moves
        (ROOT / folder).mkdir(exist_ok=True)
        page.screenshot(path=ROOT / folder / name)


def close_assistant(page: Page) -> None:
    """Close the panel that MLflow opens beside the runs."""
    page.get_by_label("Close", exact=True).click()


def test_the_table_of_runs_shows_three_models_with_params_and_metrics(
    request: pytest.FixtureRequest, page: Page
) -> None:
    project = shown_project(request, "finished_project")
    with pages_of(project) as address:
        look_at_table(project, address, page)


def look_at_table(project: Project, address: str, page: Page) -> None:
    wanted = urllib.parse.quote('metrics."test.accuracy" > 0 AND tags.dvc.exp_name IS NULL')
    page.goto(f"{address}/#/experiments/1/runs?searchFilter={wanted}")
    page.get_by_text("finetune_mobilenet").first.wait_for()
    close_assistant(page)
    for column in (*HIDDEN, *COLUMNS):
        page.get_by_text("Columns", exact=True).click()
        page.get_by_placeholder("Search columns").fill(column)
        page.locator("[class*=tree-title]").get_by_text(column, exact=True).first.click()
        page.keyboard.press("Escape")
    latest = {
        run.data.tags["stage"]: run for run in project.runs() if "test.accuracy" in run.data.metrics
    }
    for stage in MODEL_STAGES:
        assert page.get_by_text(stage, exact=True).first.is_visible()
    text = page.inner_text("body")
    for split in ("train", "validation", "test"):
        assert f"{split}.accuracy" in text
        for stage in MODEL_STAGES:
            value = latest[stage].data.metrics[f"{split}.accuracy"]
            assert f"{value:g}" in text, (stage, split, value)
    assert "data.classes" in text
    page.mouse.move(0, 0)
    keep(page, "runs.png")


def test_a_sweep_is_compared_by_parallel_coordinates(
    request: pytest.FixtureRequest, page: Page
) -> None:
    project = shown_project(request, "swept")
    with pages_of(project) as address:
        look_at_sweep(project, address, page)


def look_at_sweep(project: Project, address: str, page: Page) -> None:
    sweep = {
        run.data.params["baseline.ridge"]: run
        for run in project.runs()
        if run.data.tags["stage"] == "train_baseline" and "dvc.exp_name" in run.data.tags
    }
    assert len(sweep) >= 3, "run a sweep first: dvc exp run --queue -S baseline.ridge=1,10,100"
    runs = json.dumps([run.info.run_id for run in sweep.values()])
    query = urllib.parse.urlencode({"runs": runs, "experiments": '["1"]'})
    page.set_viewport_size({"width": 1500, "height": 620})
    page.goto(f"{address}/#/compare-runs?{query}")
    page.get_by_text("Parallel Coordinates Plot").first.wait_for()
    page.locator(".js-plotly-plot").first.wait_for()
    close_assistant(page)
    page.locator("[class*=select-selector]").nth(1).click()
    page.keyboard.type("validation.accuracy")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    text = page.inner_text("body")
    assert "baseline.ridge" in text
    assert "validation.accuracy" in text
    assert f"Comparing {len(sweep)} Runs" in text
    keep(page, "sweep.png")
