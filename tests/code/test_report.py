"""The report says what the files say, in words and numbers, and what they do not say it says so."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from stages.__main__ import main
from stages.commands.results import pages_with_tables
from stages.data.errors import UserError
from stages.results.measurements import Measurements
from stages.results.report_tables import benchmark_tables, times_table
from stages.results.text import param, points
from stages.results.verdicts import kind_of, sentence_on
from stages.statistics.paired import PairedDifference

ROOT = Path(__file__).resolve().parents[2]
PAGE, CARD = Path("report/report.html"), Path("docs/model_card.md")
SCRIPT = "<script>alert('x')</script>"
VOID = {"meta", "link", "img", "br", "hr", "input"}
CARD_HEADINGS = (
    *("Model details", "Intended use", "Out-of-scope use", "Factors", "Training data"),
    *("Training procedure", "Evaluation data", "Metrics", "Calibration", "Robustness"),
    *("Limitations and biases", "Ethical considerations", "Licence", "How to load and use"),
    *("How to reproduce", "Caveats"),
)
TESTED = {
    "accuracy": 0.8,
    "balanced_accuracy": 0.8,
    "precision": 0.81,
    "recall": 0.79,
    "f1": 0.8,
    "roc_auc": 0.9,
    "log_loss": 0.4,
    "brier": 0.1,
}
INTERVAL = {f"accuracy_ci_{end}": value for end, value in (("low", 0.7), ("high", 0.9))}
CALIBRATED = {
    "ece": 0.0123,
    "adaptive_ece": 0.02,
    "calibration_slope": 1.5,
    "coverage_at_99": 0.25,
    "share_sure": 0.9,
    "accuracy_when_sure": 0.985,
}


def write(path: str, values: Any) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(values if isinstance(values, str) else json.dumps(values))


def split_counts(classes: tuple[str, ...]) -> dict[str, Any]:
    counts = dict.fromkeys(classes, 50)
    return {
        "train": {"images": 100, **counts},
        "validation": {"images": 100, **counts, "near_duplicates_of_train": 1},
        "test": {"images": 100, **counts, "near_duplicates_of_train": 4},
    }


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What every run of the pipeline writes, and no more; no Git repository."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write("metrics/prepare.json", split_counts(("automobile", "truck")))
    write("metrics/evaluate.json", dict.fromkeys(("baseline", "cnn", "mobilenet"), TESTED))
    for number, stage in enumerate(("train_baseline", "train_cnn", "finetune_mobilenet")):
        validation = {"accuracy": 0.7 + number / 10, "roc_auc": 0.9 - number / 10}
        write(f"metrics/{stage}.json", {"train": {"accuracy": 0.95}, "validation": validation})
    return tmp_path


def measure_everything() -> None:
    """Add what a pipeline may leave out."""
    robustness = {"unchanged": 0.8, "mirrored": 0.81, "noise": 0.5}
    model = {
        **(TESTED | INTERVAL | CALIBRATED),
        "accuracy_without_near_duplicates": 0.75,
        "robustness": robustness,
    }
    comparison = {
        "accuracy_difference": 0.055,
        "accuracy_difference_ci_low": 0.043,
        "accuracy_difference_ci_high": 0.067,
        "mcnemar_p": 1e-20,
        "both_right": 70,
        "only_first_right": 10,
        "only_second_right": 5,
        "both_wrong": 15,
    }
    pairs = ("cnn_vs_baseline", "mobilenet_vs_baseline", "mobilenet_vs_cnn")
    write(
        "metrics/evaluate.json",
        {
            **dict.fromkeys(("baseline", "cnn", "mobilenet"), model),
            "comparisons": dict.fromkeys(pairs, comparison),
            "images": {"test": 100, "without_near_duplicates": 96, "robustness": 60},
        },
    )
    seeds = [f"cnn,{n},{'0' * 32},{f'{0.79 + n / 100},' * 3}0.1\n" for n in range(3)]
    write("metrics/seeds.csv", SEEDS_HEADER + "".join(seeds))
    audit = {"images": 200, "flagged": 7, "out_of_fold_accuracy": 0.9}
    write("metrics/audit_labels.json", audit)
    header = "rank,split,index,label,suggested,label_probability,suggested_probability\n"
    issues = [f"{rank},train,{rank},truck,automobile,0.01,0.99\n" for rank in range(1, 31)]
    write("metrics/label_issues.csv", header + "".join(issues))
    kinds = ["truck,truck"] * 50 + ["automobile,automobile"] * 30 + ["automobile,truck"] * 20
    rows = [f"{number},{kind}" for number, kind in enumerate(kinds)]
    rows = [f"{row},{row.rsplit(',')[-1]},{row.rsplit(',')[-1]}\n" for row in rows]
    write("metrics/predictions.csv", PREDICTIONS_HEADER + "".join(rows))
    write("dvc.lock", LOCK)


SEEDS_HEADER = (
    "model,seed,computation,train_accuracy,validation_accuracy,test_accuracy,test_brier\n"
)
PREDICTIONS_HEADER = "index,actual,baseline,cnn,mobilenet\n"
LOCK = """\
schema: '2.0'
stages:
  finetune_mobilenet:
    cmd: python -m stages.finetune_mobilenet
    deps:
    - path: data/prepared/train.npz
      hash: md5
      md5: 11111111111111111111111111111111
    params:
      params.yaml:
        data.classes: [automobile, truck]
        mobilenet.epochs: 4
    outs:
    - path: data/models/mobilenet.npz
      hash: md5
      md5: 22222222222222222222222222222222
"""


def draw(name: str) -> None:
    path = Path("metrics/figures") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 20)).save(path)


def page_and_card() -> tuple[str, str]:
    main(["report"])
    return PAGE.read_text(), CARD.read_text()


def commit_all() -> str:
    for command in (
        ("init", "--quiet"),
        ("add", "--all"),
        ("-c", "user.name=Test", "-c", "user.email=t@example.invalid", "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *command], check=True)
    listed = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True)
    return listed.stdout.decode().strip()


class Outline(HTMLParser):
    """Tags of a page that is well formed, its text, and what its links and headings name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def in_html(card: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(card)


def words_of(card: str) -> str:
    return Outline(in_html(card)).words


@pytest.mark.usefixtures("project")
def test_what_was_not_measured_is_said_and_not_invented() -> None:
    page, card = page_and_card()
    for said in (Outline(page).words, words_of(card)):
        for missing in (
            "Differences on the same test images: not measured",
            "Trainings with several seeds: not measured",
            "Accuracy on changed images: not measured",
            "Accuracy by class: not measured",
        ):
            assert missing in said
        assert "calibration slope not measured" in said
        assert "80.0 % (" not in said  # no interval
    words = Outline(page).words
    assert "How many labels are doubtful: not measured" in words
    assert "Which labels are doubtful: not measured" in words
    assert "There are no pictures" in words
    assert "Revision unknown: Git tells none here" in words
    assert "There is no dvc.lock" in words
    assert "its md5 is not recorded" in card
    assert "how many are doubtful was not measured" in card
    assert "None" not in words + card


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "(machine not recorded; revision not recorded)"),
        (
            {"machine": {"machine": "x86_64", "cores": 2}, "revision": "abc"},
            "(x86_64, 2 cores; revision abc)",
        ),
        ({"machine": {"processor": "Z80", "machine": "z80"}}, "(Z80; revision not recorded)"),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_benchmark_tells_its_machine_and_revision(content: dict[str, Any], said: str) -> None:
    write("benchmarks/time_to_accuracy.json", {**content, "targets": []})
    empty = {"caption": "gate", "header": [], "rows": []}
    write("benchmarks/gate.json", {**content, "tables": {"gate": empty}})
    assert times_table().caption.endswith(said)
    assert benchmark_tables()["gate"].caption == f"gate {said}"


def test_a_table_stands_where_a_page_has_a_place_for_it_and_nowhere_else(project: Path) -> None:
    write("benchmarks/time_to_accuracy.json", {"targets": []})
    speed = {"caption": "Speed", "header": ["model", "photos"], "rows": [["CNN", "1|2"]]}
    write("benchmarks/speed.json", {"tables": {"speed": speed}})
    own = "".join(map(place_for, ("results", "seeds", "times")))
    (project / "README.md").write_text(own)
    page = project / "docs" / "speed.md"
    page.parent.mkdir()
    page.write_text(f"# Speed\n{place_for('speed')}The end.\n")
    pages = pages_with_tables()
    assert {path.name for path in pages} == {"README.md", "speed.md"}
    of_speed = pages[Path("docs/speed.md")]
    assert of_speed.startswith("# Speed\n<!-- speed: ")
    assert "\n\n| model | photos |\n| --- | ---: |\n| CNN | 1\\|2 |\n<!-- end of" in of_speed
    assert of_speed.endswith("The end.\n")
    for path, text in pages.items():
        path.write_text(text)
    assert pages_with_tables() == {}  # and once more is no change
    page.write_text(place_for("sped"))
    with pytest.raises(UserError, match="there is no table sped; known: results, seeds, times, sp"):
        pages_with_tables()
    page.write_text("# Speed\n")
    with pytest.raises(UserError, match="no page has a place for speed; put a line <!-- speed"):
        pages_with_tables()


def place_for(name: str) -> str:
    return f"<!-- {name}: written by `make readme` -->\nold\n<!-- end of {name} -->\n"


@pytest.mark.usefixtures("project")
def test_a_table_of_seeds_of_an_earlier_version_is_shown_as_far_as_it_goes() -> None:
    measure_everything()
    Path("metrics/seeds.csv").write_text("model,seed,test_accuracy\ncnn,0,0.9\ncnn,1,0.92\n")
    _, card = page_and_card()
    assert "91.00 ± 1.41 %" in card
    assert "90.0 % – 92.0 %" in card


@pytest.mark.usefixtures("project")
def test_what_was_measured_stands_there_as_measured() -> None:
    measure_everything()
    page, card = page_and_card()
    sentence = (
        "MobileNetV2 is better than the CNN: 5.5 points (4.3 to 6.7) on the same 100 test images; "
        "exact McNemar p < 0.0001."
    )
    for said in (Outline(page).words, words_of(card)):
        assert sentence in said
        assert "80.0 % (70.0 – 90.0)" in said
        assert "81.0 % (+1.0)" in said
        assert "50.0 % (−30.0)" in said
        assert "80.00 ± 1.00 %" in said
        assert "3 (3 stale)" in said
        assert "50 (100.0 %)" in said
        assert "on the first 60 test images" in said
        assert "1.500" in said
        assert "75.0 %" in said
        assert "not measured" not in said
        assert "2" * 32 in said
    words = Outline(page).words
    assert "The first 20 of 30 doubtful labels" in words
    assert "Of 200 training and validation images, 7 have a doubtful label" in words
    assert "Without them 96 remain." in words
    assert "read data/prepared/train.npz 11111111111111111111111111111111" in words


@pytest.mark.usefixtures("project")
def test_the_chosen_model_is_the_best_by_the_setting() -> None:
    assert Measurements().chosen.name == "mobilenet"
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("validation.accuracy\n", "validation.roc_auc\n"))
    assert Measurements().chosen.name == "baseline"
    assert "# Model card: least squares, gray pixels" in page_and_card()[1]


@pytest.mark.usefixtures("project")
def test_what_looks_at_the_test_images_is_said_and_what_it_costs() -> None:
    page, card = page_and_card()
    for said in (Outline(page).words, words_of(card)):
        assert "Acceptance looks at the test images: the gate in CI" in said
        # √(0.8 · 0.2 / 100) is 4 points, and the expected maximum of ten is 1.54 of them.
        assert "on 100 test images has a standard error of 4.0 points" in said
        assert "look up to 6.2 points better than it is" in said
        assert "a temperature that was fitted on the validation images" in said


@pytest.mark.parametrize(
    ("before", "now", "is_said"),
    [("", "", True), ("seed: 0", "seed: 1", False), ("[automobile,", "[cat,", False)],
)
@pytest.mark.usefixtures("project")
def test_the_cnn_is_said_to_be_flattered_by_the_split_that_flatters_it(
    before: str, now: str, is_said: bool
) -> None:
    measure_everything()
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace(before, now))
    page, card = page_and_card()
    for said in (Outline(page).words, words_of(card)):
        assert ("The CNN's 80.0 % of the validation images flatter it" in said) == is_said


@pytest.mark.parametrize(
    ("difference", "p", "kind", "said"),
    [
        (0.055, 1e-9, "better", "The CNN is better than MobileNetV2: 5.5 points (4.5 to 6.5) on"),
        (-0.055, 1e-9, "worse", "The CNN is worse than MobileNetV2: 5.5 points fewer (4.5 to 6.5)"),
        (0.004, 0.51, "no evidence", "There is no evidence of a difference between the CNN and"),
        (-0.004, 0.05, "no evidence", "MobileNetV2: −0.4 points (−1.4 to 0.6) on the same 2,000"),
        (0.0, 1.0, "no evidence", "0.0 points (−1.0 to 1.0)"),
    ],
)
def test_a_verdict_says_better_worse_or_no_evidence(
    difference: float, p: float, kind: str, said: str
) -> None:
    test = PairedDifference(difference, (difference - 0.01, difference + 0.01), p)
    found = kind_of(difference, p, alpha=0.05)
    assert found == kind
    assert said in sentence_on("the CNN", "MobileNetV2", test, found, images=2000)


def test_a_verdict_says_what_is_missing() -> None:
    test = PairedDifference.from_metrics({"accuracy_difference": 0.1, "mcnemar_p": 0.001})
    said = sentence_on("a", "b", test, "better", images=100)
    assert "10.0 points (interval not measured)" in said
    assert "p = 0.001." in said
    said = sentence_on("the CNN", "b", None, "not measured", images=100)
    assert said == "The CNN against b: not measured on the same images."


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    assert points(-0.0001) == "0.0"
    assert points(-0.01) == "−1.0"


def test_settings_are_written_as_in_the_file() -> None:
    values = ([32, 64], ["cat", "dog"], True, None, 0.001, "pypi")
    assert [param(value) for value in values] == [
        *("[32, 64]", "[cat, dog]", "true", "null", "0.001", "pypi")
    ]


@pytest.mark.usefixtures("project")
def test_odd_names_are_text_and_never_markup() -> None:
    measure_everything()
    odd = f"{SCRIPT} | `a` *b*"
    write("metrics/prepare.json", split_counts(("automobile", odd)))
    params = Path("params.yaml").read_text()
    params = params.replace("mobilenet: pypi", f'mobilenet: "{SCRIPT} `|` weights.pt"')
    Path("params.yaml").write_text(
        params.replace("mobilenet_sha256: null", f"mobilenet_sha256: {'a' * 64}")
    )
    draw("<b onload=x>.png")
    page, card = page_and_card()
    for html in (page, in_html(card)):
        outline = Outline(html)
        assert not {"script", "b"} & {tag for tag, _ in outline.tags}
        assert odd in outline.words
        assert f"{SCRIPT} `|` weights.pt" in outline.words
    assert not any(name.startswith("on") for _, attrs in Outline(page).tags for name in attrs)
    tables = in_html(card).split("<table>")[1:]
    for table in tables:
        rows = table.split("</table>")[0].split("<tr>")[1:]
        assert len({row.count("</td>") + row.count("</th>") for row in rows}) == 1


@pytest.mark.usefixtures("project")
def test_the_results_end_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    main(["results"])
    *table, compare_runs, try_it, compare = capsys.readouterr().out.splitlines()
    assert any("MobileNetV2" in line for line in table)
    targets = re.findall("make ([a-z]+)", compare_runs + compare)
    makefile = (ROOT / "Makefile").read_text()
    assert len(targets) == 2
    assert all(f"\n{target}: " in makefile for target in targets)
    assert "dvc exp run -S cnn.default.epochs=" in try_it
    assert max(map(len, (compare_runs, try_it, compare))) <= 80


@pytest.mark.usefixtures("project")
def test_the_model_card_has_all_headings() -> None:
    for _ in range(2):
        card = page_and_card()[1]
        headings = [line.lstrip("# ") for line in card.splitlines() if line.startswith("#")]
        assert [heading for heading in headings if heading in CARD_HEADINGS] == list(CARD_HEADINGS)
        measure_everything()


@pytest.mark.usefixtures("project")
def test_the_same_files_give_the_same_bytes() -> None:
    measure_everything()
    draw("samples.png")
    first = page_and_card()
    assert page_and_card() == first


@pytest.mark.usefixtures("project")
def test_the_model_card_is_the_same_in_every_commit() -> None:
    measure_everything()
    before = page_and_card()[1]
    commit = commit_all()
    page, card = page_and_card()
    assert commit in page
    assert card == before
    assert commit[:7] not in card


@pytest.mark.usefixtures("project")
def test_three_classes_are_asked_for_and_counted() -> None:
    write("metrics/prepare.json", split_counts(("cat", "dog", "ship")))
    page, card = page_and_card()
    assert "Cat, dog or ship?" in Outline(page).words
    assert "mean of the classes" in Outline(page).words
    assert "Pickup" not in card
    assert "probabilities [n, 3] of cat, dog and ship" in words_of(card)


@pytest.mark.usefixtures("project")
def test_settings_that_are_not_as_in_the_commit_stand_beside_it() -> None:
    measure_everything()
    write(".gitignore", "/report/\n")
    commit_all()
    page, _ = page_and_card()
    assert "in the commit" not in Outline(page).words
    assert "and nothing is changed" in Outline(page).words
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(params.replace("ridge: 0.0", "ridge: 12.5"))
    words = Outline(page_and_card()[0]).words
    assert "Not as in the commit: 1 setting;" in words
    assert "baseline.ridge 12.5 0.0" in words
    assert "with 1 changed file: params.yaml" in words
    assert "in no commit: the revision alone does not give these results" in words


@pytest.mark.usefixtures("project")
def test_files_that_do_not_belong_together_are_named() -> None:
    measure_everything()
    assert "may not belong together" not in page_and_card()[0]
    out = "    - path: metrics/prepare.json\n      hash: md5\n      md5: '0'\n"
    dep = "    - path: data/models/mobilenet.npz\n      hash: md5\n      md5: '0'\n"
    code = "    - path: stages/evaluate.py\n      hash: md5\n      md5: '0'\n"
    evaluate = f"  evaluate:\n    cmd: x\n    deps:\n{dep}{code}    outs:\n{out}"
    write("dvc.lock", LOCK.replace("epochs: 4", "epochs: 9") + evaluate)
    words = Outline(page_and_card()[0]).words
    assert "Some settings are not those which dvc.lock recorded: mobilenet.epochs." in words
    assert "Some results are not the files which dvc.lock recorded: metrics/prepare.json." in words
    assert "Some code is not that which ran: stages/evaluate.py." in words
    assert "had read them: data/models/mobilenet.npz." in words


@pytest.mark.usefixtures("project")
def test_every_picture_is_shown_known_ones_in_their_group() -> None:
    for name in ("samples.png", "cnn_mistakes.png", "accuracy.png", "new_idea.png"):
        draw(name)
    outline = Outline(page_and_card()[0])
    images = [attrs for tag, attrs in outline.tags if tag == "img"]
    assert len(images) == 4
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in images)
    assert all(
        image["alt"] and (image["width"], image["height"]) == ("40", "20") for image in images
    )
    assert "Mistakes of the CNN, the surest first." in outline.words
    assert "More pictures new_idea.png" in outline.words


@pytest.mark.usefixtures("project")
def test_headings_are_in_order_and_links_lead_somewhere() -> None:
    measure_everything()
    draw("samples.png")
    outline = Outline(page_and_card()[0])
    levels = [int(tag[1]) for tag, _ in outline.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    names = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(names) == len(set(names))
    links = [attrs["href"] or "" for tag, attrs in outline.tags if tag == "a"]
    assert len(links) > 12
    assert all(link.removeprefix("#") in names for link in links)
    assert outline.tags[0] == ("html", {"lang": "en"})


def test_numbers_without_a_name_here_are_shown_by_their_key(project: Path) -> None:
    evaluation = json.loads((project / "metrics/evaluate.json").read_text())
    evaluation["cnn"]["matthews_correlation"] = 0.654321
    write("metrics/evaluate.json", evaluation)
    words = Outline(page_and_card()[0]).words
    assert "matthews_correlation not measured 0.654 not measured" in words


def remove(path: str) -> Callable[[], None]:
    return lambda: Path(path).unlink()


def replace(path: str, content: Any) -> Callable[[], None]:
    return lambda: write(path, content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove("metrics/evaluate.json"), "metrics/evaluate.json: is missing; run `make repro`"),
        (remove("metrics/train_cnn.json"), "metrics/train_cnn.json: is missing"),
        (replace("metrics/evaluate.json", '{"cnn": '), "metrics/evaluate.json: is not JSON"),
        (replace("metrics/evaluate.json", "[]"), "metrics/evaluate.json: holds no object"),
        (
            replace("metrics/evaluate.json", {"cnn": 1}),
            "evaluate.json: baseline.accuracy: is missing",
        ),
        (replace("metrics/prepare.json", {"train": {}}), "prepare.json: train.images: is missing"),
        (replace("metrics/train_cnn.json", '{"train": {"accuracy": NaN}}'), "is not finite"),
        (replace("metrics/train_cnn.json", {"train": {"accuracy": "x"}}), "'x' is no number"),
        (
            replace("metrics/seeds.csv", f"{SEEDS_HEADER}cnn,0,x,0.9,0.9\n"),
            "seeds.csv: line 2: is c",
        ),
        (replace("metrics/label_issues.csv", "rank,split\n"), "label_issues.csv: has no column"),
        (replace("metrics/predictions.csv", f"{PREDICTIONS_HEADER}0,a,b\n"), "line 2: is"),
        (replace("metrics/figures/x.png", "no picture"), "metrics/figures/x.png: is no picture"),
        (replace("dvc.lock", "stages:\n  prepare:\n    outs: 3\n"), "dvc.lock: is not a lock file"),
        (lambda: Path("dvc.lock").write_bytes(b"\xff\xfe"), "dvc.lock: is not YAML"),
        (
            lambda: Path("metrics/seeds.csv").write_bytes(b"\xff\n1"),
            "seeds.csv: line 2: is cut off",
        ),
        (replace("params.yaml", "data: 1\n"), "params.yaml: sources: is missing"),
    ],
)
def test_a_missing_or_damaged_file_is_one_line_and_nothing_is_written(
    project: Path, damage: Callable[[], Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage()
    with pytest.raises(SystemExit) as stopped:
        main(["report"])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0]
    assert all(line.startswith("ERROR: ") for line in lines)
    assert not (project / PAGE).exists()
    assert not (project / CARD).exists()


@pytest.mark.parametrize("output", ["metrics", "", "params.yaml/report.html"])
@pytest.mark.usefixtures("project")
def test_a_path_that_cannot_be_written_is_named(
    output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("params.yaml").read_text()
    with pytest.raises(SystemExit):
        main(["report", "--output", output])
    assert re.search(r"is a folder|cannot be written", capsys.readouterr().err)
    assert not CARD.exists()
    assert Path("params.yaml").read_text() == before


def test_the_report_needs_neither_tensorflow_nor_mlflow() -> None:
    heavy = ("tensorflow", "mlflow", "sklearn", "scipy.stats", "matplotlib")
    modules = "stages.results.page, stages.results.report_tables"
    code = f"import sys, {modules}; print([m for m in {heavy} if m in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True
    )
    assert finished.stdout.strip() == "[]"
