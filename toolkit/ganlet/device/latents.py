"""Latents, labels and codes as pure functions of (seed, index): the same on every backend and in any chunking.

How to reproduce them in another language:

1. Words. Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") with the 128-bit key
   `(seed, stream)` turns the 256-bit counter `c` (little-endian 64-bit words) into block `c` of four 64-bit words.
   Stream 0 holds latents, stream 1 labels, stream 2 codes.
2. Latent `i` of `latent_dim` values owns the blocks `i * b ... i * b + b - 1`, with `b = ceil(latent_dim / 4)`: `4 * b`
   words, of which words beyond `latent_dim` are dropped after step 3.
3. Words 2k and 2k + 1 of a latent give values 2k and 2k + 1 (Box and Muller 1958), in float64:
   `u = ((word[2k] >> 11) + 1) * 2**-53` in (0, 1], `v = (word[2k + 1] >> 11) * 2**-53` in [0, 1),
   `value[2k] = sqrt(-2 ln u) cos(2 pi v)`, `value[2k + 1] = sqrt(-2 ln u) sin(2 pi v)`; rounded to float32 at the end.
4. Label `i` comes from word `i % 4` of block `i // 4` of stream 1: `((word >> 32) * classes) >> 32`.
5. Code `i` owns blocks of stream 2 as a latent does of stream 0; each word gives one value in float64,
   `2 * ((word >> 11) * 2**-53) - 1` in [-1, 1), rounded to float32 at the end.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError

_LATENT_STREAM = 0
_LABEL_STREAM = 1
_CODE_STREAM = 2
_WORDS_PER_BLOCK = 4
_MAX_INDEX = 2**63


def latents(seed: int, start: int, count: int, latent_dim: int) -> NDArray[np.float32]:
    """Standard normal latents of the indices `start ... start + count - 1`.

    Args: `seed` in [0, 2^64), `start >= 0`, `count >= 0`, `latent_dim >= 1`.
    Returns: float32 (count, latent_dim); row i depends on (seed, start + i, latent_dim) alone, to the bit.
    Raises GanletError for a value outside those bounds.
    """
    seed, start, count = _check_range(seed, start, count)
    latent_dim = _check("the latent dimension", latent_dim, 1, 2**31)
    blocks = -(-latent_dim // _WORDS_PER_BLOCK)
    words = _words(seed, _LATENT_STREAM, start * blocks, count * blocks)  # (count * blocks * 4,) uint64
    pairs = (words >> np.uint64(11)).reshape(count, blocks * 2, 2)  # 53-bit integers: exact in float64
    u = (pairs[..., 0] + np.uint64(1)).astype(np.float64) * 2.0**-53  # never 0, whose logarithm is infinite
    v = pairs[..., 1].astype(np.float64) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(u)), 2.0 * np.pi * v
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)  # (count, blocks * 2, 2)
    return np.ascontiguousarray(normal.reshape(count, blocks * 4)[:, :latent_dim], dtype=np.float32)


def labels(seed: int, start: int, count: int, classes: int) -> NDArray[np.int64]:
    """Uniform class labels of the indices `start ... start + count - 1`, on a stream apart from the latents'.

    Args: as `latents`; `classes` in [1, 2^31).
    Returns: int64 (count,) in [0, classes); the bias of the multiply-and-shift is below classes / 2^32.
    Raises GanletError for a value outside those bounds.
    """
    seed, start, count = _check_range(seed, start, count)
    classes = _check("the number of classes", classes, 1, 2**31)
    first = start // _WORDS_PER_BLOCK
    skipped = start - first * _WORDS_PER_BLOCK
    words = _words(seed, _LABEL_STREAM, first, -(-(skipped + count) // _WORDS_PER_BLOCK))[skipped : skipped + count]
    return (((words >> np.uint64(32)) * np.uint64(classes)) >> np.uint64(32)).astype(np.int64)


def codes(seed: int, start: int, count: int, length: int) -> NDArray[np.float32]:
    """Codes, uniform in [-1, 1], of the indices `start ... start + count - 1`, on a stream apart from the others.

    Args: as `latents`; `length` of a code, in [1, 2^31).
    Returns: float32 (count, length); row i depends on (seed, start + i, length) alone, to the bit.
    Raises GanletError for a value outside those bounds.
    """
    seed, start, count = _check_range(seed, start, count)
    length = _check("the length of a code", length, 1, 2**31)
    blocks = -(-length // _WORDS_PER_BLOCK)
    words = _words(seed, _CODE_STREAM, start * blocks, count * blocks).reshape(count, blocks * _WORDS_PER_BLOCK)
    uniform = (words[:, :length] >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.ascontiguousarray(2.0 * uniform - 1.0, dtype=np.float32)


def _words(seed: int, stream: int, first_block: int, blocks: int) -> NDArray[np.uint64]:
    """Raw words of `blocks` Philox blocks from counter `first_block` on: uint64 (blocks * 4,)."""
    # numpy increments the counter before it makes a block, so the block of counter c needs a start at c - 1.
    generator = np.random.Philox(key=seed | (stream << 64), counter=(first_block - 1) % 2**256)
    words: NDArray[np.uint64] = generator.random_raw(blocks * _WORDS_PER_BLOCK)
    return words


def _check_range(seed: int, start: int, count: int) -> tuple[int, int, int]:
    seed = _check("the seed", seed, 0, 2**64)
    start = _check("the first index", start, 0, _MAX_INDEX)
    return seed, start, _check("the count", count, 0, _MAX_INDEX - start + 1)


def _check(what: str, value: Any, low: int, end: int) -> int:
    """`value` as a Python int (numpy's own would overflow in the arithmetic above)."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= int(value) < end:
        raise GanletError(f"Got {value!r} for {what}; expected a whole number from {low} to {end - 1}.")
    return int(value)
