"""A section's keys are those of its family: valid keys, faults, defaults, and what decides a stage."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from ganlet.errors import GanletError
from ganlet.models import families
from ganlet.recipe import parse_recipe, save_recipe


def faults(tables: dict[str, Any]) -> list[str]:
    with pytest.raises(GanletError) as raised:
        parse_recipe(tables)
    return str(raised.value).split("\n  ")[1:]


@pytest.fixture
def fully_connected(tables: dict[str, Any]) -> dict[str, Any]:
    tables["teacher"]["family"] = "mlp"
    return tables


def test_an_unknown_family_lists_the_valid_ones_beside_all_other_faults(tables: dict[str, Any]) -> None:
    tables["teacher"] |= {"family": "dcgam", "strides": "x", "latent": 0}
    tables["distill"]["train"]["lr"] = -1.0
    listed = faults(tables)
    assert f"teacher.family: input should be {' or '.join(map(repr, families.FAMILIES))}, got 'dcgam'" in listed
    assert {line.split(":")[0] for line in listed} == {"teacher.family", "teacher.latent", "distill.train.lr"}


def test_a_family_that_is_no_word_is_a_fault(tables: dict[str, Any]) -> None:
    tables["teacher"]["family"] = 3
    assert any(line.startswith("teacher.family: ") and line.endswith("got 3") for line in faults(tables))


def test_a_key_of_another_family_is_unknown_and_the_nearest_is_of_its_own(fully_connected: dict[str, Any]) -> None:
    fully_connected["teacher"] |= {"strides": [2, 2], "spectrl": True}
    fully_connected["teacher"]["critic"]["norm"] = "none"
    listed = faults(fully_connected)
    assert any(line.startswith("teacher.strides: unknown key") for line in listed)
    assert "teacher.spectrl: unknown key; did you mean spectral?" in listed
    assert any(line.startswith("teacher.critic.norm: unknown key") for line in listed)


def test_a_student_is_of_its_teachers_family_unless_told(fully_connected: dict[str, Any]) -> None:
    recipe = parse_recipe(fully_connected)
    assert recipe.distill is not None and recipe.distill.family == "mlp"
    fully_connected["distill"] |= {"family": "dcgan", "strides": [2, 2]}
    recipe = parse_recipe(fully_connected)
    assert recipe.distill is not None and recipe.distill.family == "dcgan"


def test_another_family_is_another_stage(tables: dict[str, Any], tmp_path: Path) -> None:
    plain = parse_recipe(tables)
    tables["teacher"]["family"] = "dcgan"
    assert parse_recipe(tables).key("teacher") == plain.key("teacher")
    tables["teacher"]["family"] = "mlp"
    recipe = parse_recipe(tables)
    assert recipe.key("teacher") != plain.key("teacher") and recipe.deciding()["teacher"]["family"] == "mlp"
    save_recipe(recipe, tmp_path / "recipe.toml")
    written = tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8"))
    assert parse_recipe(written) == recipe and written["distill"]["family"] == "mlp"


def test_pictures_of_any_size_fit_a_fully_connected_family(fully_connected: dict[str, Any]) -> None:
    fully_connected["data"]["size"] = 28
    assert parse_recipe(fully_connected).data.size == 28


def test_a_family_without_labels_says_so(tables: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families.FAMILIES["dcgan"].network, "takes_labels", False)
    tables["teacher"]["classes"] = 10
    assert 'teacher.classes: networks of family = "dcgan" take no labels; remove it' in faults(tables)
