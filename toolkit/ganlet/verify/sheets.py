"""The pictures that verification leaves in RUN/samples, for a person to look at."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlet.device import Sampler
from ganlet.device.feed import find_port
from ganlet.device.pictures import encode_png, grid
from ganlet.device.runner import Runner
from ganlet.files import write_bytes
from ganlet.verify.fidelity import BASELINES, FidelityResult, Reference
from ganlet.verify.memorised import Memorised

SHEET = 32  # pictures in each sheet
SHEET_COLUMNS = 8
MOST_CLASSES = 20  # that have a row


def write_samples(folder: Path, runners: Mapping[str, Runner], reference: Reference, seed: int) -> None:
    """A sheet of the same latents for every runner, and one of the data; with labels a row for each class."""
    for name, runner in runners.items():
        label = find_port(runner.ports, "label")
        sampler = Sampler.of(runner)
        if label is None:
            images = sampler.images(0, SHEET, seed)
        else:
            shown = range(min(label.classes or 1, MOST_CLASSES))
            images = np.concatenate([sampler.images(0, SHEET_COLUMNS, seed, label=number) for number in shown])
        write_bytes(folder / f"{name}.png", encode_png(grid(images, columns=SHEET_COLUMNS)))
    by_class = any(find_port(runner.ports, "label") is not None for runner in runners.values())
    real = np.asarray(reference.pictures.pictures[_shown(reference, by_class)]).transpose(0, 2, 3, 1)
    write_bytes(folder / "data.png", encode_png(grid(real, columns=SHEET_COLUMNS)))


def _shown(reference: Reference, by_class: bool) -> NDArray[np.int64]:
    """Which pictures of the data are shown: the first ones, or the first of each class, as often as the rarest has."""
    labels = reference.pictures.labels
    if not by_class or labels is None:
        return reference.indices[:SHEET]
    own = labels[reference.indices]
    rows = [reference.indices[own == number][:SHEET_COLUMNS] for number in np.unique(own)[:MOST_CLASSES]]
    alike = min(map(len, rows))
    return np.concatenate([row[:alike] for row in rows]) if alike == SHEET_COLUMNS else reference.indices[:SHEET]


def write_maps(folder: Path, fidelity: FidelityResult, memorised: Memorised | None, seed: int) -> None:
    """The map of the features, and the sheet of nearest training pictures where pictures are held out."""
    from ganlet.verify.maps import feature_map  # matplotlib takes half a second, which a skipped report need not wait

    shown = {"data": fidelity.data} | {
        name: fidelity.features[name] for name in (*BASELINES, "generator.onnx") if name in fidelity.features
    }
    write_bytes(folder / "features.png", feature_map(shown, seed))
    if memorised is not None:
        write_bytes(folder / "neighbours.png", encode_png(memorised.sheet))
