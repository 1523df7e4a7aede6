"""Whether the labels of a picture set are what a conditional generator needs."""

import numpy as np
from numpy.typing import NDArray

from ganlet.data.pictures import PictureSet
from ganlet.errors import GanletError


def require_classes(pictures: PictureSet, trained_on: NDArray[np.int64], classes: int) -> None:
    """Raise GanletError unless the set has labels of `classes` classes, each with pictures among `trained_on`."""
    labels = pictures.labels
    if labels is None:
        raise GanletError(
            f"The generator has {classes} classes, but the pictures of {pictures.source} have no labels; put them into "
            "a sub-folder for each class, or leave classes out."
        )
    there = len(pictures.label_names) or int(labels.max()) + 1
    if there != classes:
        raise GanletError(
            f"The generator has {classes} classes, but the pictures are of {there}; set teacher.classes = {there}."
        )
    empty = np.flatnonzero(np.bincount(labels[trained_on], minlength=classes) == 0)
    if len(empty):
        names = [pictures.label_names[number] if pictures.label_names else str(number) for number in empty]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        raise GanletError(
            f"There are no pictures to train on of the class {', '.join(names[:5])}{more}; add pictures, or take these "
            "classes out of the data."
        )
