"""The pages of `dvc plots show` and `dvc plots diff`, in a real browser without a network."""

import subprocess
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect
from ruamel.yaml import YAML

from tests.pipeline.conftest import Project, copy_working_tree
from tests.raw_files import ROOT

WIDTHS = (1200, 390)  # pixels: a screen, a phone
PATIENCE = 20_000  # milliseconds

PIPELINE: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")
# A stage that is new has no results before the next `dvc repro`.
COMMITTED = subprocess.run(
    ["git", "ls-tree", "-r", "--name-only", "HEAD"],
    cwd=ROOT,
    text=True,
    capture_output=True,
    check=True,
).stdout.splitlines()
TITLES = [
    title
    for plot in PIPELINE["plots"]
    for title, definition in plot.items()
    if all(path in COMMITTED for path in definition["y"])
]
DECLARED = [
    path
    for stage in PIPELINE["stages"].values()
    for plot in stage.get("plots", [])
    for path in (plot if isinstance(plot, dict) else [plot])
]
# A plot may be a folder of pictures.
PICTURES = [
    path
    for path in COMMITTED
    if path.endswith(".png") and any(f"{path}/".startswith(f"{each}/") for each in DECLARED)
]

# Drawings with something drawn in them: for a file that is missing DVC leaves an empty one.
DRAWN = "svg.marks:has(.role-mark path)"
# Of each its text and, in pixels, its widest mark: a line without data has no width.
TEXTS_AND_WIDTHS = """drawings => drawings.map(drawing => [
    drawing.textContent,
    Math.max(...[...drawing.querySelectorAll(".role-mark path")].map(
        mark => mark.getBBox().width))])"""
PICTURE_WIDTHS = "() => [...document.images].map(picture => picture.naturalWidth)"
RIGHT_EDGES = """() => [document.documentElement.scrollWidth,
    ...[...document.querySelectorAll("img, svg.marks")].map(
        each => each.getBoundingClientRect().right)]"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with the committed results, set up for plots, and a commit with another curve."""
    project = Project(tmp_path_factory.mktemp("plots") / "project")
    copy_working_tree(project, with_results=True)
    project.run("python", "-m", "stages", "plots_page")
    project.commit("results")
    curves = project.folder / "metrics" / "train_cnn_curves.csv"
    pd.read_csv(curves).assign(train_loss=0.5).to_csv(curves, index=False)
    project.commit("other results")
    return project


@pytest.mark.parametrize("revisions", [[], ["HEAD~1", "HEAD"]], ids=["show", "diff"])
def test_plots_are_drawn_without_a_network_on_a_screen_and_a_phone(
    project: Project, browser: Browser, revisions: list[str]
) -> None:
    command = ["diff", *revisions] if revisions else ["show"]
    address = project.run("dvc", "plots", *command).stdout.strip()
    page = browser.new_context(offline=True).new_page()
    asked, errors = listen(page)
    page.goto(address)
    expect(page.locator(DRAWN)).to_have_count(len(TITLES), timeout=PATIENCE)
    drawn = page.locator(DRAWN).evaluate_all(TEXTS_AND_WIDTHS)
    assert all(widest > 50 for _, widest in drawn), drawn
    for title in TITLES:
        (text,) = (text for text, _ in drawn if title in text)
        assert all(revision in text for revision in revisions), title
    pictures = page.evaluate(PICTURE_WIDTHS)
    assert PICTURES
    assert len(pictures) == len(PICTURES) * max(1, len(revisions))
    assert all(pictures)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert max(page.evaluate(RIGHT_EDGES)) <= width
    assert page.title() == "car-or-truck: plots"
    assert all(url.startswith(("data:", project.folder.as_uri())) for url in asked), asked
    assert not errors
    assert not project.git_status()


def listen(page: Page) -> tuple[list[str], list[str]]:
    """The addresses that a page will ask for, and its errors."""
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    return asked, errors
