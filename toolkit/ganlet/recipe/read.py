"""Reading and writing recipes: TOML, overrides, and every fault of a file at once."""

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w
from pydantic import TypeAdapter, ValidationError

from ganlet.errors import GanletError, shortened, words_of
from ganlet.files import write_text
from ganlet.models.config import DEFAULT_FAMILY
from ganlet.recipe.faults import (
    DECISIVE,
    contradictions,
    nearest,
    of_another_member,
    place_in_table,
    sentence,
    unknown_family,
    valid_keys,
)
from ganlet.recipe.networks import BY_FAMILY, families, section_type, with_family
from ganlet.recipe.text import parse_value, path_faults, read_tables
from ganlet.recipe.useless import useless_keys
from ganlet.recipe.whole import Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_SHOWN = 50  # faults of a recipe; more are a file that is no recipe
MOST_CHARACTERS = 400  # of one of them
OFF = "off"  # the value of a whole section in an override that takes it away


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe and apply `a.b=value` overrides (values in TOML, bare words as strings; `a=off` drops [a]).

    Raises GanletError naming every fault of the file at once.
    """
    tables = read_tables(path)
    for override in overrides:
        _override(tables, override)
    recipe = parse_recipe(tables, str(path))
    _raise_faults(str(path), list(path_faults(_paths(recipe))))
    return recipe


def _paths(recipe: Recipe) -> dict[str, str]:
    """The paths that a recipe names, by their keys."""
    named = {"data.path": recipe.data.path}
    named |= {"transfer.from": recipe.transfer.source_run} if recipe.transfer else {}
    named |= {"distill.from": recipe.distill.teacher_run} if recipe.distill else {}
    named |= {f"compress.{number}.from": step.source_run for number, step in enumerate(recipe.compress)}
    return {key: path for key, path in named.items() if path}


def _raise_faults(origin: str, faults: Sequence[str]) -> None:
    if faults:
        rest = [f"and {len(faults) - MOST_SHOWN:,} more"] if len(faults) > MOST_SHOWN else []
        raise GanletError(
            f"Recipe {origin} has {len(faults):,} fault{'s' * (len(faults) > 1)}; mend each and run again:",
            *(shortened(fault, MOST_CHARACTERS) for fault in faults[:MOST_SHOWN]),
            *rest,
        )


def parse_recipe(tables: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Check tables (as TOML gives them) and build the recipe. Raises GanletError with all faults, a line each."""
    sections: dict[str, Any] = {}
    networks = {name: with_family(name, tables) for name in BY_FAMILY if name in tables}
    unknown = [name for name in tables if name not in Recipe.model_fields]
    # Looking for the nearest name takes time that a file of nothing else would multiply.
    faults = [f"{name}: unknown section{nearest(name, valid_keys(Recipe))}" for name in unknown[:MOST_SHOWN]]
    faults += [f"{name}: unknown section" for name in unknown[MOST_SHOWN:]]
    for name, field in Recipe.model_fields.items():
        if name not in tables:
            if field.is_required():
                faults.append(f"{name}: this section is missing")
            continue
        annotation, table = field.annotation, tables[name]
        if name in networks:
            table, family = networks[name]
            if family is None:
                faults += _of_unknown_family(name, table)
                sections[name] = None
                continue
            annotation = section_type(name, family)
        try:
            sections[name] = _validate(annotation, table)
        except ValidationError as error:
            found = [fault for fault in error.errors(include_url=False) if not of_another_member(fault)]
            found = [fault for fault in found if not _counts_the_faulty(fault, found)]
            faults += [sentence(name, annotation, fault, _size_hint(networks)) for fault in found[:MOST_SHOWN]]
            faults += [".".join(map(str, [name, *fault["loc"]])) for fault in found[MOST_SHOWN:]]
            sections[name] = _without_faults(annotation, table, found)
        except (ValueError, RecursionError) as error:
            faults.append(f"{name}: {words_of(error)}")
            sections[name] = None
    faults = list(dict.fromkeys([*faults, *contradictions(sections), *useless_keys(sections)]))
    _raise_faults(origin, faults)
    return Recipe(**sections)


def _of_unknown_family(name: str, table: dict[str, Any]) -> list[str]:
    """The faults of a section whose family is unknown: that, and what is wrong with the keys that all families have."""
    faults = []
    if "family" in table:
        faults.append(unknown_family(f"{name}.family", table["family"], list(families())))
    section = BY_FAMILY[name]
    common = section.model_fields.keys() - {"family", "widths", "critic"}
    try:
        _validate(section, table)
    except ValidationError as error:
        found = [fault for fault in error.errors(include_url=False) if fault["loc"][:1] and fault["loc"][0] in common]
        faults += [sentence(name, section, fault) for fault in found[:MOST_SHOWN]]
    return faults


def _size_hint(networks: dict[str, tuple[Any, str | None]]) -> Callable[[int], str]:
    """What the recipe's networks say of a size that they cannot have."""
    family = next((family for _, family in networks.values() if family is not None), DEFAULT_FAMILY)
    hint: Callable[[int], str] = families()[family].network.size_hint
    return hint


def _counts_the_faulty(fault: "ErrorDetails", faults: "list[ErrorDetails]") -> bool:
    """Whether a list is called too short only since pydantic leaves its faulty items out of the count."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in faults
    )


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the recipe as resolved, every default included, atomically."""
    values = recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    write_text(path, tomli_w.dumps(values))


def _no_json(value: Any) -> dict[str, str]:
    """A TOML date or time: of no type that a recipe knows."""
    return {type(value).__name__: str(value)}


def _validate(annotation: Any, table: Any) -> Any:
    """Strict validation through JSON: lists become tuples, but "32" is no number and 1 is no truth value."""
    return TypeAdapter(annotation).validate_json(json.dumps(table, default=_no_json), strict=True)


def _without_faults(annotation: Any, table: Any, faults: Sequence[Any]) -> Any:
    """The section without its faulty keys, so that its sizes are judged all the same; None where they decide."""
    copied = json.loads(json.dumps(table, default=_no_json))
    for fault in faults:
        place = place_in_table(annotation, fault["loc"])
        *parents, last = list(itertools.takewhile(lambda part: isinstance(part, str), place)) or [None]
        if last is None or (last in DECISIVE and fault["type"] != "extra_forbidden"):
            return None
        branch = copied
        for parent in parents:
            branch = branch.get(parent, {})
        branch.pop(last, None)
    try:
        return _validate(annotation, copied)
    except ValidationError:
        return None


def _override(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names, shown = key.strip().split("."), shortened(repr(override))
    if not equals or not all(names):
        raise GanletError(f"--set {shown} is not of the form section.key=value, such as --set teacher.train.batch=16.")
    try:
        value = parse_value(text)
    except ValueError as error:
        raise GanletError(f"--set {shown} cannot be read: {error}.") from error
    if len(names) == 1 and names[0] in Recipe.model_fields and value == OFF:
        tables.pop(names[0], None)
        return
    table = tables
    for name in names[:-1]:
        table = _table_at(table, name)
        if not isinstance(table, dict | list) or (isinstance(table, list) and not _is_tables(table)):
            raise GanletError(f"--set {shown}: {name} is not a section of the recipe but a value; check the key.")
    if isinstance(table, list):
        raise GanletError(f"--set {shown}: there are {len(table)} of these tables; say compress.0.KEY for the first.")
    table[names[-1]] = value


def _is_tables(value: list[Any]) -> bool:
    """Whether a list is what [[section]] makes, and not the value of a key."""
    return bool(value) and all(isinstance(table, dict) for table in value)


def _table_at(table: Any, name: str) -> Any:
    """What stands under `name`: in a list of tables that of its number, in a table that of its key, made if need be."""
    if isinstance(table, list):
        return table[int(name)] if name.isdecimal() and int(name) < len(table) else None
    return table.setdefault(name, {})
