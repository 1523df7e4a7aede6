"""A picture set as a plain folder of PNG files."""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ganlet.data.parallel import in_order
from ganlet.data.pictures import PictureSet
from ganlet.errors import GanletError
from ganlet.files import write_failed, write_text


def write_folder(pictures: PictureSet, out: Path, count: int) -> list[Path]:
    """Write the first `count` pictures as `00000.png`, ... into `out`, in a sub-folder a label where there are labels.

    `out` also gets a CREDITS.txt. Each file appears whole or not at all. Returns the paths of the pictures. Raises
    GanletError when `out` holds anything already, cannot be written, or the set has fewer pictures.
    """
    if not 1 <= count <= len(pictures):
        raise GanletError(f"{count} pictures were asked for but the set holds {len(pictures)}; choose 1 to that many.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = next(out.iterdir(), None)
        if held is not None:
            raise GanletError(
                f"The folder {out} already holds {held.name}; choose an empty or a new folder with --out."
            )
        paths = [out / _name(pictures, index) for index in range(count)]
        for folder in sorted({path.parent for path in paths}):
            folder.mkdir(exist_ok=True)
        written = list(in_order(partial(_write, pictures), enumerate(paths)))
    except OSError as error:
        raise write_failed(out, error) from error
    write_text(out / "CREDITS.txt", pictures.credit + "\n")
    return written


def _name(pictures: PictureSet, index: int) -> Path:
    name = f"{index:05d}.png"
    return Path(name) if pictures.labels is None else Path(pictures.label_names[pictures.labels[index]], name)


def _write(pictures: PictureSet, item: tuple[int, Path]) -> Path:
    """One PNG, renamed into place. No fsync for each of thousands of files: they can be made again at any time."""
    index, path = item
    planes = np.asarray(pictures.pictures[index])  # (C, H, W) uint8
    image = Image.fromarray(planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0)))
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        image.save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
