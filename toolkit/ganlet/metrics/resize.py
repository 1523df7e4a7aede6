"""Antialiased resizing without quantisation, as clean-fid proposes (Parmar, Zhang and Zhu 2022, section 3)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THREADS = 4


def resize_clean(pictures: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    """`pictures` uint8 (n, c, h, w) to float32 (n, c, height, width), about 0 to 255: Pillow's bicubic, in float.

    Pillow widens its filter when shrinking, so that nothing aliases; each plane is resized as floats and neither
    rounded nor clipped afterwards, so bicubic overshoots a little. A picture that has the size already is unchanged.
    """
    count, channels = pictures.shape[:2]
    found = np.empty((count, channels, height, width), dtype=np.float32)
    if pictures.shape[2:] == (height, width):
        found[:] = pictures
        return found

    def one(index: int) -> None:
        for channel in range(channels):
            plane = Image.fromarray(pictures[index, channel].astype(np.float32))
            found[index, channel] = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor(THREADS) as pool:  # Pillow lets go of the interpreter lock
        list(pool.map(one, range(count)))
    return found
