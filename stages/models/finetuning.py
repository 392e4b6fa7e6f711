"""Transfer learning: the head first, then the upper blocks with it.

The lower blocks stay as pretrained. They are run once on each distinct input (an image and its
mirror image) and their outputs are kept, so that an epoch costs the upper blocks alone.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.data.splits import Split
from stages.models.calibration import calibration
from stages.models.checkpoints import Checkpoints
from stages.models.mobilenet import build_pretrained, cut
from stages.models.network import (
    NetworkClassifier,
    class_scores,
    keras,
    make_repeatable,
    predict_in_batches,
)
from stages.models.temperature import probabilities
from stages.models.training import Batches, EpochReport, compile_network, targets, train

if TYPE_CHECKING:
    from stages.workflow.params import MobilenetParams


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
class _Inputs:
    """What a part of the network is given for the images of a split.

    Attributes:
        split: its name.
        targets: float32 [n, output_units].
        plain: [n, ...], any float dtype, of the images as they are.
        mirrored: [n, ...], in the same order, of their mirror images.
    """

    split: str
    targets: np.ndarray
    plain: np.ndarray
    mirrored: np.ndarray

    def through(self, part: keras.Model, dtype: type = np.float32) -> "_Inputs":
        """What the part gives, which the next part is given."""
        title = f"{part.name}, {self.split}"
        return replace(
            self,
            plain=predict_in_batches(part, self.plain, dtype=dtype, progress=title),
            mirrored=predict_in_batches(
                part, self.mirrored, dtype=dtype, progress=f"{title} (mirrored)"
            ),
        )


def finetune(
    training: Split,
    validation: Split,
    pretrained: dict[str, np.ndarray],
    params: "MobilenetParams",
    report: EpochReport,
    class_weights: np.ndarray | None,
    checkpoints: Checkpoints | None = None,
) -> FineTuned:
    """Fine-tune the pretrained network.

    Args:
        training: images to learn from.
        validation: images on which each epoch is measured; from them the temperature alone is
            learned.
        pretrained: weights by `layer/weight` and `variant`, as `fetch_mobilenet` writes them.
        params: settings.
        report: called after each epoch.
        class_weights: float64 [classes], how much an image of each counts; None for one each.
        checkpoints: of both phases, if they are to go on where they were interrupted.

    Raises:
        UserError: the disk has no room for the outputs of the frozen blocks.
    """
    make_repeatable(params.seed)
    classes = training.classes
    network, settings = build_pretrained(
        pretrained,
        photo_size=training.photo_size,
        input_size=params.input_size,
        n_classes=len(classes),
        dropout=params.dropout,
    )
    parts = cut(network, params.first_trainable_block)

    learn_from, measure_on = (
        _Inputs(
            name, targets(split.labels, len(classes)), split.images, split.images[:, :, ::-1]
        ).through(parts.frozen, np.float16)
        for name, split in (("train", training), ("validation", validation))
    )
    curves = []
    if params.head_epochs:
        head_params = params.model_copy(
            update={
                "epochs": params.head_epochs,
                "learning_rate": params.head_learning_rate,
                "weight_averaging": 0.0,
            }
        )
        pooled, pooled_validation = (each.through(parts.upper) for each in (learn_from, measure_on))
        curves.append(
            _train(
                *(parts.head, pooled, pooled_validation, head_params, report),
                *(class_weights, checkpoints),
            )
        )
    curves.append(
        _train(
            *(parts.trainable, learn_from, measure_on, params, report, class_weights, checkpoints),
            epochs_before=params.head_epochs,
        )
    )
    mirror = params.average_with_mirror
    scores, validation_scores = (
        _scores(parts.trainable, each, mirrored=mirror) for each in (learn_from, measure_on)
    )
    chosen = calibration(validation_scores, validation.labels)
    return FineTuned(
        NetworkClassifier(
            *("mobilenet", classes, settings, network, mirror, training.photo_size), **chosen
        ),
        pd.concat(curves, ignore_index=True),
        probabilities(scores, chosen["temperature"]),
        probabilities(validation_scores, chosen["temperature"]),
    )


def _train(
    part: keras.Model,
    learn_from: _Inputs,
    measure_on: _Inputs,
    params: "MobilenetParams",
    report: EpochReport,
    class_weights: np.ndarray | None,
    checkpoints: Checkpoints | None,
    *,
    epochs_before: int = 0,
) -> pd.DataFrame:
    def select(chosen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        batch = learn_from.plain[chosen]
        if params.mirror:
            flip = generator.random(len(chosen)) < 0.5
            batch[flip] = learn_from.mirrored[chosen[flip]]
        inputs: np.ndarray = batch.astype(np.float32)
        return inputs

    batches = Batches(select, learn_from.targets, params.batch_size, params.seed)
    compile_network(part, params, len(batches) * params.epochs)
    validation = (measure_on.plain.astype(np.float32), measure_on.targets)
    return train(
        *(part, batches, validation, params, report),
        class_weights=class_weights,
        epochs_before=epochs_before,
        checkpoints=checkpoints,
    )


def _scores(trainable: keras.Model, inputs: _Inputs, *, mirrored: bool) -> np.ndarray:
    """Scores that the classifier gives, from the outputs of the frozen blocks."""
    logits = inputs.through(trainable)
    mean = (logits.plain + logits.mirrored) / 2 if mirrored else logits.plain
    return class_scores(mean)
