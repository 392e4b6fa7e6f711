"""Transfer learning: the head first, then the upper blocks with it.

The lower blocks stay as pretrained. They are run once on each distinct input (an image and its
mirror image) and their outputs are kept in memory, so that an epoch costs the upper blocks alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.data.errors import UserError
from stages.data.splits import Split
from stages.models.mobilenet import Parts, build_pretrained, cut
from stages.models.network import (
    NetworkClassifier,
    keras,
    make_repeatable,
    predict_in_batches,
    probabilities,
)
from stages.models.training import Batches, EpochReport, compile_network, targets, train

if TYPE_CHECKING:
    from stages.workflow.params import MobilenetParams, TrainingParams

FEATURES_LIMIT_GIB = 2.0  # leaves the process below 3 GiB
GIB = 2**30


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning gives.

    Attributes:
        classifier: the whole network.
        curves: a row an epoch, those of the head first (see `training.train`).
        train_probabilities: float64 [n, classes] of the training images.
        validation_probabilities: float64 [n, classes] of the validation images.
    """

    classifier: NetworkClassifier
    curves: pd.DataFrame
    train_probabilities: np.ndarray
    validation_probabilities: np.ndarray


@dataclass(frozen=True)
class _Views:
    """What a part of the network gives for the images of a split, as they are and mirrored.

    Attributes:
        plain: [n, ...], any float dtype.
        mirrored: [n, ...], in the same order.
    """

    plain: np.ndarray
    mirrored: np.ndarray

    def through(self, part: keras.Model, name: str, dtype: type) -> "_Views":
        """What the next part gives for these."""
        title = f"{part.name}, {name}"
        return _Views(
            predict_in_batches(part, self.plain, dtype=dtype, progress=title),
            predict_in_batches(part, self.mirrored, dtype=dtype, progress=f"{title} (mirrored)"),
        )


def finetune(
    training: Split,
    validation: Split,
    classes: list[str],
    pretrained: dict[str, np.ndarray],
    params: "MobilenetParams",
    report: EpochReport,
) -> FineTuned:
    """Fine-tune the pretrained network.

    Args:
        training: images to learn from.
        validation: images on which each epoch is measured; nothing is learned from them.
        classes: names of the classes.
        pretrained: weights by `layer/weight` and `variant`, as `fetch_mobilenet` writes them.
        params: settings.
        report: called after each epoch.

    Raises:
        UserError: the outputs of the frozen blocks would not fit the memory limit.
    """
    make_repeatable(params.seed)
    network, settings = build_pretrained(
        pretrained, n_classes=len(classes), input_size=params.input_size, dropout=params.dropout
    )
    parts = cut(network, params.first_trainable_block)
    _check_memory(parts.frozen, len(training) + len(validation))

    learn_from, measure_on = (
        _Views(split.images, split.images[:, :, ::-1]).through(parts.frozen, name, np.float16)
        for name, split in (("train", training), ("validation", validation))
    )
    goals = [targets(split.labels, len(classes)) for split in (training, validation)]
    curves = _train_both(parts, (learn_from, goals[0]), (measure_on, goals[1]), params, report)
    classifier = NetworkClassifier(
        "mobilenet", classes, settings, network, params.average_with_mirror
    )
    return FineTuned(
        classifier,
        curves,
        _probabilities(parts, learn_from, params),
        _probabilities(parts, measure_on, params),
    )


def _check_memory(frozen: keras.Model, n_images: int) -> None:
    values = np.prod(frozen.output.shape[1:])
    needed = 2 * n_images * values * np.dtype(np.float16).itemsize / GIB
    if needed > FEATURES_LIMIT_GIB:
        raise UserError(
            f"params.yaml: mobilenet: the outputs of the frozen blocks need {needed:.1f} GiB, more "
            f"than {FEATURES_LIMIT_GIB:g}; raise mobilenet.first_trainable_block or lower "
            "mobilenet.input_size"
        )


def _train_both(
    parts: Parts,
    learn_from: tuple[_Views, np.ndarray],
    measure_on: tuple[_Views, np.ndarray],
    params: "MobilenetParams",
    report: EpochReport,
) -> pd.DataFrame:
    """Train the head on pooled features, then everything above the cut."""
    curves = []
    if params.head_epochs:
        head_params = params.model_copy(
            update={
                "epochs": params.head_epochs,
                "learning_rate": params.head_learning_rate,
                "weight_averaging": 0.0,
            }
        )
        pooled, pooled_validation = (
            (views.through(parts.upper, name, np.float32), goal)
            for name, (views, goal) in (("train", learn_from), ("validation", measure_on))
        )
        curves.append(_train(parts.head, pooled, pooled_validation, head_params, report, 0))
    curves.append(
        _train(parts.trainable, learn_from, measure_on, params, report, params.head_epochs)
    )
    return pd.concat(curves, ignore_index=True)


def _train(
    part: keras.Model,
    learn_from: tuple[_Views, np.ndarray],
    measure_on: tuple[_Views, np.ndarray],
    params: "MobilenetParams",
    report: EpochReport,
    epochs_before: int,
) -> pd.DataFrame:
    views, goals = learn_from

    def select(chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        batch = views.plain[chosen]
        if params.mirror:
            flip = generator.random(len(chosen)) < 0.5
            batch[flip] = views.mirrored[chosen[flip]]
        inputs: np.ndarray = batch.astype(np.float32)
        return inputs

    batches = Batches(select, goals, params.batch_size, params.seed)
    n_classes = max(goals.shape[1], 2)
    compile_network(part, params, n_classes, len(batches) * params.epochs)
    validation = (measure_on[0].plain.astype(np.float32), measure_on[1])
    return train(part, batches, validation, params, report, epochs_before=epochs_before)


def _probabilities(parts: Parts, views: _Views, params: "TrainingParams") -> np.ndarray:
    """Probabilities that the classifier gives, from the outputs of the frozen blocks."""
    logits = views.through(parts.trainable, "measuring", np.float32)
    if not params.average_with_mirror:
        return probabilities(logits.plain)
    return probabilities((logits.plain + logits.mirrored) / 2)
