"""Figures that invite a wrong reading carry a note, in the text and in --json."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support import Answer

Call = Callable[..., Answer]
Make = Callable[..., Path]


def document(answer: Answer) -> dict[str, Any]:
    assert answer[0] == 0, answer
    return json.loads(answer[1].splitlines()[-1])  # type: ignore[no-any-return]


def test_kid_of_a_set_with_itself_is_explained(ganlet: Call, net: Path, pictures: Make) -> None:
    a = pictures("a")
    found = document(ganlet("fid", a, a, "--features", net, "--kid", "--json"))
    assert found["figures"]["kid_quarters_24"]["value"] < 0
    (note,) = found["notes"]
    assert note.startswith("A and B are the same pictures") and "below 0 by construction" in note
    assert f"note: {note}" in ganlet("fid", a, a, "--features", net, "--kid")[1]


def test_the_same_pictures_in_other_files_and_another_order_are_known(
    ganlet: Call, net: Path, pictures: Make, tmp_path: Path
) -> None:
    a, b = pictures("a"), tmp_path / "b"
    b.mkdir()
    for index, path in enumerate(sorted(a.iterdir(), reverse=True)):
        Image.open(path).save(b / f"{index:03d}.bmp")
    (note,) = document(ganlet("fid", a, b, "--features", net, "--json"))["notes"]
    assert note == "A and B are the same pictures, so their distance is 0"


def test_sets_that_share_pictures_say_how_many(ganlet: Call, net: Path, pictures: Make) -> None:
    a, b = pictures("a"), pictures("b", count=48, seed=1)
    for path in sorted(a.iterdir())[:6]:
        (b / f"again-{path.name}").write_bytes(path.read_bytes())
    (note,) = document(ganlet("fid", a, b, "--features", net, "--kid", "--json"))["notes"]
    assert note.startswith("25% of A's pictures are in B too and 11% of B's in A")


def test_different_sets_of_enough_pictures_carry_no_note(ganlet: Call, net: Path, pictures: Make) -> None:
    answer = ganlet("fid", pictures("a"), pictures("b", seed=1), "--features", net, "--kid", "--json")
    assert document(answer)["notes"] == []


@pytest.mark.parametrize(("first", "second", "who"), [(24, 5, "B has 5"), (5, 24, "A has 5"), (7, 7, "A and B have 7")])
def test_few_pictures_on_either_side_are_said_with_the_number_that_would_do(
    first: int, second: int, who: str, ganlet: Call, net: Path, pictures: Make
) -> None:
    a, b = pictures("a", count=first), pictures("b", count=second, seed=1)
    (note,) = document(ganlet("fid", a, b, "--features", net, "--json"))["notes"]
    assert note.startswith(f"{who} pictures, few for 12 features, and ") and "say next to nothing" in note
    enough = int(re.findall(r"use at least ([\d,]+)", note)[0].replace(",", ""))
    c, d = pictures("c", count=enough), pictures("d", count=enough, seed=1)
    advised = document(ganlet("fid", c, d, "--features", net, "--json"))
    assert advised["notes"] == []


def test_intervals_without_a_width_are_marked(ganlet: Call, net: Path, pictures: Make) -> None:
    a, b = pictures("a"), pictures("b", seed=1, top=3)  # bright noise against black: nothing in common
    found = document(ganlet("fid", a, b, "--features", net, "--prdc", "--json"))
    precision = found["figures"]["precision_quarters_24"]
    assert precision["low"] == precision["value"] == precision["high"] == 0
    assert any(
        note.startswith("the interval of precision, recall, density, coverage has no") for note in found["notes"]
    )
