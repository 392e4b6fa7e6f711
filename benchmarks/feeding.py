"""Feeding a network from a `tf.data.Dataset` beside a Python generator, in one run.

Usage: python -m benchmarks.feeding (after make repro)

Trains the CNN of the pipeline for EPOCHS with the same batches in both ways, each in a process of
its own: a generator has TensorFlow 2.21 set malloc's M_TRIM_THRESHOLD to 128 kB for the whole
process ("Memory patch applied"). Prints the seconds an epoch of each, without the first, in which
the network is traced, and their ratio.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

EPOCHS = 3


def main() -> None:
    """Run both, or in a child process one of them."""
    if sys.argv[1:]:
        print(seconds_an_epoch(by_generator=sys.argv[1] == "generator"))
        return
    dataset, generator = (
        float(
            subprocess.check_output([sys.executable, "-m", "benchmarks.feeding", way]).split()[-1]
        )
        for way in ("dataset", "generator")
    )
    print(f"dataset: {dataset:.1f} s an epoch")
    print(f"Python generator: {generator:.1f} s an epoch, {generator / dataset:.1f}× as long")


def seconds_an_epoch(*, by_generator: bool) -> float:
    """Train, and take the time."""
    from stages.data.splits import read_split
    from stages.models.cnn import build_cnn
    from stages.models.training import Batches, compile_network, targets
    from stages.workflow.params import read_params

    training = read_split("train")
    recipe = read_params().cnn.default
    architecture = {"input", "filters", "kernel_sizes", "dense_units", "dropout", "batch_norm"}
    settings = recipe.model_dump(include=architecture)
    network = build_cnn(
        image_size=32, n_classes=2, pixel_mean=[0.5] * 3, pixel_std=[0.25] * 3, **settings
    )
    batches = Batches(
        lambda chosen, _: training.images[chosen],
        targets(training.labels, 2),
        recipe.batch_size,
        seed=0,
    )
    compile_network(network, recipe, EPOCHS * len(batches))

    def generated() -> Iterator[Any]:
        for step in range(len(batches)):
            yield batches.draw(step)

    start = 0.0
    for epoch in range(EPOCHS):
        if epoch == 1:
            start = time.perf_counter()
        feed = generated() if by_generator else batches.as_dataset()
        network.fit(feed, verbose=0, shuffle=False)
    return (time.perf_counter() - start) / (EPOCHS - 1)


if __name__ == "__main__":
    main()
