"""A verdict on almost nothing is none; the advice how many pictures would do is followed, and does."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from ganlet.data import PictureSet, load_pictures, write_folder
from ganlet.files import read_json
from ganlet.verify.checks import verdict_of
from ganlet.verify.enough import (
    LEAST_REFERENCE,
    enough_checks,
    enough_warnings,
    few_to_compare,
    held_out,
    shortage,
    warn_if_too_few,
)
from ganlet.verify.fidelity import choose_reference
from support import Answer


def of(count: int) -> PictureSet:
    return PictureSet(np.zeros((count, 1, 2, 2), np.uint8), None, (), "", "folder", (), "")


@pytest.mark.parametrize("holdout", [0.2, 0.05, 0.0])
@pytest.mark.parametrize("count", [2, 3, 4, 5, 12])
def test_few_pictures_are_undecided_and_the_advice_is_true(count: int, holdout: float) -> None:
    (check,) = enough_checks(choose_reference(of(count), holdout, 0, 100), holdout)
    assert check.status == "undecided" and verdict_of([check]) == "failed"
    assert f" {count}" in check.reason and f"data.holdout = {holdout:g}" in check.reason
    (advised,) = re.findall(r"use at least (\d+) pictures", check.reason)
    followed = choose_reference(of(int(advised)), holdout, 0, 100)
    assert enough_checks(followed, holdout) == [] and len(followed.indices) >= LEAST_REFERENCE
    almost = choose_reference(of(int(advised) - 1), holdout, 0, 100)
    assert len(enough_checks(almost, holdout)) == 1
    assert warn_if_too_few(count, holdout).endswith(f"{shortage(count, holdout)}.")


def test_a_larger_share_is_advised_where_it_does() -> None:
    (advised,) = re.findall(r"or data\.holdout = ([\d.]+)$", shortage(50, 0.2))
    assert enough_checks(choose_reference(of(50), float(advised), 0, 100), float(advised)) == []
    assert "or data.holdout" not in shortage(30, 0.2)  # more would be held out than is left to learn from


@given(count=st.integers(2, 300), holdout=st.floats(0, 0.9))
def test_what_is_held_out_is_what_the_data_room_holds_out(count: int, holdout: float) -> None:
    assert held_out(count, holdout) == len(of(count).split(holdout, 0)[1])


def test_nothing_held_out_on_purpose_is_called_by_its_name() -> None:
    (warning,) = enough_warnings(0.0)
    assert "no pictures are held out" in warning and enough_warnings(0.2) == []
    assert few_to_compare(400, 0.0) == "No pictures are held out; set data.holdout above 0."
    assert "set data.holdout above 0" not in few_to_compare(4, 0.2)


@pytest.mark.slow
def test_a_run_of_four_pictures_is_undecided_or_failed_and_says_how_many_would_do(
    ganlet: Callable[..., Answer], finished_run: Path, tiny_tables: dict[str, Any], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    write_folder(load_pictures("digits", size=16, channels=1, count=4), tmp_path / "four", 4)
    tiny_tables["data"] = {"source": "folder", "path": str(tmp_path / "four"), "size": 16, "channels": 1}
    (run / "recipe.toml").write_text(tomli_w.dumps(tiny_tables))
    code, out, _ = ganlet("verify", run)
    assert code == 1 and "use at least 98 pictures" in out
    report = read_json(run / "report.json")
    assert report["checks"][0]["name"] == "pictures to judge by" and report["checks"][0]["status"] == "undecided"
    assert report["reference"]["kind"] == "training pictures"
