"""Every recipe in recipes/ parses, says how it is run, and survives being written out as resolved."""

import tomllib
from pathlib import Path

import pytest

from ganlet.recipe import load_recipe, save_recipe

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*.toml"))


def test_there_are_recipes() -> None:
    assert {"kittens-quick.toml", "kittens-64.toml"} <= {path.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_parses_and_its_first_line_runs_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ") and f"ganlet run recipes/{path.name}" in first
    assert load_recipe(path).run.name == path.stem


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_written_out_it_is_the_same_recipe(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    save_recipe(recipe, tmp_path / "recipe.toml")
    again = load_recipe(tmp_path / "recipe.toml")
    assert again == recipe and again.sha256 == recipe.sha256


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_no_value_of_the_file_is_lost(path: Path, tmp_path: Path) -> None:
    def leaves(table: dict, at: str = "") -> dict:  # type: ignore[type-arg]
        found = {}
        for key, value in table.items():
            if isinstance(value, list) and all(isinstance(each, dict) for each in value):  # [[section]]
                value = {str(number): each for number, each in enumerate(value)}
            found |= leaves(value, f"{at}{key}.") if isinstance(value, dict) else {at + key: value}
        return found

    save_recipe(load_recipe(path), tmp_path / "recipe.toml")
    written = leaves(tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8")))
    given = leaves(tomllib.loads(path.read_text(encoding="utf-8")))
    assert {key: written[key] for key in given} == given
    assert len(written) > len(given)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_decides_it_is_what_differs_from_the_defaults(path: Path) -> None:
    recipe = load_recipe(path)
    if any(step.method == "prune" and step.tune for step in recipe.compress):
        pytest.skip("its [compress.tune] has defaults that have changed")
    assert recipe.deciding() == recipe.model_dump(mode="json", by_alias=True, exclude_defaults=True)
