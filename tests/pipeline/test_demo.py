"""`make demo`: a person shows photos to the models, in a real browser, and other files, too."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import Browser, Page

from stages.data.photos import read_photo
from stages.models.cnn import build_cnn
from stages.models.loading import load_model
from stages.models.mobilenet import build_mobilenet
from stages.models.names import MODELS
from stages.models.network import NetworkClassifier, make_repeatable
from stages.models.photo_predictions import PhotoPrediction, predictions_of
from stages.models.storage import save_model
from tests.pipeline.conftest import Project
from tests.pipeline.faulty_server import HOST, free_port
from tests.pipeline.tiny import EMPTY, copy_of

CLASSES = ["automobile", "truck"]
PHONE = {"width": 375, "height": 700}
CARD = "# Model card: the least-squares baseline"
BUILDERS = {"cnn": build_cnn, "mobilenet": build_mobilenet}
SETTINGS = {
    "cnn": {
        "filters": [4, 4, 4],
        "kernel_sizes": [3, 3, 3],
        "dense_units": 4,
        "input": "color",
        "batch_norm": False,
        "pixel_mean": [0.5] * 3,
        "pixel_std": [0.2] * 3,
    },
    "mobilenet": {"input_size": 96, "variant": "torch"},
}


@pytest.fixture(scope="module")
def project(tiny_origin: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny project with runs, and two networks besides, of random weights."""
    project = copy_of(tiny_origin, tmp_path_factory.mktemp("demo") / "project")
    shutil.copy(tiny_origin.folder.parent / EMPTY, project.folder / "mlflow.db")
    project.python("-m", "stages", "sync")
    make_repeatable(0)
    for name, settings in SETTINGS.items():
        whole = {"n_classes": 2, "image_size": 32, "dropout": 0.1, **settings}
        network = BUILDERS[name](**whole)
        classifier = NetworkClassifier(
            *(name, CLASSES, whole, network), average_with_mirror=True, photo_size=32, sure_from=0.4
        )
        save_model(project.folder / MODELS[name].path, classifier)
    (project.folder / "docs").mkdir()
    (project.folder / "docs" / "model_card.md").write_text(CARD)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((400, 300)).save(project.folder / "photo.jpg")
    return project


@pytest.fixture(scope="module")
def address(project: Project) -> Iterator[str]:
    """Where the page is."""
    port = free_port()
    command = ["python", "-m", "stages", "demo", "--port", str(port)]
    with (
        (project.folder / "said").open("w") as said,
        subprocess.Popen(
            command,
            cwd=project.folder,
            env=project.environment(),
            stdout=said,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        found, deadline = f"http://{HOST}:{port}", time.monotonic() + 120
        while f"the page is at {found}; end with Ctrl-C" not in (text := _said(project)):
            assert process.poll() is None, text
            assert time.monotonic() < deadline, text
            time.sleep(0.2)
        yield found
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert "Traceback" not in _said(project)


def _said(project: Project) -> str:
    return (project.folder / "said").read_text()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page on a phone; that the browser complains, or asks others, fails the test."""
    page = browser.new_page(viewport=PHONE)
    page.set_default_timeout(30_000)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("request", lambda request: asked.append(request.url))
    page.on("filechooser", lambda _: None)  # now: Chromium is late when it hears it at the key
    page.goto(address)
    yield page
    expected = "Failed to load resource: the server responded with a status of 4"
    assert [each for each in complaints if not each.startswith(expected)] == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


@pytest.fixture(scope="module")
def expected(project: Project) -> dict[str, PhotoPrediction]:
    """What the models say of the photo."""
    photo = read_photo((project.folder / "photo.jpg").read_bytes(), 32)[None]
    return {
        name: predictions_of(load_model(project.folder / model.path), photo)[0]
        for name, model in MODELS.items()
    }


def assert_answered(page: Page, expected: dict[str, PhotoPrediction]) -> None:
    page.wait_for_selector("#pictures:not([hidden])")
    for name, said in expected.items():
        shown = page.inner_text(f"#{name}")
        assert f"\n{said.shown}\n" in shown
        assert ("most likely" in shown) != said.sure
        for each, share in said.probabilities.items():
            assert re.search(rf"{each}\s+{100 * share:.1f} %", shown), shown
    for picture in ("#seen", "#map"):
        page.wait_for_function(
            "name => document.querySelector(name).naturalWidth > 30", arg=picture
        )


def test_a_photo_is_shown_to_all_models_by_keyboard_alone_on_a_phone(
    page: Page, project: Project, expected: dict[str, PhotoPrediction]
) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    outline = "getComputedStyle(document.getElementById('drop')).outlineStyle"
    assert page.evaluate(outline) == "solid", "nobody sees where the keyboard is"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(project.folder / "photo.jpg")
    assert_answered(page, expected)
    status = page.get_by_role("status").inner_text()
    assert status.startswith("photo.jpg – least squares, gray pixels: ")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.href").endswith(_run_page(project))
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, re.findall(r"\d+", color)[:3])) / 3
        assert (brightness > 128) == (theme == "light"), color


def _run_page(project: Project) -> str:
    (run,) = [each for each in project.runs() if each.data.tags["stage"] == "train_baseline"]
    return f"/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_may_be_dropped_or_pasted(
    page: Page, project: Project, expected: dict[str, PhotoPrediction], way: str
) -> None:
    content = list((project.folder / "photo.jpg").read_bytes())
    page.evaluate(
        """([way, content]) => {
          const held = new DataTransfer();
          held.items.add(new File([new Uint8Array(content)], "<b>photo</b>.jpg"));
          const about = { bubbles: true, cancelable: true };
          const event = way === "drop"
            ? new DragEvent(way, { dataTransfer: held, ...about })
            : new ClipboardEvent(way, { clipboardData: held, ...about });
          document.getElementById("drop").dispatchEvent(event);
        }""",
        [way, content],
    )
    assert_answered(page, expected)
    name = "<b>photo</b>.jpg" if way == "drop" else "the pasted photo"
    assert page.get_by_role("status").inner_text().startswith(f"{name} – ")


def write_text(path: Path) -> None:
    path.write_text("no photo\n")


def write_bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path, "PNG")


def write_200_megabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(200_000_000)


OTHERS = {
    "text": (write_text, 400, "is no photo of a format that is known; allowed: JPEG, PNG, "),
    "empty": (Path.touch, 400, "is empty"),
    "bomb": (write_bomb, 400, "has more than 178,956,970 pixels; allowed: up to 89,478,485"),
    "200 MB": (write_200_megabytes, 413, "has more than 64 MiB; allowed: up to 64 MiB"),
}


@pytest.mark.parametrize(("write", "status", "what"), OTHERS.values(), ids=OTHERS.keys())
def test_what_is_no_photo_is_told_in_a_sentence_and_the_server_lives(
    page: Page,
    address: str,
    project: Project,
    expected: dict[str, PhotoPrediction],
    tmp_path: Path,
    write: Callable[[Path], None],
    status: int,
    what: str,
) -> None:
    other = tmp_path / "other"
    write(other)
    page.set_input_files("#choose", other)
    page.wait_for_selector("#problem:not([hidden])")
    said = page.get_by_role("alert").inner_text()
    assert said.startswith(f"other: the file {what}")
    assert said.count("\n") == 0
    assert page.inner_text("#status") == ""
    with other.open("rb") as content:  # whoever asks without the page
        refused = requests.post(f"{address}/answers", content, timeout=60)
    assert refused.status_code == status
    assert refused.json()["message"].startswith(f"the file {what}")
    page.set_input_files("#choose", project.folder / "photo.jpg")
    assert_answered(page, expected)
    assert page.query_selector("#problem:not([hidden])") is None


def test_the_page_runs_no_script_but_its_own_and_links_to_the_model_card(address: str) -> None:
    found = requests.get(address, timeout=10)
    policy = found.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    (nonce,) = set(re.findall(r"nonce-([\w-]+)'", policy))
    assert set(re.findall(r'nonce="([^"]+)"', found.text)) == {nonce}
    assert nonce not in requests.get(address, timeout=10).text
    assert 'href="model_card"' in found.text
    card = requests.get(f"{address}/model_card", timeout=10)
    assert (card.text, card.headers["Content-Type"]) == (CARD, "text/plain; charset=utf-8")


def test_without_any_model_it_says_in_a_line_what_makes_them(tiny: Project) -> None:
    (tiny.folder / MODELS["baseline"].path).unlink()
    finished = tiny.python("-m", "stages", "demo", "--port", str(free_port()), check=False)
    assert finished.returncode == 2
    assert finished.stderr == "ERROR: there is no model to ask; `make repro` makes the three\n"
