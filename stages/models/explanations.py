"""What the networks see, as arrays from which pictures are drawn."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from sklearn.decomposition import PCA

from stages.data.splits import Split
from stages.models.cnn import response_maps
from stages.models.features import evidence, feature_maps
from stages.models.storage import Classifier
from stages.statistics.selection import sure_mistakes, unsure_hits

if TYPE_CHECKING:
    from stages.models.network import NetworkClassifier

EXPLAINED = 8  # mistakes, and as many hits
MAPPED = 400  # points that can still be told apart
FILTERS = 16  # of each layer, in a row


def explain(
    models: Mapping[str, Classifier], test: Split, probabilities: np.ndarray
) -> dict[str, np.ndarray]:
    """What the CNN's filters respond to an image, and what decides for MobileNet.

    Args:
        models: by name.
        test: the test split.
        probabilities: float [n, classes], MobileNet's predictions.

    Returns:
        `responses/<layer>`, float32 [16, height, width], of the CNN to the first test image;
        `evidence_positions`, int [m], of its surest mistakes and then its surest hits, and
        `evidence`, float32 [m, height, width], in logits (see `features.evidence`);
        `map_points`, float [n, 2], the first test images by their features in the plane of the
        first two principal components, and `map_variance`, [2], the shares of the variance there.
    """
    cnn, mobilenet = (
        cast("NetworkClassifier", models[name]).network for name in ("cnn", "mobilenet")
    )
    positions = np.concatenate(
        [
            sure_mistakes(test.labels, probabilities)[:EXPLAINED],
            unsure_hits(test.labels, probabilities)[::-1][:EXPLAINED],
        ]
    )
    predictions = probabilities[positions].argmax(axis=1)
    maps = evidence(mobilenet, feature_maps(mobilenet, test.images[positions]), predictions)
    features = feature_maps(mobilenet, test.images[:MAPPED]).mean(axis=(1, 2))
    components = PCA(2, svd_solver="full").fit(features)
    responses = response_maps(cnn, test.images[0])
    return {
        **{f"responses/{layer}": each[:FILTERS] for layer, each in responses.items()},
        "evidence_positions": positions,
        "evidence": maps,
        "map_points": components.transform(features),
        "map_variance": components.explained_variance_ratio_,
    }
