"""Reading and writing recipes: TOML, overrides, and every fault of a file at once."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from ganlet.errors import GanletError
from ganlet.files import write_text
from ganlet.recipe.faults import contradictions, nearest, place_in_table, sentence, valid_keys
from ganlet.recipe.sections import Recipe


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe and apply `a.b=value` overrides (values in TOML, bare words as strings).

    Raises GanletError naming every fault of the file at once.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GanletError(
            f"Recipe {path} does not exist; give the path of a .toml file, such as those in recipes/."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise GanletError(f"Recipe {path} cannot be read ({error}); give a readable UTF-8 .toml file.") from error
    except tomllib.TOMLDecodeError as error:
        raise GanletError(f"Recipe {path} is not valid TOML: {error}; mend that line.") from error
    for override in overrides:
        _override(tables, override)
    return parse_recipe(tables, str(path))


def parse_recipe(tables: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Check tables (as TOML gives them) and build the recipe. Raises GanletError with all faults, a line each."""
    sections: dict[str, Any] = {}
    faults = [
        f"{name}: unknown section{nearest(name, valid_keys(Recipe))}"
        for name in tables
        if name not in Recipe.model_fields
    ]
    for name, field in Recipe.model_fields.items():
        if name not in tables:
            if field.is_required():
                faults.append(f"{name}: this section is missing")
            continue
        try:
            sections[name] = _validate(field.annotation, tables[name])
        except ValidationError as error:
            found = error.errors(include_url=False)
            faults += [sentence(name, field.annotation, fault) for fault in found]
            if all(fault["type"] == "extra_forbidden" for fault in found):  # judge the sizes all the same
                sections[name] = _validate(field.annotation, _without(tables[name], [fault["loc"] for fault in found]))
    faults += contradictions(sections)
    if faults:
        listed = "\n  ".join(dict.fromkeys(faults))
        raise GanletError(
            f"Recipe {origin} has {len(faults)} fault{'s' * (len(faults) > 1)}; mend each and run again:\n  {listed}"
        )
    return Recipe(**sections)


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe as resolved, every default included, atomically."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    write_text(path, tomli_w.dumps(values))


def _validate(annotation: Any, table: Any) -> Any:
    """Strict validation through JSON: lists become tuples, but "32" is no number and 1 is no truth value."""
    return TypeAdapter(annotation).validate_json(json.dumps(table, default=str), strict=True)


def _without(table: Any, places: Sequence[tuple[Any, ...]]) -> Any:
    """A copy of `table` without the keys at `places`."""
    copied = json.loads(json.dumps(table, default=str))
    for place in places:
        *parents, last = place_in_table(place)
        branch = copied
        for parent in parents:
            branch = branch[parent]
        del branch[last]
    return copied


def _override(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise GanletError(
            f"--set {override!r} is not of the form section.key=value, such as --set teacher.train.batch=16."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = tables
    for name in names[:-1]:
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise GanletError(f"--set {override!r}: {name} is not a section of the recipe but a value; check the key.")
    table[names[-1]] = value
