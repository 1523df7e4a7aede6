"""What makes a model a Ganlet generator, whichever runtime has read it.

Inputs: the ports of `ganlet.device.feed`, at least one, in that order, with a free batch as first axis. Output `images`
float32 (batch, channels, height, width). Metadata: `ganlet_schema`, "1" where the ports are `z` and perhaps `label`,
"2" with any other; `range` = "-1,1"; `recipe_sha256`; `latent` with a `z`; `classes`, and perhaps `class_names` (a JSON
list), with a `label`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganlet.device.feed import DTYPES, NAMES, ROW_AXES, Port, Ports, find_port, label_port
from ganlet.errors import GanletError

MOST = 2**16  # of latent, channels, sides and classes: beyond it a file is none of ours, or wants to fill the memory
PLAIN_PORTS = {"z", "label"}
"""The ports that schema "1" knows."""


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model: name, element type ("float32", "int64", ...) and shape, None for a free axis."""

    name: str
    element: str
    shape: tuple[int | None, ...]

    def is_batch_of(self, element: str, fixed_axes: int) -> bool:
        """Whether this has a free first axis and then `fixed_axes` axes of known length."""
        batch, *rest = self.shape or (1,)
        fixed = len(rest) == fixed_axes and all(length is not None and length >= 1 for length in rest)
        return self.element == element and batch is None and fixed

    @property
    def known(self) -> tuple[int, ...]:
        """The lengths of the axes that are not free."""
        return tuple(length for length in self.shape if length is not None)

    def __str__(self) -> str:
        return f"{self.name} {self.element} ({', '.join('free' if n is None else str(n) for n in self.shape)})"


@dataclass(frozen=True)
class Contract:
    """Of a generator: its `ports` and `picture_shape` (channels, height, width)."""

    ports: Ports
    picture_shape: tuple[int, int, int]


def schema_of(ports: Ports) -> str:
    """The metadata schema of a file with these ports."""
    return "1" if {port.name for port in ports} <= PLAIN_PORTS else "2"


def metadata_of(ports: Ports) -> dict[str, str]:
    """What a file's metadata says of its ports."""
    said = {"ganlet_schema": schema_of(ports), "range": "-1,1"}
    if (z := find_port(ports, "z")) is not None:
        said["latent"] = str(z.shape[0])
    if (label := find_port(ports, "label")) is not None:
        said["classes"] = str(label.classes)
        if label.class_names:
            said["class_names"] = json.dumps(label.class_names, ensure_ascii=False)
    return said


def read_contract(
    path: Path, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo], metadata: Mapping[str, str]
) -> Contract:
    """What the generator at `path` takes and gives. Raises GanletError unless it is a Ganlet generator."""
    names = [tensor.name for tensor in inputs]
    unknown = next((name for name in names if name not in NAMES), None)
    if unknown is not None and metadata.get("ganlet_schema"):
        raise GanletError(
            f"{path} takes an input {unknown!r}, which this version of Ganlet does not know; expected "
            f"{', '.join(NAMES)}: use the version that wrote it, or a newer one."
        )
    fits = (
        bool(names)
        and names == [name for name in NAMES if name in names]
        and all(tensor.is_batch_of(np.dtype(DTYPES[tensor.name]).name, ROW_AXES[tensor.name]) for tensor in inputs)
        and [tensor.name for tensor in outputs] == ["images"]
        and outputs[0].is_batch_of("float32", 3)
    )
    if not fits:
        raise GanletError(
            f"{path} is not a Ganlet generator: got {', '.join(map(str, [*inputs, *outputs]))}; expected z float32 "
            "(batch, latent), perhaps label int64 (batch), and images float32 (batch, channels, height, width), batch "
            "free; export it with `ganlet export`."
        )
    channels, height, width = outputs[0].known
    classes = metadata.get("classes", "")
    lengths = [length for tensor in [*inputs, *outputs] for length in tensor.known]
    if max(lengths) > MOST or len(classes) > len(str(MOST)):
        raise GanletError(
            f"{path} asks for more than any generator has: {', '.join(map(str, [*inputs, *outputs]))}, classes "
            f"{classes[:20] or None!r}; expected at most {MOST} of each, as `ganlet export` makes it."
        )
    conditional = "label" in names
    has_classes = classes.isdecimal() and int(classes) >= 1
    class_names = _class_names(metadata.get("class_names", ""), int(classes) if has_classes else 0)
    ports = tuple(
        label_port(int(classes), class_names)
        if tensor.name == "label" and has_classes
        else Port(tensor.name, tensor.known)
        for tensor in inputs
    )
    expected = {key: text for key, text in metadata_of(ports).items() if not key.startswith("class")}
    got = {key: metadata.get(key) for key in expected}
    if got != expected or has_classes != conditional:
        raise GanletError(
            f"{path} is not a generator this Ganlet can read: got the metadata {got} and classes {classes or None!r}; "
            f"expected {expected}{' and a number of classes' if conditional else ''}; export it with `ganlet export`."
        )
    return Contract(ports, (channels, height, width))


def _class_names(text: str, classes: int) -> tuple[str, ...]:
    """The names in a file's metadata; none where they are not one text a class, for names are a convenience."""
    try:
        names = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return ()
    fits = isinstance(names, list) and len(names) == classes and all(isinstance(name, str) for name in names)
    return tuple(names) if fits else ()
