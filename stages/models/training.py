"""How both networks are trained: targets, loss, optimizer, batches, epochs."""

import math
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.data.errors import UserError
from stages.data.progress import Progress
from stages.models.checkpoints import Checkpoints, State
from stages.models.network import keras, output_units, tf

if TYPE_CHECKING:
    from stages.workflow.params import TrainingParams

EpochReport = Callable[[int, dict[str, float]], None]
SGD_MOMENTUM = 0.9
VALIDATION_BATCH = 250
AVERAGED_TIMES = 5  # a training has so many times the steps that its average of the weights spans


def targets(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Targets of the loss, float32 [n, output_units], for labels int [n]."""
    if output_units(n_classes) == 1:
        positive: np.ndarray = labels[:, None].astype(np.float32)
        return positive
    one_hot: np.ndarray = np.eye(n_classes, dtype=np.float32)[labels]
    return one_hot


class Batches:
    """Batches in a new order each epoch, each drawn and augmented from one seeded `generator`."""

    def __init__(
        self,
        select: Callable[[np.ndarray, np.random.Generator], np.ndarray],
        targets: np.ndarray,
        batch_size: int,
        seed: int,
    ) -> None:
        """Prepare the first epoch.

        Args:
            select: gives the network's inputs for some indices, augmented with the generator.
            targets: float32 [n, output_units].
            batch_size: images a step; the last batch of an epoch may be smaller.
            seed: of the order and the augmentation.
        """
        self._select = select
        self._targets = targets
        self._batch_size = batch_size
        self.generator = np.random.default_rng(seed)
        self._order = np.arange(len(targets))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self._targets) / self._batch_size)

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of a step, to be called for each step in turn; 0 begins an epoch."""
        if step == 0:
            self._order = self.generator.permutation(len(self._targets))
        chosen = self._order[step * self._batch_size : (step + 1) * self._batch_size]
        return self._select(chosen, self.generator), self._targets[chosen]

    def as_dataset(self) -> tf.data.Dataset:
        """The batches in the form that Keras takes, an epoch each time it is gone through.

        Not a Python generator, nor keras.utils.PyDataset, which is one underneath: with either,
        TensorFlow 2.21 sets malloc's M_TRIM_THRESHOLD, memory goes back to the system at every
        step, and an epoch of the CNN takes 1.3 to 1.5 times as long (benchmarks/feeding.py).
        """
        example = self._select(np.arange(1), np.random.default_rng(0))

        def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            dtypes = (example.dtype, self._targets.dtype)
            inputs, goals = tf.numpy_function(self.draw, [step], dtypes)
            shapes = (example.shape[1:], self._targets.shape[1:])
            return tuple(
                tf.ensure_shape(drawn, (None, *shape))
                for drawn, shape in zip((inputs, goals), shapes, strict=True)
            )

        return _untuned(tf.data.Dataset.range(len(self)).map(batch).prefetch(1))


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """A dataset without the thread that tunes it: ours have nothing to tune.

    That thread sleeps for up to a minute, and TensorFlow 2.21 often lets the end of a training wait
    for it (benchmarks/feeding.py).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def compile_network(network: keras.Model, settings: "TrainingParams", steps: int) -> None:
    """Give a network its loss (cross-entropy) and optimizer.

    Args:
        network: with logits as output.
        settings: of the training.
        steps: length of the whole training, in batches, over which the learning rate changes.
    """
    binary = network.output.shape[-1] == 1
    losses = keras.losses
    loss_class = losses.BinaryCrossentropy if binary else losses.CategoricalCrossentropy
    network.compile(
        loss=loss_class(from_logits=True, label_smoothing=settings.label_smoothing),
        optimizer=_optimizer(settings, steps),
        metrics=[
            keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)
            if binary
            else keras.metrics.CategoricalAccuracy("accuracy")
        ],
    )
    # Keras would make its variables within the first step, and trace the step once more for it.
    network.optimizer.build(network.trainable_variables)


def _optimizer(settings: "TrainingParams", steps: int) -> keras.optimizers.Optimizer:
    arguments = {"weight_decay": settings.weight_decay or None}
    if settings.weight_averaging:
        # A long average of few steps would still hold most of the first weights.
        momentum = min(settings.weight_averaging, max(1 - AVERAGED_TIMES / steps, 0.0))
        arguments |= {"use_ema": True, "ema_momentum": momentum}
    rate = _learning_rate(settings, steps)
    match settings.optimizer:
        case "rmsprop":
            return keras.optimizers.RMSprop(rate, **arguments)
        case "adamw":
            return keras.optimizers.AdamW(rate, **arguments)
        case "sgd":
            return keras.optimizers.SGD(rate, momentum=SGD_MOMENTUM, nesterov=True, **arguments)


def _learning_rate(
    settings: "TrainingParams", steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    rising = round(settings.warmup * steps)
    falling = max(steps - rising, 1)
    end = 0.0 if settings.schedule == "cosine" else 1.0  # as a share of the highest rate
    if not rising and end:
        return settings.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rising else settings.learning_rate,
        decay_steps=falling,
        alpha=end,
        warmup_target=settings.learning_rate if rising else None,
        warmup_steps=rising,
    )


def train(
    network: keras.Model,
    batches: Batches,
    validation: tuple[np.ndarray, np.ndarray],
    settings: "TrainingParams",
    report: EpochReport,
    *,
    class_weights: np.ndarray | None = None,
    epochs_before: int = 0,
    checkpoints: Checkpoints | None = None,
) -> pd.DataFrame:
    """Train a compiled network; with weight averaging it ends with the averaged weights.

    Args:
        network: compiled by `compile_network`.
        batches: the training images.
        validation: inputs and targets on which each epoch is measured.
        settings: of the training.
        report: called after each epoch with its number from 1 and its measures.
        class_weights: float64 [classes], how much an image of each counts; None for one each.
        epochs_before: epochs of an earlier phase, from which the numbers go on.
        checkpoints: from which it goes on, and to which it writes after each epoch, if any.

    Returns:
        A row an epoch: epoch, train_loss and train_accuracy (as trained, with augmentation and
        dropout), validation_loss, validation_accuracy.

    Raises:
        UserError: the loss became infinite or not a number.
    """
    done = checkpoints.read(network) if checkpoints else None
    rows: list[dict[str, float]] = []

    def tell(row: dict[str, float]) -> None:
        rows.append(row)
        report(int(row["epoch"]), {name: row[name] for name in row if name != "epoch"})

    def record(epoch: int, logs: dict[str, float]) -> None:
        measures = {
            f"{split}_{name}": float(logs[prefix + name])
            for split, prefix in (("train", ""), ("validation", "val_"))
            for name in ("loss", "accuracy")
        }
        number = epochs_before + epoch + 1
        broken = [name for name, value in measures.items() if not math.isfinite(value)]
        if broken:
            raise UserError(
                f"the training diverged: in epoch {number} {broken[0]} is {measures[broken[0]]}; "
                f"lower the learning rate of this stage in params.yaml, {settings.learning_rate}"
            )
        progress.clear()
        tell({"epoch": number, **measures})
        if checkpoints:
            checkpoints.write(network, State(rows, batches.generator.bit_generator.state))

    if done:
        batches.generator.bit_generator.state = done.generator
        told = f"{network.name} goes on after {len(done.epochs)} of {settings.epochs} epochs"
        print(f"{told}, as it was interrupted", file=sys.stderr)
        for row in done.epochs:
            tell(row)
    remaining = (settings.epochs - len(rows)) * len(batches)
    with closing(Progress("training", remaining, "batches")) as progress:
        callbacks = [
            keras.callbacks.LambdaCallback(
                on_epoch_end=record, on_train_batch_end=lambda _batch, **_logs: progress.update(1)
            )
        ]
        if settings.weight_averaging:
            callbacks.append(keras.callbacks.SwapEMAWeights())  # in place whenever it is measured
        network.fit(
            batches.as_dataset(),
            epochs=settings.epochs,
            initial_epoch=len(rows),
            validation_data=_untuned(
                tf.data.Dataset.from_tensor_slices(validation).batch(VALIDATION_BATCH)
            ),
            class_weight=None if class_weights is None else dict(enumerate(class_weights)),
            callbacks=callbacks,
            verbose=0,
            shuffle=False,  # `Batches` draws the order
        )
    return pd.DataFrame(rows)
