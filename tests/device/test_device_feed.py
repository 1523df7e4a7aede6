"""Feeds: each row a function of (seed, index) alone, what is given in place of a draw, and what does not fit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlet.device.feed import (
    Feed,
    Port,
    Ports,
    check_feed,
    example_feed,
    feed_at,
    find_port,
    label_port,
    latent_dim,
    row_count,
    row_shapes,
    rows,
    z_port,
)
from ganlet.device.latents import codes, labels, latents
from ganlet.errors import GanletError

NAMES = ("Siamese", "Persian", "Maine Coon")
PICTURE = Port("picture", (1, 2, 2))
DRAWN: Ports = (z_port(6), label_port(3, NAMES), Port("code", (5,)))
"""Every port that can be drawn."""


def good() -> Feed:
    return feed_at(DRAWN, 0, 0, 4)


def test_rows_are_those_of_the_same_seed_and_index() -> None:
    feed = feed_at(DRAWN, 11, 5, 7)
    assert list(feed) == ["z", "label", "code"]
    assert np.array_equal(feed["z"], latents(11, 5, 7, 6))
    assert np.array_equal(feed["label"], labels(11, 5, 7, 3))
    assert np.array_equal(feed["code"], codes(11, 5, 7, 5))
    assert [feed[port.name].dtype for port in DRAWN] == [np.float32, np.int64, np.float32]
    assert row_count(feed) == 7 and row_shapes(DRAWN) == {"z": (6,), "label": (), "code": (5,)}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), start=st.integers(0, 2**40), data=st.data())
def test_any_chunk_is_a_slice_of_the_whole(seed: int, start: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 12))
    last = data.draw(st.integers(first, 12))
    whole = feed_at(DRAWN, seed, start, 12)
    part = feed_at(DRAWN, seed, start + first, last - first)
    for name, array in rows(whole, slice(first, last)).items():
        assert np.array_equal(array, part[name]) and array.dtype == part[name].dtype


def test_a_row_does_not_depend_on_what_else_is_drawn_or_given() -> None:
    assert np.array_equal(feed_at((z_port(6),), 3, 0, 4)["z"], feed_at(DRAWN, 3, 0, 4)["z"])
    assert np.array_equal(feed_at(DRAWN, 3, 0, 4, label=1)["code"], feed_at(DRAWN, 3, 0, 4)["code"])
    assert np.array_equal(feed_at(DRAWN, 3, 0, 4, label=None)["label"], labels(3, 0, 4, 3))


@pytest.mark.parametrize("label", [2, np.int64(2), "2", "Maine Coon"])
def test_a_class_by_number_or_by_name_is_that_of_every_row(label: Any) -> None:
    found = feed_at(DRAWN, 0, 0, 5, label=label)["label"]
    assert found.dtype == np.int64 and found.tolist() == [2] * 5


def test_a_class_whose_name_is_a_number_goes_before_the_number() -> None:
    ports = (z_port(2), label_port(3, ("2", "0", "1")))
    assert feed_at(ports, 0, 0, 1, label="2")["label"].tolist() == [0]
    assert feed_at(ports, 0, 0, 1, label=2)["label"].tolist() == [2]


@pytest.mark.parametrize(
    ("typo", "nearest"), [("siamese", "Siamese"), ("Main Coon", "Maine Coon"), ("prsian", "Persian"), ("", "")]
)
def test_the_nearest_name_is_told_for_a_typo(typo: str, nearest: str) -> None:
    with pytest.raises(GanletError, match=rf"Got the label '{typo}'; the nearest of the 3 classes is '{nearest}.*to 2"):
        feed_at(DRAWN, 0, 0, 1, label=typo)


def test_a_name_where_classes_have_none_is_refused() -> None:
    with pytest.raises(GanletError, match="Got the label 'Siamese'; its classes have no names, give 0 to 8"):
        feed_at((z_port(2), label_port(9)), 0, 0, 1, label="Siamese")


@pytest.mark.parametrize("label", [-1, 3, "3", np.int64(70)])
def test_a_class_out_of_range_is_refused(label: Any) -> None:
    with pytest.raises(GanletError, match=rf"Got label {label}; expected 0 to 2"):
        feed_at(DRAWN, 0, 0, 1, label=label)


def test_rows_may_be_given_one_for_all_or_each() -> None:
    one, each = [0.5, -1, 0, 0, 1], np.arange(10, dtype=np.float32).reshape(2, 5)
    assert feed_at(DRAWN, 0, 0, 3, code=one)["code"].tolist() == [one] * 3
    assert np.array_equal(feed_at(DRAWN, 0, 0, 2, code=each)["code"], each)
    assert feed_at(DRAWN, 0, 0, 2, label=[2, 0])["label"].tolist() == [2, 0]
    for given_rows in ({"code": one[:4]}, {"code": each[:, :4]}, {"z": each}, {"label": [1, 2, 0]}):
        with pytest.raises(GanletError, match=r"the input got .* expected (float32|int64) \(2,"):
            feed_at(DRAWN, 0, 0, 2, **given_rows)
    with pytest.raises(GanletError, match="labels from 0 to 3; expected 0 to 2"):
        feed_at(DRAWN, 0, 0, 2, label=[0, 3])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("label", 4, "Got the label 4, but this generator takes z alone: it has no classes; leave the label out"),
        ("label", "cat", "Got the label 'cat', but this generator takes z alone"),
        ("code", [0.0], "Got code, but this generator takes z alone; leave code out"),
        ("noise", 1, "Got noise 1, but this generator takes z alone; leave noise out"),
    ],
)
def test_a_port_that_the_generator_has_not_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        feed_at((z_port(6),), 0, 0, 1, **{name: value})
    assert list(feed_at((z_port(6),), 0, 0, 1, **{name: None})) == ["z"]  # None is not given


def test_a_picture_cannot_be_drawn() -> None:
    with pytest.raises(GanletError, match=r"The input picture cannot be drawn; give float32 \(3, 1, 2, 2\)"):
        feed_at((PICTURE,), 0, 0, 3)
    given_picture = np.ones((1, 2, 2), np.float32)
    assert np.array_equal(feed_at((PICTURE,), 0, 0, 3, picture=given_picture)["picture"], [given_picture] * 3)
    assert np.array_equal(example_feed((PICTURE,), 2)["picture"], np.zeros((2, 1, 2, 2)))


@pytest.mark.parametrize(("seed", "start"), [(-1, 0), (2**64, 0), (0, -1)])
def test_a_bad_seed_or_index_is_refused_even_where_all_is_given(seed: int, start: int) -> None:
    for given_rows in ({}, {"z": np.zeros(6, np.float32)}):
        with pytest.raises(GanletError, match=r"Got .* expected a whole number from"):
            feed_at((z_port(6),), seed, start, 1, **given_rows)


def test_ports_are_found_by_name() -> None:
    assert find_port(DRAWN, "label") == label_port(3, NAMES) and find_port(DRAWN, "picture") is None
    assert latent_dim(DRAWN) == 6 and latent_dim((PICTURE,)) == 0


# ---------------------------------------------------------------- what a runner is given


def test_a_feed_that_fits_is_counted_in_any_order() -> None:
    assert check_feed("it", DRAWN, good()) == 4
    assert check_feed("it", DRAWN, dict(reversed(good().items()))) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": np.zeros((4, 6))}, r"it got float64 \(4, 6\) for z; expected float32 \(4, 6\)"),
        ({"z": np.zeros((4, 7), np.float32)}, r"it got float32 \(4, 7\) for z; expected float32 \(4, 6\)"),
        ({"z": np.zeros(6, np.float32)}, r"it got float32 \(6,\) for z; expected float32 \(6, 6\)"),
        ({"z": [[0.0] * 6] * 4}, "it got list for z; expected one row or more"),
        ({"z": None}, "it got NoneType for z"),
        ({"label": np.zeros(4, np.int32)}, r"it got int32 \(4,\) for label; expected int64 \(4,\)"),
        ({"label": np.zeros(3, np.int64)}, r"it got int64 \(3,\) for label; expected int64 \(4,\)"),
        ({"label": np.array([0, 1, 2, 3])}, "it got labels from 0 to 3; expected 0 to 2"),
        ({"label": np.array([0, -1, 2, 2])}, "it got labels from -1 to 2; expected 0 to 2"),
        ({"code": np.zeros((4, 5, 1), np.float32)}, r"it got float32 \(4, 5, 1\) for code"),
        ({"code": [0.0] * 5}, "it got list for code"),
        ({"z": np.full((4, 6), np.nan, np.float32)}, "it got numbers for z that are not finite"),
        ({"code": np.full((4, 5), np.inf, np.float32)}, "it got numbers for code that are not finite"),
        ({"z": np.zeros((0, 6), np.float32)}, r"it got float32 \(0, 6\) for z; expected one row or more"),
        ({"picture": np.zeros((4, 1, 2, 2), np.float32)}, "it: Got picture, but this generator takes z, label, code"),
    ],
)
def test_a_feed_that_does_not_fit_is_refused(change: Feed, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        check_feed("it", DRAWN, good() | change)


@pytest.mark.parametrize("missing", ["z", "label", "code"])
def test_a_missing_name_is_told(missing: str) -> None:
    feed = {name: array for name, array in good().items() if name != missing}
    with pytest.raises(GanletError, match=f"it got no {missing}; expected z, label, code"):
        check_feed("it", DRAWN, feed)


def test_no_rows_at_all_and_no_feed_are_refused() -> None:
    with pytest.raises(GanletError, match="expected one row or more"):
        check_feed("it", DRAWN, rows(good(), slice(0, 0)))
    for other in (np.zeros((4, 6), np.float32), None):
        with pytest.raises(GanletError, match=r"it got (float32 \(4, 6\)|NoneType); expected a dict of z"):
            check_feed("it", DRAWN, other)  # type: ignore[arg-type]
