"""Batches and splits: permutations, purity, resuming."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlet.data import Batches, PictureSet
from ganlet.errors import GanletError


def picture_set(folder: Path, count: int, labels: bool = True) -> PictureSet:
    """Pictures (count, 1, 2, 3) whose pixels tell picture and place apart."""
    pixels = (np.arange(count)[:, None] * 6 + np.arange(6)).astype(np.uint8).reshape(count, 1, 2, 3)
    np.save(folder / "pixels.npy", pixels)
    mapped = np.load(folder / "pixels.npy", mmap_mode="r")
    numbers = np.arange(count, dtype=np.int64) % 3 if labels else None
    return PictureSet(mapped, numbers, ("a", "b", "c") if labels else (), "", "folder", (), "")


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> PictureSet:
    return picture_set(tmp_path_factory.mktemp("forty"), 40)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 40), batch=st.integers(1, 90), seed=st.integers(0, 2**40), data=st.data())
def test_stream_is_a_permutation_an_epoch_in_any_order_of_access(
    forty: PictureSet, count: int, batch: int, seed: int, data: st.DataObject
) -> None:
    indices = np.sort(np.random.default_rng(seed).permutation(40)[:count])
    batches = Batches(forty, indices, batch=batch, seed=seed, flip=True)
    epochs = 3
    positions = list(range(-(-epochs * count // batch)))
    stream = np.concatenate([batches.indices_at(position) for position in positions])
    for epoch in range(epochs):
        np.testing.assert_array_equal(np.sort(stream[epoch * count : (epoch + 1) * count]), indices)

    in_order = {position: batches.at(position) for position in positions}
    fresh = Batches(forty, indices, batch=batch, seed=seed, flip=True)
    for position in data.draw(st.permutations(positions)):
        np.testing.assert_array_equal(fresh.at(position).pictures, in_order[position].pictures)
        np.testing.assert_array_equal(fresh.at(position).label, in_order[position].label)
        assert in_order[position].label.dtype == np.int64
        assert in_order[position].pictures.shape == (batch, 1, 2, 3)


def test_values_lie_in_minus_one_to_one(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([0, 51, 255], dtype=np.uint8).reshape(1, 1, 1, 3))
    pictures = PictureSet(np.load(tmp_path / "p.npy", mmap_mode="r"), None, (), "", "folder", (), "")
    batch = Batches(pictures, np.array([0]), batch=2, seed=0).at(5).pictures
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch.reshape(2, 3), [[-1.0, -0.6, 1.0]] * 2, atol=1e-6)


def test_epochs_and_seeds_differ(forty: PictureSet) -> None:
    everything = np.arange(40)
    one = Batches(forty, everything, batch=40, seed=1)
    assert not np.array_equal(one.indices_at(0), one.indices_at(1))
    assert not np.array_equal(one.indices_at(0), Batches(forty, everything, batch=40, seed=2).indices_at(0))


def test_order_is_fixed_across_versions(forty: PictureSet) -> None:
    # A change here would make resumed runs see other pictures.
    batches = Batches(forty, np.arange(10), batch=10, seed=7)
    philox = np.random.Philox(np.random.SeedSequence((2, 7, 3)))
    np.testing.assert_array_equal(batches.indices_at(3), np.argsort(philox.random_raw(10)))


def test_flip_mirrors_about_half_of_the_samples_and_only_left_to_right(forty: PictureSet) -> None:
    plain = Batches(forty, np.arange(40), batch=400, seed=3).at(0).pictures
    flipped = Batches(forty, np.arange(40), batch=400, seed=3, flip=True).at(0).pictures
    mirrored = (flipped != plain).any(axis=(1, 2, 3))
    assert 150 < mirrored.sum() < 250
    np.testing.assert_array_equal(flipped[mirrored], plain[mirrored][..., ::-1])


def test_labels_follow_their_pictures(forty: PictureSet, tmp_path: Path) -> None:
    batches = Batches(forty, np.arange(40), batch=7, seed=0)
    np.testing.assert_array_equal(batches.at(9).label, batches.indices_at(9) % 3)
    assert Batches(picture_set(tmp_path, 4, labels=False), np.arange(4), batch=2, seed=0).at(0).label is None


def test_bad_arguments(forty: PictureSet) -> None:
    with pytest.raises(GanletError, match="no pictures"):
        Batches(forty, np.array([], dtype=np.int64), batch=1, seed=0)
    with pytest.raises(GanletError, match="batch of 0"):
        Batches(forty, np.arange(3), batch=0, seed=0)
    with pytest.raises(ValueError, match="negative"):
        Batches(forty, np.arange(3), batch=1, seed=0).at(-1)


@given(holdout=st.floats(0, 1, exclude_max=True), seed=st.integers(0, 99))
@settings(deadline=None)
def test_split_parts_the_set(forty: PictureSet, holdout: float, seed: int) -> None:
    train, held = forty.split(holdout, seed)
    assert len(train) >= 1 and len(held) == min(round(40 * holdout), 39)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(40))
    assert (np.diff(train) > 0).all() and (np.diff(held) > 0).all()


def test_split_is_seeded_and_checked(forty: PictureSet) -> None:
    np.testing.assert_array_equal(forty.split(0.25, 1)[1], forty.split(0.25, 1)[1])
    assert not np.array_equal(forty.split(0.25, 1)[1], forty.split(0.25, 2)[1])
    assert len(forty.split(0.0, 0)[1]) == 0
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(GanletError, match="held-out"):
            forty.split(wrong, 0)
