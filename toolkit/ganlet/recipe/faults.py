"""What can be wrong with a recipe, in words: path, what was got, what is expected, the nearest valid key."""

import difflib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ganlet.errors import shortened
from ganlet.models.config import CriticNetwork
from ganlet.recipe.compressing import Distill
from ganlet.recipe.sections import AutoFreeze, Data, Export, Teacher, Transfer
from ganlet.recipe.steps import lesson_faults, step_faults, training_faults

DECISIVE = (
    "path",
    "size",
    "strides",
    "widths",
    "width",
    "pixel",
    "from",
)  # with a default in their place a section would contradict others


def contradictions(sections: dict[str, Any]) -> Iterator[str]:
    """Faults between values that are each valid alone; a section that did not parse is None and left out."""
    data: Data | None = sections.get("data")
    teacher: Teacher | None = sections.get("teacher")
    distill: Distill | None = sections.get("distill")
    transfer: Transfer | None = sections.get("transfer")
    if data is not None:
        if data.source in ("folder", "idx") and not data.path:
            yield f'data.path: source = "{data.source}" needs the path of the pictures'
        if data.source not in ("folder", "idx") and data.path:
            yield f'data.path: the embedded source "{data.source}" takes no path; remove it or set source = "folder"'
        if data.crop == "landmarks" and data.source != "folder":
            yield f'data.crop: landmarks need source = "folder", got "{data.source}"'
    for name, network in (("teacher", teacher), ("distill", distill)):
        if network is not None:
            yield from _network_faults(name, network, None if data is None else data.size)
    if distill is not None:
        yield from _student_faults(distill)
    trained = {"teacher", "transfer", "distill"} & sections.keys()
    if not trained and sections.get("compress", ()) == ():  # one that did not parse is None
        yield "recipe: there is nothing to do; give a [teacher], a [transfer] or a [distill] section"
    yield from step_faults(sections.get("compress") or (), bool(trained), sections.get("export", Export()))
    if transfer is not None and teacher is not None:
        yield "transfer: takes its networks from another run, so [teacher] has no use here; remove one of the two"
    if transfer is not None:
        yield from _freezing_faults(transfer)
    if distill is not None and distill.teacher_run and (teacher is not None or transfer is not None):
        yield "distill.from: this recipe trains its own teacher; remove distill.from, or [teacher] and [transfer]"
    if (
        distill is not None
        and not (distill.teacher_run or teacher or transfer)
        and not {"teacher", "transfer"} & sections.keys()
    ):
        yield "distill.from: there is no [teacher] or [transfer] here to distil; name a run"
    if sections.get("search") and "distill" not in sections:
        yield "search: there is no student to try others around; add [distill]"
    for name, stage in (("teacher", teacher), ("transfer", transfer), ("distill", distill)):
        if stage is not None:
            yield from training_faults(name, stage.train, stage.loss)
        owner, critic = _critic(name, stage, teacher)
        if stage is not None and stage.loss == "wgan-gp" and critic is not None and critic.mixes_samples:
            yield f"{owner}.critic.norm: batch mixes samples and is not valid under a gradient penalty; use instance"


def _freezing_faults(transfer: Transfer) -> Iterator[str]:
    if transfer.auto != AutoFreeze() and not transfer.is_searched:
        yield 'transfer.auto: both numbers of layers are given; set freeze_generator or freeze_critic to "auto"'
    if transfer.is_searched and transfer.unfreeze:
        yield 'transfer.unfreeze: what thaws saves no memory in the end, so "auto" has nothing to find; give numbers'
        return
    frozen = max((k for k in (transfer.freeze_generator, transfer.freeze_critic) if k != "auto"), default=0)
    if transfer.unfreeze and len(transfer.unfreeze) > frozen:
        yield f"transfer.unfreeze: {len(transfer.unfreeze)} moments, but only {frozen} layers to thaw; give as many"


def _student_faults(distill: Distill) -> Iterator[str]:
    if not distill.widths and distill.width is None:
        yield "distill.widths: this key is missing; give it, or distill.width as a fraction of the teacher's"
    if distill.width is not None:
        for key, value in distill.shape.items():
            if value:
                yield f"distill.{key}: distill.width takes the teacher's shape; remove one of the two"
    yield from lesson_faults("distill", distill)


def _network_faults(name: str, section: Teacher | Distill, size_px: int | None) -> Iterator[str]:
    """What contradicts itself within the networks of a section, as their family says it."""
    if isinstance(section, Teacher) and section.classes is not None and not section.takes_labels:
        yield f'{name}.classes: networks of family = "{section.family}" take no labels; remove it'
    yield from (f"{name}.{fault}" for fault in section.faults(size_px))
    if isinstance(section.critic, CriticNetwork):
        yield from (f"{name}.critic.{fault}" for fault in section.critic.faults(size_px))


def _critic(name: str, stage: Any, teacher: Teacher | None) -> tuple[str, CriticNetwork | None]:
    """The critic that a stage trains, as far as this recipe tells, and the section that it stands in."""
    critic = getattr(stage, "critic", None)
    if critic == "teacher":
        return "teacher", teacher.critic if teacher is not None else None
    return name, critic


def unknown_family(path: str, family: Any, known: Sequence[str]) -> str:
    """The fault of a section whose `family` is none of those known."""
    return f"{path}: input should be {' or '.join(map(repr, known))}, got {_shown(family)}"


def sentence(section: str, annotation: Any, fault: Any, size_hint: Callable[[int], str] = lambda size_px: "") -> str:
    """One line for one of pydantic's faults: path, what is wrong, what was got, the nearest valid key.

    `size_hint`: what to say of a size of pictures that is out of range, as `Network.size_hint`.
    """
    annotation, loc = _of_its_kind(annotation, fault["loc"])
    place = place_in_table(annotation, loc)
    path = ".".join(str(part) for part in [section, *place])
    if fault["type"].startswith("union_tag_"):
        return _no_kind(path, annotation, fault)
    if fault["type"] == "extra_forbidden":
        return f"{path}: unknown key{nearest(str(place[-1]), valid_keys(_model_at(annotation, place[:-1])))}"
    if fault["type"] == "missing":
        return f"{path}: this {'value' if isinstance(place[-1], int) else 'key'} is missing"
    told = fault["msg"].removeprefix("Value error, ")
    told = told[0].lower() + told[1:]
    if fault["type"] == "literal_error":
        told += _besides_words(annotation, place)
    elif fault["type"] == "model_type":
        told = "input should be " + " or ".join([*map(repr, _words(annotation, place)), "a table"])
    if path == "data.size" and fault["type"] in ("greater_than_equal", "less_than_equal"):
        hint = size_hint(fault["input"])
        told += f" ({hint})" if hint else ""
    return f"{path}: {told}, got {_shown(fault['input'])}"


def _shown(value: Any) -> str:
    """A value as it stands in a recipe, shortened. A whole number may have more digits than Python writes out."""
    try:
        return shortened(repr(value), 100)
    except ValueError:
        return "a number of thousands of digits"


def _words(annotation: Any, place: Sequence[Any]) -> list[str]:
    """The words that are welcome where a table is."""
    kinds = _members_at(annotation, place)
    return [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]


def _besides_words(annotation: Any, place: Sequence[Any]) -> str:
    """What else is welcome where a word is: " or a number", " or a table", "" where words alone are."""
    members = _members_at(annotation, place)
    kinds = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in members]
    types_ = [kind for kind in kinds if isinstance(kind, type)]
    return "".join(f" or a {'table' if issubclass(kind, BaseModel) else 'number'}" for kind in types_)


def _members_at(annotation: Any, place: Sequence[Any]) -> tuple[Any, ...]:
    """What the value at `place` may be; nothing for a section as a whole, or for one of a list."""
    if not place or isinstance(place[-1], int):
        return ()
    return _kinds(_annotation_at(_model_at(annotation, place[:-1]), place[-1]))


def _no_kind(path: str, annotation: Any, fault: Any) -> str:
    """A table of a section of several kinds that names none of them."""
    key = fault["ctx"]["discriminator"].strip("'")
    if fault["type"] == "union_tag_not_found":
        return f"{path}.{key}: this key is missing; valid are {', '.join(_kinds_by_tag(annotation))}"
    tag = str(fault["ctx"]["tag"])
    return f"{path}.{key}: there is no {tag!r}{nearest(tag, list(_kinds_by_tag(annotation)))}"


def _kinds_by_tag(annotation: Any) -> dict[str, type[BaseModel]]:
    """Of a section written as [[section]] whose tables are of several kinds, told apart by a key: the kinds."""
    each = get_args(annotation)[0] if get_origin(annotation) is tuple else None
    if get_origin(each) is not Annotated:
        return {}
    union, *about = get_args(each)
    key = next((note.discriminator for note in about if isinstance(note, FieldInfo)), None)
    return {get_args(kind.model_fields[key].annotation)[0]: kind for kind in get_args(union)} if key else {}


def _of_its_kind(annotation: Any, loc: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """The annotation as if all tables were of the kind of a fault's, and the fault's place without that kind's tag."""
    kind = _kinds_by_tag(annotation).get(loc[1]) if len(loc) > 1 else None
    return (annotation, loc) if kind is None else (tuple[kind, ...], [loc[0], *loc[2:]])  # type: ignore[valid-type]


def _model_at(annotation: Any, place: Sequence[Any]) -> type[BaseModel] | None:
    """The recipe class that stands at `place` below `annotation`."""
    each = _of_each(annotation)
    if each is not None:
        return _model_at(each, place[1:]) if place else None
    model = next((kind for kind in _kinds(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return _model_at(_annotation_at(model, place[0]), place[1:]) if place else model


def _annotation_at(model: type[BaseModel] | None, key: Any) -> Any:
    fields = model.model_fields.items() if model else ()
    return next((field.annotation for name, field in fields if key == (field.alias or name)), None)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The members of a union without None, or the one type that `annotation` is."""
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return tuple(kind for kind in members if kind is not types.NoneType)


def _of_each(annotation: Any) -> Any:
    """What each of the tables is in a section that is written as [[section]], else None."""
    each = get_args(annotation)[0] if get_origin(annotation) is tuple else None
    return each if isinstance(each, type) and issubclass(each, BaseModel) else None


def valid_keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def nearest(word: str, valid: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; valid are {', '.join(valid)}" if valid else ""


def place_in_table(annotation: Any, loc: Sequence[Any]) -> list[Any]:
    """A fault's place as keys of the TOML: without the names that pydantic gives a union's members."""
    annotation, loc = _of_its_kind(annotation, loc)
    if loc and _of_each(annotation) is not None:
        return [loc[0], *place_in_table(_of_each(annotation), loc[1:])]
    place: list[Any] = []
    in_union = False
    for part in loc:
        if in_union:
            in_union = False
        else:
            in_union = len(_kinds(_annotation_at(_model_at(annotation, place), part))) > 1
            place.append(part)
    return place


def of_another_member(fault: Any) -> bool:
    """Whether a fault only says that what is no word is not the word which could stand in its place, or a word no
    number."""
    is_word = fault["type"] == "literal_error" and str(fault["loc"][-1]).startswith("literal[")
    if isinstance(fault["input"], str):
        return fault["type"].startswith("int_") and fault["loc"][-1:] in (("int",), ("constrained-int",))
    return is_word
