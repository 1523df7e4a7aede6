"""Every recipe in recipes/ parses, says how it is run, and survives being written out as resolved."""

import hashlib
import json
import tomllib
from pathlib import Path

import pytest

from ganlet.recipe import load_recipe, save_recipe

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*.toml"))
KEYS = {  # of what earlier versions made of the shipped recipes
    "alpha-study-0.001": "1bb6430c87a31e189d846990",
    "alpha-study-0.01": "37c464cedd4f6d52a4c617cd",
    "alpha-study-0.05": "3112fbda7b2bf5afa398bcd8",
    "alpha-study-0.3": "8459d9d4f8d16b1ac7abab91",
    "basework-distill": "240d86f2a830cfde2e9df14e",
    "basework-teacher": "81ecf619f95c0cccadebc0e8",
    "basework-transfer": "e9ed0b655c9c67b8aa2883af",
    "digits-smoke": "797346cc9b51f6ec6f384e65",
    "kittens-64": "b5592d5f3b7c611fd24559b6",
    "kittens-pruned": "eeba29a23c195b31aa33bd68",
    "kittens-quick": "475ba11bd27ffc6284e8a97d",
    "kittens-search": "2dea75b2ad4111d1d3109248",
    "kittens-to-monsters": "a76451cf04c163b5a0490b7f",
    "kittens-to-monsters-small": "d9fdb7565f52d871aaa2288a",
}


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


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_of_what_was_made_by_earlier_versions_are_the_same(name: str) -> None:
    recipe = load_recipe(ROOT / "recipes" / f"{name}.toml")
    sections = ("teacher", "transfer", "distill", "compress", "search")
    keys = [recipe.key("data", section, data_sha256="pictures", source="weights") for section in sections]
    assert hashlib.sha256(json.dumps([*keys, recipe.sha256]).encode()).hexdigest()[:24] == KEYS[name]
