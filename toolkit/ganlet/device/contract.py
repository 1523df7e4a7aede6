"""What makes an ONNX model a Ganlet generator, whichever runtime has read it.

Input `z` float32 (batch, latent) with a free batch, `label` int64 (batch,) as second input of a conditional generator;
output `images` float32 (batch, channels, height, width); metadata `ganlet_schema` = "1", `latent`, `range` = "-1,1",
`recipe_sha256`, and `classes` if conditional.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganlet.errors import GanletError

MOST = 2**16  # of latent, channels, sides and classes: beyond it a file is none of ours, or wants to fill the memory


@dataclass(frozen=True)
class Port:
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
    """Of a generator: `latent_dim`, `picture_shape` (channels, height, width), `classes` (None unless conditional)."""

    latent_dim: int
    picture_shape: tuple[int, int, int]
    classes: int | None


def read_contract(path: Path, inputs: Sequence[Port], outputs: Sequence[Port], metadata: Mapping[str, str]) -> Contract:
    """What the generator at `path` takes and gives. Raises GanletError unless it is a Ganlet generator."""
    names = [port.name for port in inputs]
    conditional = "label" in names
    fits = (
        names in (["z"], ["z", "label"])
        and [port.name for port in outputs] == ["images"]
        and inputs[0].is_batch_of("float32", 1)
        and outputs[0].is_batch_of("float32", 3)
        and (not conditional or inputs[1].is_batch_of("int64", 0))
    )
    if not fits:
        raise GanletError(
            f"{path} is not a Ganlet generator: got {', '.join(map(str, [*inputs, *outputs]))}; expected z float32 "
            "(batch, latent), perhaps label int64 (batch), and images float32 (batch, channels, height, width), batch "
            "free; export it with `ganlet export`."
        )
    (latent_dim,), (channels, height, width) = inputs[0].known, outputs[0].known
    expected = {"ganlet_schema": "1", "latent": str(latent_dim), "range": "-1,1"}
    got = {key: metadata.get(key) for key in expected}
    classes = metadata.get("classes", "")
    if max(latent_dim, channels, height, width) > MOST or len(classes) > len(str(MOST)):
        raise GanletError(
            f"{path} asks for more than any generator has: latent {latent_dim}, {channels} x {height} x {width} px, "
            f"classes {classes[:20] or None!r}; expected at most {MOST} of each, as `ganlet export` makes it."
        )
    has_classes = classes.isdecimal() and int(classes) >= 1
    if got != expected or has_classes != conditional:
        raise GanletError(
            f"{path} is not a generator this Ganlet can read: got the metadata {got} and classes {classes or None!r}; "
            f"expected {expected}{' and a number of classes' if conditional else ''}; export it with `ganlet export`."
        )
    return Contract(latent_dim, (channels, height, width), int(classes) if conditional else None)
