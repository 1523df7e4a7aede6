"""Precision, recall, density and coverage: a double loop, torch-fidelity, and cases that can be told by hand."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import neighbourhoods as room
from ganlet.metrics.neighbourhoods import neighbourhoods


def sets(n: int = 70, m: int = 90, dim: int = 6, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.standard_normal((n, dim)) + shift, generator.standard_normal((m, dim))


def naive(a: np.ndarray, b: np.ndarray, precision_k: int, density_k: int) -> tuple[float, float, float, float]:
    """The papers' sentences, word by word."""

    def radius(points: np.ndarray, i: int, k: int) -> float:
        others = np.delete(points, i, axis=0)
        return float(np.sort(np.sqrt(((others - points[i]) ** 2).sum(1)))[k - 1])

    def inside(x: np.ndarray, points: np.ndarray, radii: list[float]) -> np.ndarray:
        return np.sqrt(((points - x) ** 2).sum(1)) <= np.array(radii)

    radii_a = [radius(a, i, precision_k) for i in range(len(a))]
    radii_b = [radius(b, i, precision_k) for i in range(len(b))]
    wide_b = [radius(b, i, density_k) for i in range(len(b))]
    precision = np.mean([inside(x, b, radii_b).any() for x in a])
    recall = np.mean([inside(x, a, radii_a).any() for x in b])
    held = np.array([inside(x, b, wide_b) for x in a])
    return float(precision), float(recall), float(held.sum() / density_k / len(a)), float(held.any(axis=0).mean())


def four(a: np.ndarray, b: np.ndarray, **options: int) -> tuple[float, float, float, float]:
    found = neighbourhoods(a, b, **options)
    return found.precision, found.recall, found.density, found.coverage


@pytest.mark.parametrize("block", [16, 2048])
@pytest.mark.parametrize("ks", [(3, 5), (1, 1), (7, 2)])
def test_matches_a_double_loop_for_any_block(block: int, ks: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BLOCK", block)
    a, b = sets()
    np.testing.assert_allclose(four(a, b, precision_k=ks[0], density_k=ks[1]), naive(a, b, *ks), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_precision_and_recall_are_those_of_torch_fidelity(dtype: type) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch_fidelity.metric_prc", reason="torch-fidelity is not installed")
    a, b = (side.astype(dtype) for side in sets(400, 500, dim=32, shift=0.2))
    expected = theirs.prc_features_to_metric(torch.from_numpy(a), torch.from_numpy(b), verbose=False)
    found = neighbourhoods(a, b)
    assert 0.1 < found.precision < 0.99, "a trivial value would compare nothing"
    np.testing.assert_allclose([found.precision, found.recall], [expected["precision"], expected["recall"]], atol=1e-6)


def test_a_set_lies_in_its_own_neighbourhoods() -> None:
    a, _ = sets()
    assert four(a, a)[:2] == (1.0, 1.0) and four(a, a)[3] == 1.0
    # Each picture is the centre of its own ball, and lies in those that it is a neighbour of: (1 + k) / k balls.
    assert four(a, a)[2] == pytest.approx(6 / 5)


def test_sets_far_apart_share_nothing() -> None:
    a, b = sets()
    assert four(a + 1e3, b) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1e4])
def test_constant_and_duplicated_pictures_are_counted_exactly(offset: float) -> None:
    a, b = (side.astype(np.float32) + np.float32(offset) for side in sets(40, 40, dim=50))
    constant = np.repeat(a[:1], 40, axis=0)
    assert four(constant, constant) == (1.0, 1.0, 8.0, 1.0)  # every picture lies in all 40 balls: 40 / 5
    assert four(constant, b + 100) == (0.0, 0.0, 0.0, 0.0)
    doubled = np.concatenate([b] * 6)  # k + 1 copies of each: balls without a radius, which still hold their centres
    assert four(doubled, doubled) == (1.0, 1.0, pytest.approx(6 / 5), 1.0)
    assert four(b, doubled)[0] == 1.0 and four(b, doubled)[3] == 1.0


def test_a_collapsed_generator_has_precision_without_recall() -> None:
    _, real = sets(m=300)
    collapsed = real[:1] + 1e-3 * np.random.default_rng(1).standard_normal((200, 6))
    found = neighbourhoods(collapsed, real)
    assert found.precision == 1.0 and found.recall < 0.05 and found.coverage < 0.1


def test_progress_ends_at_its_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BLOCK", 16)
    seen: list[tuple[int, int]] = []
    neighbourhoods(*sets(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_faults_are_named() -> None:
    a, b = sets()
    with pytest.raises(GanletError, match="at least 6 pictures a side, got 5"):
        neighbourhoods(a[:5], b)
    with pytest.raises(GanletError, match="at least 6 pictures"):
        neighbourhoods(a, b[:3])
    with pytest.raises(GanletError, match="6 and 4 features"):
        neighbourhoods(a, b[:, :4])
    with pytest.raises(GanletError, match="not finite"):
        neighbourhoods(a * np.nan, b)
    with pytest.raises(GanletError, match="0 and 5 neighbours"):
        neighbourhoods(a, b, precision_k=0)
