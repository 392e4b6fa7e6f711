"""From CIFAR-10 to splits, and the promises that the splits keep."""

import numpy as np
from sklearn.model_selection import train_test_split

from stages.data.cifar10 import CLASS_NAMES, Cifar10
from stages.data.errors import UserError
from stages.data.splits import Split


def make_splits(
    cifar10: Cifar10,
    classes: list[str],
    validation_fraction: float,
    limit_per_class: int | None,
    seed: int,
) -> dict[str, Split]:
    """Pick the classes and cut the validation split from the training images, class by class.

    Args:
        cifar10: all of CIFAR-10.
        classes: names of the classes; a label is a position in this list.
        validation_fraction: share of the training images that is set aside.
        limit_per_class: use at most so many training and test images of each class.
        seed: of the choice of images.

    Returns:
        The splits by their name, each in CIFAR-10's order.

    Raises:
        UserError: there would be fewer validation images than classes.
    """
    training = _pick(cifar10.train_images, cifar10.train_labels, classes, limit_per_class, seed)
    test = _pick(cifar10.test_images, cifar10.test_labels, classes, limit_per_class, seed)
    if round(validation_fraction * len(training)) < len(classes):
        raise UserError(
            f"params.yaml: data.validation_fraction: {validation_fraction} of {len(training)} "
            f"training images is fewer than one for each of {len(classes)} classes; raise it or "
            "data.limit_per_class"
        )
    learn, choose = train_test_split(
        np.arange(len(training)),
        test_size=validation_fraction,
        stratify=training.labels,
        random_state=seed,
    )
    return {
        "train": _subset(training, learn),
        "validation": _subset(training, choose),
        "test": test,
    }


def _pick(
    images: np.ndarray, labels: np.ndarray, classes: list[str], limit: int | None, seed: int
) -> Split:
    generator = np.random.default_rng(seed)
    published = [CLASS_NAMES.index(name) for name in classes]
    positions = [
        generator.permutation(np.flatnonzero(labels == each))[:limit] for each in published
    ]
    chosen = np.sort(np.concatenate(positions))
    label_of = np.full(len(CLASS_NAMES), -1)
    label_of[published] = np.arange(len(classes))
    return Split(images[chosen], label_of[labels[chosen]], chosen)


def _subset(split: Split, positions: np.ndarray) -> Split:
    chosen = np.sort(positions)
    return Split(split.images[chosen], split.labels[chosen], split.indices[chosen])


def check_promises(splits: dict[str, Split], classes: list[str]) -> None:
    """Check what the models and the measures rely on.

    Raises:
        UserError: the first promise that is broken, and where.
    """
    for name, split in splits.items():
        shape = (len(split), 32, 32, 3)
        if split.images.shape != shape or split.images.dtype != np.uint8:
            got = f"{split.images.dtype} {list(split.images.shape)}"
            raise _broken(name, f"images are {got}, not uint8 {list(shape)}")
        if len(split.images) and split.images.min() == split.images.max():
            raise _broken(name, "all pixels have one value")
        counts = np.bincount(split.labels, minlength=len(classes))
        if len(counts) > len(classes) or counts.max() - counts.min() > 1:
            of_each = dict(zip(classes, counts.tolist(), strict=False))
            raise _broken(name, f"the classes are not balanced: {of_each}")
    repeated = exact_duplicates(splits)
    if repeated:
        (first, i), (second, j) = repeated[0]
        raise _broken(
            f"{first} and {second}",
            f"{len(repeated)} images are in both, as number {i} of {first} and {j} of {second}",
        )


def _broken(where: str, what: str) -> UserError:
    return UserError(
        f"data/cifar10.npz: a promise of the data is broken in {where}: {what}; "
        "delete the file and run `dvc repro`, or choose other data.classes"
    )


def exact_duplicates(splits: dict[str, Split]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Pairs of equal images in different splits, as (name of the split, position)."""
    seen: dict[bytes, tuple[str, int]] = {}
    pairs = []
    for name, split in splits.items():
        for position, image in enumerate(split.images):
            first = seen.setdefault(image.tobytes(), (name, position))
            if first[0] != name:
                pairs.append((first, (name, position)))
    return pairs
