"""Keys that nothing would look at: a recipe that sets one asks for something that it would not get."""

from collections.abc import Iterator
from typing import Any

from ganlet.artifact import TRAINED_SECTIONS
from ganlet.recipe.compressing import Distill, Lessons
from ganlet.recipe.sections import Data, Export, Teacher, Train

ENGINES = {"trt-rtx", "tensorrt"}


def useless_keys(sections: dict[str, Any]) -> Iterator[str]:
    """A fault for each key that is set, to another value than its default, where it has no use.

    A section that did not parse is None and left out.
    """
    data: Data | None = sections.get("data")
    export: Export | None = sections.get("export")
    distill: Distill | None = sections.get("distill")
    if data is not None:
        yield from _of_data(data)
    if export is not None and export.gpus and not ENGINES & set(export.targets):
        yield f"export.gpus: engines alone are built for a card; remove it, or add {' or '.join(sorted(ENGINES))}"
    yield from _of_no_classes(sections.get("teacher"))
    if distill is not None and distill.init == "random" and distill.importance != _default(Distill, "importance"):
        yield 'distill.importance: random weights have no channels to choose from; remove it, or set init = "teacher"'
    stages = [(name, sections.get(name)) for name in TRAINED_SECTIONS]
    stages += [(f"compress.{number}.tune", step.tune) for number, step in enumerate(sections.get("compress") or ())]
    for name, stage in stages:
        if isinstance(stage, Lessons) and not stage.needs_critic:
            yield from _of_no_critic(name, stage)
        elif stage is not None:
            yield from _of_training(name, stage.train, stage.loss)


def _of_data(data: Data) -> Iterator[str]:
    if data.source in ("folder", "idx") and data.count != _default(Data, "count"):
        yield f'data.count: source = "{data.source}" takes all of its pictures; remove it'
    if data.source != "folder" and data.skip_bad:
        yield f'data.skip_bad: source = "{data.source}" has no bad pictures; remove it'


def _of_no_classes(teacher: Teacher | None) -> Iterator[str]:
    if teacher is None or teacher.classes is not None:
        return
    for name, section in (("teacher", teacher), ("teacher.critic", teacher.critic)):
        field = type(section).model_fields.get("condition")  # not every family leaves a choice
        if field is not None and getattr(section, "condition", None) != field.default:
            yield f"{name}.condition: there are no classes; remove it, or set teacher.classes"


def _of_no_critic(name: str, lessons: Lessons) -> Iterator[str]:
    for key in ("gate", "real_share"):
        if getattr(lessons, key) != _default(Lessons, key):
            yield f"{name}.{key}: no part of this loss asks the critic; remove it, or give alpha or features a weight"


def _of_training(name: str, train: Train, loss: str) -> Iterator[str]:
    if loss != "wgan-gp" and train.gradient_penalty != _default(Train, "gradient_penalty"):
        yield f'{name}.train.gradient_penalty: loss = "{loss}" has none; remove it, or set loss = "wgan-gp"'
    if loss == "wgan-gp" and train.real_label_low != _default(Train, "real_label_low"):
        yield f'{name}.train.real_label_low: loss = "wgan-gp" has no labels; remove it'


def _default(section: type[Any], key: str) -> Any:
    return section.model_fields[key].default
