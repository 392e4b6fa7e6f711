"""The baseline's fit, by the normal equations, beside `numpy.linalg.lstsq`, in one run.

Usage: python -m benchmarks.least_squares (after make repro)

Both solve the same problem: gray pixels and a column of ones against targets of +1 and -1. Prints
the seconds of each (the median of RUNS, in turn), their ratio, and the largest difference between
the weights that they find.
"""

import statistics
import time

import numpy as np

from stages.data.splits import read_split
from stages.models.baseline import fit_least_squares, gray_pixels

RUNS = 3

training = read_split("train")
pixels = np.column_stack([gray_pixels(training.images), np.ones(len(training))])
targets = np.where(training.labels == 1, 1.0, -1.0)

by_cholesky: list[float] = []
by_svd: list[float] = []
for _ in range(RUNS):
    start = time.perf_counter()
    fitted = fit_least_squares(training.images, training.labels, ["0", "1"], ridge=0.0)
    by_cholesky.append(time.perf_counter() - start)
    start = time.perf_counter()
    weights, *_ = np.linalg.lstsq(pixels, targets, rcond=None)
    by_svd.append(time.perf_counter() - start)

fast, slow = statistics.median(by_cholesky), statistics.median(by_svd)
difference = np.abs(fitted.weights[:, 1] - weights[:-1]).max()
print(f"normal equations, pixels turned gray included: {fast:.2f} s")
print(f"numpy.linalg.lstsq: {slow:.2f} s, {slow / fast:.1f}× as long")
print(f"largest weight {np.abs(weights).max():.2f}, largest difference {difference:.1e}")
