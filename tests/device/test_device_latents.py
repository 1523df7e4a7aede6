"""Latents against an independent Philox, a scalar Box-Muller, the normal distribution and pinned values."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ganlet.device.latents import codes, labels, latents
from ganlet.errors import GanletError

MASK = 2**64 - 1
seeds = st.integers(0, MASK)


def philox4x64_10(counter: int, key: tuple[int, int]) -> list[int]:
    """Block `counter`, written from Salmon et al. 2011, section 4.3, in integers of any size."""
    c = [(counter >> (64 * word)) & MASK for word in range(4)]
    k0, k1 = key
    for _ in range(10):
        product0, product1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(product1 >> 64) ^ c[1] ^ k0, product1 & MASK, (product0 >> 64) ^ c[3] ^ k1, product0 & MASK]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c


def latent_in_plain_python(seed: int, index: int, latent_dim: int) -> list[float]:
    blocks = math.ceil(latent_dim / 4)
    words = [word for block in range(blocks) for word in philox4x64_10(index * blocks + block, (seed, 0))]
    values = []
    for first, second in zip(words[::2], words[1::2], strict=True):
        u, v = ((first >> 11) + 1) / 2**53, (second >> 11) / 2**53
        values += [math.sqrt(-2 * math.log(u)) * f(2 * math.pi * v) for f in (math.cos, math.sin)]
    return values[:latent_dim]


def test_philox_known_answers() -> None:
    # Random123's own kat_vectors for philox4x64 with 10 rounds: the reference above is Philox, not merely numpy.
    assert philox4x64_10(0, (0, 0)) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    ones = philox4x64_10(2**256 - 1, (MASK, MASK))
    assert ones == [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, index=st.integers(0, 2**62), latent_dim=st.integers(1, 23))
def test_latents_are_the_documented_function(seed: int, index: int, latent_dim: int) -> None:
    drawn = latents(seed, index, 2, latent_dim)
    expected = [latent_in_plain_python(seed, index + row, latent_dim) for row in range(2)]
    assert drawn.dtype == np.float32 and drawn.shape == (2, latent_dim)
    np.testing.assert_allclose(drawn, np.array(expected), rtol=1e-6, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, index=st.integers(0, 2**62), classes=st.integers(1, 2**31 - 1))
def test_labels_are_the_documented_function(seed: int, index: int, classes: int) -> None:
    drawn = labels(seed, index, 5, classes)
    words = [philox4x64_10(i // 4, (seed, 1))[i % 4] for i in range(index, index + 5)]
    assert drawn.dtype == np.int64
    assert drawn.tolist() == [((word >> 32) * classes) >> 32 for word in words]


def code_in_plain_python(seed: int, index: int, length: int) -> list[float]:
    blocks = math.ceil(length / 4)
    words = [word for block in range(blocks) for word in philox4x64_10(index * blocks + block, (seed, 2))]
    return [2 * ((word >> 11) / 2**53) - 1 for word in words][:length]


@settings(max_examples=40, deadline=None)
@given(seed=seeds, index=st.integers(0, 2**62), length=st.integers(1, 23))
def test_codes_are_the_documented_function(seed: int, index: int, length: int) -> None:
    drawn = codes(seed, index, 2, length)
    expected = [code_in_plain_python(seed, index + row, length) for row in range(2)]
    assert drawn.dtype == np.float32 and drawn.shape == (2, length)
    assert np.array_equal(drawn, np.array(expected, dtype=np.float32))
    assert all(-1 <= value < 1 for row in expected for value in row)


def test_codes_are_uniform_and_apart_from_latents() -> None:
    drawn, other = codes(3, 0, 20_000, 2), latents(3, 0, 20_000, 2)
    assert drawn.min() >= -1 and drawn.max() < 1
    assert stats.kstest(drawn.ravel(), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    # the same words would make cos(pi (code + 1)) and the sign of a latent agree
    for shown in (drawn, np.cos(np.pi * drawn), np.sin(np.pi * drawn)):
        for latent in (other, np.abs(other)):
            for column in range(2):
                correlations = np.asarray(np.corrcoef(shown[:, column], latent.T))[0, 1:]
                assert np.abs(correlations).max() < 0.03  # 4 standard deviations
    assert not np.array_equal(codes(0, 0, 1, 8), codes(1, 0, 1, 8)) and codes(0, 5, 0, 8).shape == (0, 8)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, latent_dim=st.integers(1, 130), data=st.data())
def test_any_chunk_is_a_slice_of_the_whole(seed: int, latent_dim: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 20))
    last = data.draw(st.integers(first, 20))
    whole = latents(seed, 0, 20, latent_dim)
    assert np.array_equal(whole[first:last], latents(seed, first, last - first, latent_dim))
    whole = codes(seed, 0, 20, latent_dim)
    assert np.array_equal(whole[first:last], codes(seed, first, last - first, latent_dim))
    assert np.array_equal(labels(seed, 0, 20, 10)[first:last], labels(seed, first, last - first, 10))


def test_golden_values_never_change() -> None:
    # A change here changes every picture of every seed that users have noted down.
    assert latents(0, 0, 1, 4)[0].tolist() == [
        1.3643420934677124,
        -1.7368866205215454,
        -0.583238422870636,
        0.022785961627960205,
    ]
    assert labels(0, 0, 8, 10).tolist() == [6, 8, 0, 8, 8, 7, 6, 4]


def test_values_are_standard_normal_and_uncorrelated() -> None:
    drawn = latents(3, 0, 2000, 50)
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 1e-4
    between_axes = np.corrcoef(drawn, rowvar=False) - np.eye(50)
    between_indices = np.corrcoef(drawn[:200])[np.triu_indices(200, 1)]
    assert np.abs(between_axes).max() < 5 / math.sqrt(2000)
    assert np.abs(between_indices).max() < 6 / math.sqrt(50)


def test_labels_are_uniform_and_apart_from_the_latents() -> None:
    counts = np.bincount(labels(3, 0, 10_000, 10), minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-4
    word_of_latent = philox4x64_10(0, (3, 0))[0]
    assert labels(3, 0, 1, 2**31 - 1)[0] != ((word_of_latent >> 32) * (2**31 - 1)) >> 32


def test_seeds_differ_and_the_largest_is_finite() -> None:
    assert not np.array_equal(latents(0, 0, 1, 8), latents(1, 0, 1, 8))
    assert np.isfinite(latents(MASK, 2**63 - 1, 1, 100)).all()
    assert np.array_equal(latents(np.uint64(MASK), 0, 1, 8), latents(MASK, 0, 1, 8))  # type: ignore[arg-type]
    assert latents(0, 5, 0, 8).shape == (0, 8) and labels(0, 5, 0, 3).shape == (0,)


@pytest.mark.parametrize(
    "arguments",
    [(-1, 0, 1, 8), (2**64, 0, 1, 8), (0, -1, 1, 8), (0, 0, -1, 8), (0, 0, 1, 0), (0.5, 0, 1, 8), (True, 0, 1, 8)],
)
def test_numbers_out_of_bounds_are_refused(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(GanletError, match=r"Got .* expected a whole number from"):
        latents(*arguments)
    with pytest.raises(GanletError, match=r"Got .* expected a whole number from"):
        labels(*arguments)
    with pytest.raises(GanletError, match=r"Got .* expected a whole number from"):
        codes(*arguments)
