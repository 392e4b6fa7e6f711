"""The evidence for a class in one photo, as a picture without words."""

import numpy as np
from matplotlib.figure import Figure

from stages.figures.photos import PHOTO, overlay, show
from stages.figures.style import styled


@styled
def evidence_picture(photo: np.ndarray, evidence: np.ndarray) -> Figure:
    """A photo's gray copy with the evidence laid over it, as in `photos.evidence_grid`.

    Args:
        photo: uint8 [height, width, 3].
        evidence: float [rows, columns] in logits.
    """
    figure = Figure((PHOTO, PHOTO))
    axis = figure.add_axes((0, 0, 1, 1), xlim=(0, PHOTO), ylim=(PHOTO, 0))
    axis.set_axis_off()
    show(axis, photo.mean(axis=2), (0, 0), cmap="gray", vmin=0, vmax=255)
    overlay(axis, evidence, (0, 0), float(np.abs(evidence).max()) or 1.0)
    return figure
