"""The figures under their names, and streaming, with a feature net small enough to read."""

import json

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import compare, extract, frechet_distance, kernel_distance, key, moments, paired_change_percent


class Means:
    """A feature net of two features: mean and spread of a picture."""

    name = "means"
    dim = 2
    protocol = "mean and standard deviation"

    def features(self, pictures: np.ndarray) -> np.ndarray:
        flat = pictures.reshape(len(pictures), -1).astype(np.float32)
        return np.stack([flat.mean(1), flat.std(1)], axis=1)


def pictures(count: int, seed: int = 0, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, (count, 3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("count", "name"), [(2000, "fd_lite0_2k"), (5000, "fd_lite0_5k"), (1500, "fd_lite0_1500"), (0, "fd_lite0_0")]
)
def test_key_names_metric_net_and_count(count: int, name: str) -> None:
    assert key("fd", "lite0", count) == name


def test_compare_gives_both_distances_with_intervals() -> None:
    a, b = Means().features(pictures(60)), Means().features(pictures(80, seed=1, top=200))
    found = compare(a, b, net="means")
    assert list(found.figures) == ["fd_means_60", "kid_means_60"]
    np.testing.assert_allclose(found.fd.value, frechet_distance(moments(a), moments(b)), rtol=1e-12)
    np.testing.assert_allclose(found.kid.value, kernel_distance(a, b), rtol=1e-12)
    for figure in found.figures.values():
        assert figure.low < figure.value < figure.high
        assert (figure.a_influence.shape, figure.b_influence.shape) == ((60,), (80,))
    assert json.loads(json.dumps(found.as_json()))["fd_means_60"].keys() == {"value", "low", "high"}
    again = compare(a, b, net="means")
    assert again.as_json() == found.as_json()
    assert paired_change_percent(found.fd, again.fd).high == 0


def test_extract_streams_chunks_and_reports_progress() -> None:
    whole, seen = pictures(25), []
    found = extract(Means(), (whole[i : i + 10] for i in range(0, 25, 10)), seen.append)
    np.testing.assert_array_equal(found, Means().features(whole))
    assert found.dtype == np.float32 and seen == [10, 20, 25]
    assert extract(Means(), []).shape == (0, 2)


def test_compare_refuses_what_cannot_be_measured() -> None:
    good = Means().features(pictures(10))
    with pytest.raises(GanletError, match="got 0; add pictures"):
        compare(good[:0], good, net="means")
    with pytest.raises(GanletError, match="2 and 1 features"):
        compare(good, good[:, :1], net="means")


def test_only_the_original_inception_is_called_fid() -> None:
    a, b = Means().features(pictures(60)), Means().features(pictures(80, seed=1))
    for net, name in (("inception", "fid"), ("inception_clean", "fid"), ("inception-mine", "fd"), ("lite0", "fd")):
        found = compare(a, b, net=net)
        assert list(found.figures) == [f"{name}_{net}_60", f"kid_{net}_60"] and found.fd.value > 0
