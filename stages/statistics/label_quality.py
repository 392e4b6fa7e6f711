"""Which labels are doubtful, by a model that has not seen the image in question."""

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stages.data.errors import UserError

# Inverse of the L2 penalty; of 0.0001 to 0.1 in steps of ten it gives the lowest log loss out of
# fold.
REGULARIZATION = 0.01
SEED = 0


def out_of_fold_probabilities(features: np.ndarray, labels: np.ndarray, folds: int) -> np.ndarray:
    """What a logistic regression says of each image that was fitted on the other folds.

    Args:
        features: float [n, features].
        labels: int [n], each class at least `folds` times.
        folds: 2 or more.

    Returns:
        float64 [n, classes].

    Raises:
        UserError: a class has fewer images than there are folds.
    """
    fewest = int(np.bincount(labels).min())
    if fewest < folds:
        raise UserError(
            f"params.yaml: audit.folds: {folds} is more than the {fewest} training images of a "
            "class; lower it, or raise data.limit_per_class"
        )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=1000))
    splits = StratifiedKFold(folds, shuffle=True, random_state=SEED)
    probabilities: np.ndarray = cross_val_predict(
        model, features.astype(np.float64), labels, cv=splits, method="predict_proba"
    )
    return probabilities


def doubtful_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Images whose label is doubtful, the least credible first.

    Confident learning, as cleanlab does it: how often one class bears the name of another is
    estimated from the predictions that are surer than the class's mean, and so many are named (C.
    Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021).

    Args:
        labels: int [n].
        probabilities: float [n, classes], out of fold.

    Returns:
        int [m], positions of the images.
    """
    found: np.ndarray = find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return found
