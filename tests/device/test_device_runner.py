"""What every backend's latents and pictures are looked at for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ganlet.device.feed import FEW, all_finite


@given(arrays.arrays(np.float32, st.sampled_from([(1, 5), (2, 3, 4, 4)]), elements=st.floats(width=32)))
def test_finite_numbers_are_told_from_others_however_large(numbers: np.ndarray) -> None:
    assert all_finite(numbers) == np.isfinite(numbers).all()


@pytest.mark.parametrize("count", [FEW, FEW + 1])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_one_odd_number_among_many_is_found(count: int, odd: float) -> None:
    numbers = np.full(count, np.float32(3e38))
    assert all_finite(numbers)
    numbers[count // 2] = odd
    assert not all_finite(numbers)
