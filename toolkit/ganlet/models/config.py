"""What a network is made of. These two classes, written as JSON, are all that is needed to rebuild one."""

import math
from itertools import accumulate
from operator import mul
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Norm = Literal["batch", "instance", "none"]
Block = Literal["transposed", "separable", "resize"]
Condition = Literal["concatenate", "batch-norm"]
CriticCondition = Literal["concatenate", "projection"]
Count = Annotated[int, Field(ge=1, le=2**16)]

FIRST_SIZE_PX = 4


class GeneratorConfig(BaseModel):
    """A generator of (transposed) convolutions: latent -> widths[0] x 4 x 4 -> ... -> channels x size x size."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["dcgan"] = "dcgan"
    latent: Count
    widths: tuple[Count, ...]
    strides: tuple[Count, ...]
    kernels: tuple[Count, ...]
    channels: Literal[1, 3]
    norm: Norm = "batch"
    spectral: bool = False
    block: Block = "transposed"
    """What the hidden layers after the first are made of."""
    classes: Count | None = None
    """Of a conditional generator, which takes a label."""
    condition: Condition = "concatenate"
    """How the label of a conditional generator enters."""
    class_names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "GeneratorConfig":
        if not len(self.widths) == len(self.strides) == len(self.kernels) >= 1:
            raise ValueError("widths, strides and kernels must have one value per layer")
        if self.classes is not None and self.condition == "batch-norm" and self.norm != "batch":
            raise ValueError('condition = "batch-norm" needs norm = "batch"')
        if any(k < s or (k - s) % 2 for k, s in zip(self.kernels, self.strides, strict=True)):
            raise ValueError("kernel - stride must be even and not negative")
        return self

    @property
    def size_px(self) -> int:
        return FIRST_SIZE_PX * math.prod(self.strides)

    @property
    def sizes_px(self) -> list[int]:
        """Side of what each layer makes, the picture's last."""
        return [FIRST_SIZE_PX * scale for scale in accumulate([1, *self.strides], mul)]


def partners(student: GeneratorConfig, teacher: GeneratorConfig) -> list[int | None]:
    """For each layer of the student, the layer of the teacher (counted from 0) that makes maps of the same size.

    Networks with the same strides pair in order. Else a size that one of them has more than once has no partner.
    """
    mine, theirs = student.sizes_px, teacher.sizes_px
    if mine == theirs:
        return list(range(len(mine)))
    return [theirs.index(s) if mine.count(s) == theirs.count(s) == 1 else None for s in mine]


class CriticConfig(BaseModel):
    """A critic of strided convolutions (kernel 4, stride 2, padding 1) and one 4 x 4 convolution to a raw score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Literal["dcgan"] = "dcgan"
    widths: Annotated[tuple[Count, ...], Field(min_length=1)]
    channels: Literal[1, 3]
    norm: Norm = "none"
    spectral: bool = True
    classes: Count | None = None
    """Of a conditional critic, which is shown the label."""
    condition: CriticCondition = "projection"
