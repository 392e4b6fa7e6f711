"""What stands at the head of a run's page, in Markdown, and in which order its metrics follow."""

from collections.abc import Mapping

from stages.tracking import tags
from stages.workflow.revisions import SHORT

FIRST = ("accuracy", "log_loss", "roc_auc", "brier")  # what people look for in a table of metrics
LOW, HIGH = "_ci_low", "_ci_high"  # ends of the interval of a metric, after its name
MOST_SHOWN = 8  # metrics


def sorted_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics in the order in which to log them: MLflow's page of a run keeps it.

    Those that people look for come first, validation before train before test; MLflow keeps the
    place of a metric, so what is logged later comes after, and epochs, which are logged while the
    stage runs, stay before.
    """
    splits = ("validation", "train", "test")

    def rank(name: str) -> tuple[int, int, str]:
        split, _, measure = name.rpartition(".")
        first = FIRST.index(measure) if measure in FIRST else len(FIRST)
        return first, splits.index(split) if split in splits else len(splits), name

    return {name: metrics[name] for name in sorted(metrics, key=rank)}


def of_run(seen: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """What a run is, of which revision, its main metrics with intervals, how to make it again.

    Args:
        seen: its tags.
        metrics: by name; shown are those that have an interval.
    """
    stage = seen[tags.STAGE]
    verb = "Made from files found" if tags.MADE_FROM in seen else "Computed"
    text = f"Stage `{stage}`. {verb} {_place(seen)}."
    rows = [
        f"| {name} | {value:.4f} | {metrics[name + LOW]:.4f} – {metrics[name + HIGH]:.4f} |"
        for name, value in sorted_metrics(metrics).items()
        if {name + LOW, name + HIGH} <= metrics.keys()
    ]
    if rows:
        head = ["| metric | value | 95 % interval |", "| --- | ---: | ---: |"]
        text += "\n\n" + "\n".join([*head, *rows[:MOST_SHOWN]])
    return f"{text}\n\nMake it again: {_command(seen, stage)}"


def of_summary(title: str, seen: Mapping[str, str], links: Mapping[str, str], gap: str) -> str:
    """What a summary run is, where the runs of its stages are, how to make the results again.

    Args:
        title: of the revision.
        seen: tags of the run.
        links: address of the run of each stage, by its name.
        gap: why there are no metrics; empty if there are.
    """
    stages = ", ".join(f"[{stage}]({link})" for stage, link in links.items())
    told = [f"All settings and the headline metrics of **{title}**, {_place(seen)}.", gap]
    told += [f"Runs of its stages: {stages}", f"Make it again: {_command(seen)}"]
    return "\n\n".join(filter(None, told))


def _place(seen: Mapping[str, str]) -> str:
    commit = seen.get(tags.COMMIT, "")
    place = f"at commit `{commit[:SHORT]}`" if commit else "where nothing was committed"
    if tags.EXPERIMENT in seen:
        return f"in DVC experiment `{seen[tags.EXPERIMENT]}`, which started {place}"
    return f"{place}, with changes that were not committed" if _is_dirty(seen) else place


def _command(seen: Mapping[str, str], stage: str = "") -> str:
    """The command that makes a result again, which DVC may take from its cache."""
    repro = f"dvc repro {stage}".strip()
    if tags.EXPERIMENT in seen:
        return f"`dvc exp apply {seen[tags.EXPERIMENT]} && {repro}`"
    if not seen.get(tags.COMMIT):
        return f"`{repro}`"
    more = ", with the same changes" if _is_dirty(seen) else ""
    return f"`git checkout {seen[tags.COMMIT][:SHORT]} && {repro}`{more}"


def _is_dirty(seen: Mapping[str, str]) -> bool:
    return seen.get(tags.DIRTY) == "true"
