"""The report of the committed results as a reader opens it: in a real browser, without network."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from stages.__main__ import main
from stages.commands.report import MODEL_CARD
from tests.committed import clone_of_head

LARGEST = 10_000_000  # bytes
WIDTHS = (390, 1200)  # pixels: a telephone, a laptop


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page and the card of the committed metrics, in a folder of their own."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone_of_head(folder / "committed"))
        page, card = folder / "report.html", folder / "model_card.md"
        main(["report", "--output", str(page), "--model-card", str(card)])
    return folder


@pytest.fixture
def page(browser: Browser, written: Path) -> Page:
    """The page, opened from disk; the test fails if it asks for more or complains."""
    page = browser.new_context(offline=True).new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    address = (written / "report.html").as_uri()
    page.goto(address, wait_until="networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert complaints == []
    return page


def test_it_shows_every_picture(page: Page, written: Path) -> None:
    images = page.eval_on_selector_all(
        "img", "images => images.map(each => [each.complete && each.naturalWidth, each.alt])"
    )
    assert len(images) == len(list((written / "committed/metrics/figures").glob("*.png")))
    assert all(width > 0 and alternative for width, alternative in images)
    assert page.locator("figure:has(img) > figcaption").count() == len(images)


def test_nothing_makes_the_page_scroll_sideways(page: Page) -> None:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        outside = page.eval_on_selector_all(
            "main *:not(.scroll *), header *, nav *",
            "all => all.filter(each => each.getBoundingClientRect().right > innerWidth + 1)"
            ".map(each => each.outerHTML.slice(0, 80))",
        )
        assert outside == [], width


def test_the_table_of_contents_leads_to_what_it_names(page: Page) -> None:
    links = page.locator("nav a").all()
    assert len(links) > 12
    for link in links:
        link.click()
        target = page.url.partition("#")[2]
        heading = page.locator(f'[id="{target}"]')
        assert heading.inner_text() == link.inner_text()
        assert heading.bounding_box() is not None


def test_it_is_small_enough_to_be_sent(written: Path) -> None:
    assert (written / "report.html").stat().st_size < LARGEST


def test_text_stands_out_from_its_background(page: Page) -> None:
    contrast = """() => {
      const luminance = color => {
        const [r, g, b] = color.match(/[0-9.]+/g).map(each => each / 255)
          .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const background = each => {
        const color = getComputedStyle(each).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" && each.parentElement
          ? background(each.parentElement) : color;
      };
      const all = [...document.querySelectorAll("body *")].filter(each =>
        [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()));
      return Math.min(...all.map(each => {
        const pair = [getComputedStyle(each).color, background(each)].map(luminance);
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
      }));
    }"""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert page.evaluate(contrast) >= 4.5, scheme  # WCAG 2.1, 1.4.3


def test_the_committed_model_card_is_that_of_the_committed_metrics(written: Path) -> None:
    made = (written / "model_card.md").read_text()
    assert (written / "committed" / MODEL_CARD).read_text() == made, "run `make report`"
