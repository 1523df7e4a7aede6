"""expected.npz: a few feeds and the pictures that the trained network drew of them, so that a device can compare.

Arrays: one for each port, by its name (`ganlet.device.feed`); `levels` uint16 (N, C, H, W), a pixel
in [-1, 1] as `round((x + 1) * 32767.5)`; `seed`, the feed being that of the indices 0 ... N - 1; `weights_sha256`
and `recipe_sha256`, what it was made from. Sixteen bits of a level lose at most 1.6e-5; float16 would lose sixteen
times as much at the same size, and float32 double the file. N is what fits into about 150 kB, from 2 to 16.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device.feed import DTYPES, ROW_AXES, Feed, feed_at
from ganlet.device.runner import Runner
from ganlet.errors import GanletError, words_of
from ganlet.files import write_bytes

EXPECTED = "expected.npz"
MAX_BYTES = 64 * 10**6  # unpacked: two pictures of 1,024 x 1,024 take 25 MB
ROUNDING = 0.5 / 32767.5  # of a pixel in [-1, 1]
_ABOUT_BYTES, _FEWEST, _MOST = 150_000, 2, 16
_SEED = 0


@dataclass(frozen=True)
class Expected:
    """What a generator is expected to draw: `pictures` float32 (N, C, H, W) in [-1, 1] of `feed`, N rows."""

    feed: Feed
    pictures: NDArray[np.float32]
    seed: int
    weights_sha256: str
    recipe_sha256: str


def write_expected(path: Path, runner: Runner, *, weights_sha256: str, recipe_sha256: str) -> None:
    """Draw the first pictures of seed 0 by `runner`, the network itself or its fp32 file, and write them to `path`.

    The same pictures give the same bytes. Raises GanletError when pictures lie outside [-1, 1], and as `runner` does.
    """
    count = min(max(_ABOUT_BYTES // (2 * int(np.prod(runner.picture_shape))), _FEWEST), _MOST)
    feed = feed_at(runner.ports, _SEED, 0, count)
    pictures = runner(feed)  # (count, C, H, W) float32
    if np.abs(pictures).max() > 1 + 1e-3:
        raise GanletError(f"{runner.name} drew pixels up to {np.abs(pictures).max():.3g}; expected them in [-1, 1].")
    arrays: dict[str, Any] = {
        **({"z": feed["z"]} if "z" in feed else {}),
        "levels": np.rint((np.clip(pictures, -1, 1).astype(np.float64) + 1) * 32767.5).astype(np.uint16),
        "seed": np.int64(_SEED),
        "weights_sha256": np.str_(weights_sha256),
        "recipe_sha256": np.str_(recipe_sha256),
    }
    arrays |= feed
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read_expected(path: Path) -> Expected:
    """Read `path`, of which nothing is trusted. Raises GanletError when it is missing, damaged or something else."""
    if not path.is_file():
        raise GanletError(
            f"{path} does not exist: it holds the pictures to compare with; copy it from the run that the artifact is "
            "of, beside its manifest.json, or make it with `ganlet export RUN`."
        )
    held = _arrays(path)
    feed = {name: held[name] for name in DTYPES if name in held}
    forms = {"levels": ("uint16", 4), "seed": ("int64", 0)}
    forms |= {name: (np.dtype(DTYPES[name]).name, ROW_AXES[name] + 1) for name in feed}
    known = {name: (str(held[name].dtype), held[name].ndim) for name in forms if name in held}
    fits = bool(feed) and known == forms
    together = [held[name] for name in ("levels", *feed) if name in held]
    if not fits or len({len(array) for array in together}) > 1 or min(array.size for array in together) == 0:
        got = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in sorted(held.items()))
        raise GanletError(
            f"{path} holds {got or 'nothing'}; expected z float32 (N, latent), levels uint16 (N, C, H, W) and a seed, "
            "as `ganlet export` writes them."
        )
    levels = held["levels"]
    pictures = (levels.astype(np.float64) / 32767.5 - 1).astype(np.float32)
    words = (str(held[name]) if name in held else "" for name in ("weights_sha256", "recipe_sha256"))
    return Expected(feed, pictures, int(held["seed"]), *words)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked_bytes = sum(member.file_size for member in archive.infolist())
        if unpacked_bytes > MAX_BYTES:
            raise GanletError(
                f"{path} unpacks to {unpacked_bytes / 1e6:.0f} MB, expected at most {MAX_BYTES / 1e6:.0f} MB; copy it "
                "again from the run."
            )
        with np.load(path, allow_pickle=False) as opened:
            return {name: opened[name] for name in opened.files}
    except GanletError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds at damaged bytes
        raise GanletError(
            f"{path} is not a whole .npz of arrays ({words_of(error)}): damaged, cut short or of another kind; copy it "
            "again from the run, or make it again with `ganlet export RUN`."
        ) from error
