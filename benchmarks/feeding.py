"""Three ways to feed a network, in one run: the pipeline's, the same tuned, a Python generator.

Usage: python -m benchmarks.feeding (after make repro)

Trains the CNN of the pipeline for EPOCHS with the same batches in each way, in a process of its
own. A generator has TensorFlow 2.21 set malloc's M_TRIM_THRESHOLD to 128 kB for the whole process
("Memory patch applied"). A dataset that is tuned, as by default, has a thread that sleeps between
two looks, twice as long each time, up to a minute; often whoever ends the dataset waits for it, as
it misses that it is to end. Prints the seconds an epoch, without the first, in which the network is
traced, and how many times that of the first way.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

EPOCHS = 3
WAYS = ("dataset", "tuned dataset", "generator")


def main() -> None:
    """Run all, or in a child process one of them."""
    if sys.argv[1:]:
        print(seconds_an_epoch(sys.argv[1]))
        return
    seconds = {}
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.feeding", way]
        seconds[way] = float(subprocess.check_output(command).split()[-1])
        ratio = seconds[way] / seconds[WAYS[0]]
        print(f"{way}: {seconds[way]:.1f} s an epoch, {ratio:.1f}× as long")


def seconds_an_epoch(way: str) -> float:
    """Train, and take the time."""
    from stages.data.splits import read_split
    from stages.models.cnn import build_cnn
    from stages.models.network import tf
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

    tuning = tf.data.Options()
    tuning.autotune.enabled = True
    start = 0.0
    for epoch in range(EPOCHS):
        if epoch == 1:
            start = time.perf_counter()
        feed = batches.as_dataset()
        if way == "generator":
            feed = generated()
        elif way == "tuned dataset":
            feed = feed.with_options(tuning)
        network.fit(feed, verbose=0, shuffle=False)
    return (time.perf_counter() - start) / (EPOCHS - 1)


if __name__ == "__main__":
    main()
