"""From images to splits, and the promises that the splits keep."""

from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

from stages.data.cifar10 import CLASS_NAMES, Cifar10
from stages.data.errors import UserError
from stages.data.grouping import digests
from stages.data.splits import Split, limited

if TYPE_CHECKING:
    from stages.workflow.params import DataParams


def chosen_images(
    cifar10: Cifar10, classes: list[str], limit_per_class: int | None, seed: int
) -> tuple[Split, np.ndarray]:
    """The images of some classes: the training images, then the test images, in CIFAR-10's order.

    Args:
        cifar10: all of it.
        classes: their names; a label is a position in this list.
        limit_per_class: use at most so many training and so many test images of each class.
        seed: of the choice of images.

    Returns:
        The images, and bool [n], which are test images.

    Raises:
        UserError: the classes are not equally frequent, as CIFAR-10's are.
    """
    published = [CLASS_NAMES.index(name) for name in classes]
    label_of = np.full(len(CLASS_NAMES), -1)
    label_of[published] = np.arange(len(classes))
    parts = []
    for images, labels in (
        (cifar10.train_images, label_of[cifar10.train_labels]),
        (cifar10.test_images, label_of[cifar10.test_labels]),
    ):
        counts = np.bincount(labels[labels >= 0], minlength=len(classes))
        if len(set(counts.tolist())) > 1:
            of_each = dict(zip(classes, counts.tolist(), strict=True))
            raise UserError(
                f"data/cifar10.npz: the classes are not balanced: {of_each}; delete the file and "
                "run `dvc repro`"
            )
        chosen = limited(labels, len(classes), limit_per_class, seed)
        parts.append(Split(images[chosen], labels[chosen], chosen, classes))
    train, test = parts
    both = Split(
        np.concatenate([train.images, test.images]),
        np.concatenate([train.labels, test.labels]),
        np.concatenate([train.indices, test.indices]),
        classes,
    )
    return both, np.arange(len(both)) >= len(train)


def make_splits(
    images: Split, is_test: np.ndarray | None, groups: np.ndarray, params: "DataParams"
) -> dict[str, Split]:
    """Cut the validation split from the training images, and the test split if there is none.

    Both are cut class by class, and groups stay whole. Where test images were given, training
    images of their groups are left out.

    Args:
        images: all that are to be split.
        is_test: bool [n], which are the test images; None if these are to be cut, too.
        groups: int [n], images with the same number belong together.
        params: fractions and the seed.

    Returns:
        The splits by their name, each in the order of the images.

    Raises:
        UserError: there are too few images, or a split would have none of a class.
    """
    if is_test is None:
        training, test = _cut(images, np.arange(len(images)), groups, "test_fraction", params)
    else:
        test = np.flatnonzero(is_test)
        training = np.flatnonzero(~is_test & ~np.isin(groups, groups[test]))
        left = np.bincount(images.labels[training], minlength=len(images.classes))
        if not left.all():
            raise UserError(
                f"all training images of {images.classes[left.argmin()]!r} are equal to test "
                "images or of their group (data.group_pattern); give others"
            )
    training, validation = _cut(images, training, groups, "validation_fraction", params)
    positions = {"train": training, "validation": validation, "test": test}
    return {name: images.take(chosen) for name, chosen in positions.items()}


def _cut(
    images: Split, positions: np.ndarray, groups: np.ndarray, key: str, params: "DataParams"
) -> tuple[np.ndarray, np.ndarray]:
    """What stays and what is cut off, int [n], rising: a share of the groups, of any size."""
    fraction: float = getattr(params, key)
    labels = images.labels[positions]
    _, firsts, group = np.unique(groups[positions], return_index=True, return_inverse=True)
    n_classes = len(images.classes)
    if round(fraction * len(positions)) < n_classes:
        raise UserError(
            f"params.yaml: data.{key}: {fraction} of {len(positions)} images is fewer than one for "
            f"each of {n_classes} classes; raise it or data.limit_per_class, or give more images"
        )
    try:
        _, cut = train_test_split(
            np.arange(len(firsts)),
            test_size=fraction,
            stratify=labels[firsts],
            random_state=params.seed,
        )
    except ValueError as error:
        raise UserError(
            f"params.yaml: data.{key}: {fraction} cannot be cut ({error}); give more images"
        ) from error
    is_cut = np.isin(group, cut)
    for chosen in (~is_cut, is_cut):
        counts = np.bincount(labels[chosen], minlength=n_classes)
        if not counts.all():
            name = images.classes[counts.argmin()]
            raise UserError(
                f"params.yaml: data.{key}: {fraction} leaves a split without any {name!r}, as "
                "images that belong together stay together; give more images or another data.seed"
            )
    return positions[~is_cut], positions[is_cut]


def uneven_shares(splits: dict[str, Split], params: "DataParams", *, is_cut: bool) -> list[str]:
    """Of which shares groups have made something else than was asked, a sentence each.

    Args:
        splits: as `make_splits` gives them.
        params: fractions that were asked.
        is_cut: whether the test split was cut, too, and not given.
    """
    test, validation, train = (len(splits[name]) for name in ("test", "validation", "train"))
    shares = {"validation_fraction": validation / (validation + train)}
    if is_cut:
        shares["test_fraction"] = test / (test + validation + train)
    return [
        f"data.{key}: {asked} is asked, it is {share:.2f}, as images that belong together stay so"
        for key, share in shares.items()
        for asked in [getattr(params, key)]
        if abs(share - asked) > asked / 4
    ]


def check_promises(splits: dict[str, Split]) -> None:
    """Check what the models and the measures rely on.

    Raises:
        UserError: the first promise that is broken, and where.
    """
    for name, split in splits.items():
        side = split.photo_size
        shape = (len(split), side, side, 3)
        if split.images.shape != shape or split.images.dtype != np.uint8:
            got = f"{split.images.dtype} {list(split.images.shape)}"
            raise _broken(name, f"images are {got}, not uint8 {list(shape)}")
        if len(split.images) and split.images.min() == split.images.max():
            raise _broken(name, "all pixels have one value")
        counts = np.bincount(split.labels, minlength=len(split.classes))
        if len(counts) > len(split.classes) or not counts.all():
            of_each = dict(zip(split.classes, counts.tolist(), strict=False))
            raise _broken(name, f"a class has no images, or a label no class: {of_each}")
    repeated = exact_duplicates(splits)
    if repeated:
        (first, i), (second, j) = repeated[0]
        raise _broken(
            f"{first} and {second}",
            f"{len(repeated)} images are in both, as number {i} of {first} and {j} of {second}",
        )


def _broken(where: str, what: str) -> UserError:
    return UserError(
        f"data: a promise of the data is broken in {where}: {what}; choose other data.classes or "
        "photos; of CIFAR-10 delete data/cifar10.npz and run `dvc repro`"
    )


def exact_duplicates(splits: dict[str, Split]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    """Pairs of equal images in different splits, as (name of the split, position)."""
    seen: dict[bytes, tuple[str, int]] = {}
    pairs = []
    for name, split in splits.items():
        for position, image in enumerate(digests(split.images)):
            first = seen.setdefault(image, (name, position))
            if first[0] != name:
                pairs.append((first, (name, position)))
    return pairs
