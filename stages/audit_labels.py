"""Look for wrong labels among the training images. It informs: nothing is taken out of the data.

Reads the section `audit` of params.yaml, data/mobilenet_v2.npz and the splits train and validation.
Writes metrics/audit_labels.json and metrics/label_issues.csv: the images whose label is doubtful,
the least credible first.

A linear classifier on the features of the pretrained network, before any fine-tuning, predicts for
each image what the others teach it; confident learning tells from that which labels are not
credible.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.data.files import read_arrays, write_csv, write_json
from stages.data.splits import Split, read_split
from stages.models.features import pooled_features
from stages.statistics.label_quality import doubtful_labels, out_of_fold_probabilities

if TYPE_CHECKING:
    from stages.models.training import EpochReport
    from stages.workflow.params import Params

PRETRAINED = Path("data/mobilenet_v2.npz")
METRICS = Path("metrics/audit_labels.json")
ISSUES = Path("metrics/label_issues.csv")


def main(params: "Params", _report: "EpochReport") -> None:
    """Read, run the pretrained network, cross-validate, write."""
    splits = {name: read_split(name) for name in ("train", "validation")}
    labels = np.concatenate([split.labels for split in splits.values()])
    pretrained, size = read_arrays(PRETRAINED), params.audit.input_size
    features = pooled_features([split.images for split in splits.values()], pretrained, size)
    probabilities = out_of_fold_probabilities(features, labels, params.audit.folds)
    suspects = doubtful_labels(labels, probabilities)
    measured = {
        "images": len(labels),
        "out_of_fold_accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "flagged": len(suspects),
    }
    write_json(METRICS, measured)
    write_csv(ISSUES, issues_table(splits, probabilities, suspects))


def issues_table(
    splits: dict[str, Split],
    probabilities: np.ndarray,
    suspects: np.ndarray,
) -> pd.DataFrame:
    """The images whose label is doubtful.

    Args:
        splits: by name, in the order of the other arguments.
        probabilities: float [n, classes] of the images of all splits.
        suspects: int [m], their positions among the images of all splits.

    Returns:
        A row an image: rank from 1, split, index (see `Split.indices`), label, suggested class, and
        the probabilities of both.
    """
    names = np.array(splits["train"].classes)
    labels = np.concatenate([split.labels for split in splits.values()])[suspects]
    others = probabilities[suspects]
    others[np.arange(len(suspects)), labels] = 0
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(suspects) + 1),
            "split": np.repeat([*splits], [len(split) for split in splits.values()])[suspects],
            "index": np.concatenate([split.indices for split in splits.values()])[suspects],
            "label": names[labels],
            "suggested": names[others.argmax(axis=1)],
            "label_probability": probabilities[suspects, labels],
            "suggested_probability": others.max(axis=1),
        }
    )
