"""[teacher] and [distill] take part of their keys from a family of networks: the sections with those keys."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast

from pydantic import create_model

from ganlet.errors import GanletError
from ganlet.models.config import DEFAULT_FAMILY
from ganlet.recipe.compressing import Distill
from ganlet.recipe.sections import Teacher
from ganlet.section import Section

BY_FAMILY: dict[str, type[Section]] = {"teacher": Teacher, "distill": Distill}
"""The sections that have a key `family`."""


def families() -> Mapping[str, Any]:
    """`ganlet.models.families.FAMILIES`. Imports torch. Raises GanletError where that is not installed."""
    try:
        from ganlet.models.families import FAMILIES
    except ModuleNotFoundError as error:
        what = f"A recipe needs {error.name}, which is not installed"
        raise GanletError(f'{what}; run: pip install "ganlet[train]"') from error
    return FAMILIES


@cache
def teacher_section(family: str) -> type[Teacher]:
    """[teacher] with the keys of a family's generator and critic."""
    known = families()[family]
    base, critic = (Teacher, known.network), (known.critic, ...)
    return cast(type[Teacher], create_model("Teacher", __base__=base, family=_family(family), critic=critic))


@cache
def distill_section(family: str) -> type[Distill]:
    """[distill] with the keys of a family's generator and critic."""
    known = families()[family]
    base, critic = (Distill, known.network), (Literal["teacher"] | known.critic, ...)
    return cast(type[Distill], create_model("Distill", __base__=base, family=_family(family), critic=critic))


def _family(name: str) -> Any:
    """The key `family`, which has a default in one family alone, so that any other is part of what decides a stage."""
    return (Literal[name], DEFAULT_FAMILY if name == DEFAULT_FAMILY else ...)


def section_type(name: str, family: str) -> type[Section]:
    """The section `name`, which is in BY_FAMILY, with the keys of a family."""
    return teacher_section(family) if name == "teacher" else distill_section(family)


def with_family(name: str, tables: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The table `name` with the family that it takes from the recipe's teacher, and that family (None: unknown)."""
    table = tables[name]
    if not isinstance(table, dict):
        return table, DEFAULT_FAMILY
    teacher = tables.get("teacher")
    inherited = teacher.get("family", DEFAULT_FAMILY) if isinstance(teacher, dict) else DEFAULT_FAMILY
    family = table.get("family", inherited if name == "distill" else DEFAULT_FAMILY)
    if not isinstance(family, str) or family not in families():
        return table, None
    return (table if family == DEFAULT_FAMILY else table | {"family": family}), family
