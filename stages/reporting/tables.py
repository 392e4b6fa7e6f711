"""The tables that people read, made from the metrics files; nothing in them is typed by hand."""

from pathlib import Path
from typing import Any

from stages.data.errors import UserError
from stages.data.files import file_hash, read_json
from stages.models.titles import TITLES
from stages.statistics.intervals import wilson
from stages.tracking.receipts import all_receipts

README = Path("README.md")
EVALUATION = Path("metrics/evaluate.json")
PREPARATION = Path("metrics/prepare.json")
SEEDS = Path("metrics/seeds.json")
TIMES = Path("benchmarks/time_to_accuracy.json")
TRAINING_STAGES = {
    "baseline": "train_baseline",
    "cnn": "train_cnn",
    "mobilenet": "finetune_mobilenet",
}
NOUNS = {  # as within a sentence
    "baseline": "the least-squares baseline",
    "cnn": "the CNN",
    "mobilenet": "MobileNetV2",
}
Rows = list[list[str]]


def results_rows() -> Rows:
    """A header, then a row a model: train, validation and test accuracy, seconds of training."""
    evaluation = read_json(EVALUATION)
    test_images = read_json(PREPARATION)["test"]["images"]
    rows = [["model", "train", "validation", "test (95 %)", "seconds"]]
    for model, stage in TRAINING_STAGES.items():
        training = read_json(Path("metrics") / f"{stage}.json")
        accuracy = evaluation[model]["accuracy"]
        rows.append(
            [
                TITLES[model],
                percent(training["train"]["accuracy"]),
                percent(training["validation"]["accuracy"]),
                f"{percent(accuracy)} ({_interval(accuracy, test_images)})",
                seconds_of(stage, Path(f"data/models/{model}.npz")),
            ]
        )
    return rows


def seconds_of(stage: str, model: Path) -> str:
    """Seconds that the run took which made this very model, or a dash if no receipt here knows."""
    if not model.exists():
        return "–"
    md5 = file_hash(model, "md5")
    for receipt in all_receipts():
        if receipt.stage == stage and receipt.outs.get(str(model)) == md5:
            return f"{receipt.seconds:.0f}"
    return "–"


def seeds_rows() -> Rows:
    """A header, then a row a model: mean, deviation and range of the accuracy over seeds."""
    rows = [["model", "seeds", "validation", "test", "lowest and highest test"]]
    for model, measured in read_json(SEEDS).items():
        validation, test = measured["validation_accuracy"], measured["test_accuracy"]
        rows.append(
            [
                TITLES[model],
                str(measured["n"]),
                _mean_and_deviation(validation, measured["n"]),
                _mean_and_deviation(test, measured["n"]),
                f"{percent(test['min'])} – {percent(test['max'])}" if measured["n"] > 1 else "–",
            ]
        )
    return rows


def time_rows() -> Rows:
    """A header, then a row a target: seconds of the script by hand and of the stage, ratio."""
    rows = [["test accuracy reached", "as written by hand", "here", "ratio"]]
    for measured in read_json(TIMES)["targets"]:
        by_hand, ours = measured["by_hand_seconds"], measured["here_seconds"]
        total = measured["by_hand_total_seconds"]
        told = f"{by_hand:.0f} s" if by_hand else f"not in {total:.0f} s"
        if ours is None:
            rows.append([measured["target"], told, "not reached", "–"])
            continue
        ratio = f"{by_hand / ours:.1f}×" if by_hand else f"> {total / ours:.1f}×"
        rows.append([measured["target"], told, f"{ours:.0f} s", ratio])
    return rows


def readme_with_tables() -> str:
    """The README with each table renewed for which it has markers.

    Raises:
        UserError: the README has no marker, or a file is missing.
    """
    text = README.read_text(encoding="utf-8")
    found = 0
    makers = {"results": results_rows_without_seconds, "seeds": seeds_rows, "times": time_rows}
    for name, make_rows in makers.items():
        begin, end = f"<!-- {name}: written by `make readme` -->", f"<!-- end of {name} -->"
        before, marker, rest = text.partition(begin)
        if marker:
            _, _, after = rest.partition(end)
            text = f"{before}{begin}\n{_markdown(make_rows())}\n{end}{after}"
            found += 1
    if not found:
        raise UserError(f"{README}: has no marker such as {begin}; put it where the table belongs")
    return text


def results_rows_without_seconds() -> Rows:
    """The results table without its last column, which differs from machine to machine."""
    return [row[:-1] for row in results_rows()]


def _markdown(rows: Rows) -> str:
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))


def _interval(accuracy: float, n: int) -> str:
    low, high = wilson(round(accuracy * n), n)
    return f"{100 * low:.1f} – {100 * high:.1f}"


def _mean_and_deviation(measured: dict[str, Any], n: int) -> str:
    deviation = f" ± {100 * measured['std']:.2f}" if n > 1 else ""  # one seed has none
    return f"{100 * measured['mean']:.2f}{deviation} %"


def percent(share: float, decimals: int = 1) -> str:
    """A share as per cent."""
    return f"{100 * share:.{decimals}f} %"
