"""What the README shows is what the files say."""

import re
from pathlib import Path

import pytest

from stages.commands.results import pages_with_tables
from tests.committed import clone_of_head
from tests.pipeline.conftest import ROOT, Project


def test_the_committed_tables_are_those_of_the_committed_metrics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    committed = clone_of_head(tmp_path / "committed")
    monkeypatch.chdir(committed)
    assert pages_with_tables() == {}


def test_the_picture_of_the_pipeline_is_the_pipeline(finished_project: Project) -> None:
    def arrows(text: str) -> set[tuple[str, str]]:
        names = dict(re.findall(r'(node\d+)\["(\w+)"\]', text))
        pairs = re.findall(r"^\s*(\w+) ?--(?:.*--)?> ?(\w+)$", text, re.MULTILINE)
        return {(names.get(a, a), names.get(b, b)) for a, b in pairs}

    drawn = re.search(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert drawn
    shown = finished_project.run("dvc", "dag", "--mermaid").stdout
    assert arrows(drawn[1]) == arrows(shown)


def test_everything_that_it_names_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert links
    for link in links:
        assert Path(ROOT / link).exists(), link
    targets = set(re.findall(r"`make (\w+)`", text)) | {"repro", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
