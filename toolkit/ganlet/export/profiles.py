"""Which form each layer takes, by the device that is to run it: one visible dict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from ganlet.errors import GanletError
from ganlet.export.fold import fold_batch_norm
from ganlet.export.lower import Form, Layer, layers_of, rewritten

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Profile:
    """The forms that suit a device, by a layer's role; a layer that cannot take its form stays transposed.

    In int8 the transposed layers stay in fp32: a quantised ConvTranspose runs at half the speed of fp32. `unsigned`:
    int8 activations that are never negative are stored as uint8, which has a bit more for them, and is its own ReLU.
    """

    first: Form
    hidden: Form
    last: Form
    why: str
    unsigned: bool = False

    def form_of(self, layer: Layer) -> Form:
        if "transposed" not in layer.forms:  # fully connected
            return self.first if self.first in layer.forms else layer.forms[0]
        wanted: Form = {"first": self.first, "hidden": self.hidden, "last": self.last}[layer.role]
        # A first layer on a larger input is one like any other; what cannot be interleaved may still be shuffled.
        wanted = self.hidden if wanted in ("conv1x1", "gemm") and wanted not in layer.forms else wanted
        wanted = "shuffled" if wanted == "interleaved" and wanted not in layer.forms else wanted
        return wanted if wanted in layer.forms else "transposed"


PROFILES: dict[str, Profile] = {
    "cpu-fp32": Profile("transposed", "transposed", "transposed", "in fp32 other forms gain nothing on a processor"),
    "cpu-int8": Profile(
        "gemm", "interleaved", "transposed", "fastest and nearest to fp32 in ONNX Runtime, OpenVINO and browsers", True
    ),
    "sm75": Profile(
        "conv1x1", "transposed", "transposed", "TensorRT for RTX has no FP32 Gemm on Turing (GTX 16, RTX 20)"
    ),
    "trt-int8": Profile(
        "conv1x1", "shuffled", "transposed", "TensorRT takes signed int8 alone, symmetric; 3 dB further from fp32"
    ),
}

USUAL: dict[Precision, str] = {"fp32": "cpu-fp32", "fp16": "cpu-fp32", "int8": "cpu-int8"}
"""The profile of a precision, unless another is asked for."""
ENGINES: dict[str, str] = {"int8": "trt-int8"}
"""The same for files that engines are built of, where it is another."""


def profile_named(name: str) -> Profile:
    """Raises GanletError for a name that is not in PROFILES."""
    if name not in PROFILES:
        raise GanletError(f"There is no profile {name!r}; expected one of {', '.join(PROFILES)}.")
    return PROFILES[name]


def forms_by(profile: Profile, model: ModelProto) -> dict[str, Form]:
    """Layer -> the form that the profile gives it."""
    return {layer.name: profile.form_of(layer) for layer in layers_of(model)}


def reasons_by(forms: Mapping[str, Form], model: ModelProto) -> dict[str, str]:
    """Layer -> why it has only its own form, for those of `forms` that were left as they are for a reason."""
    return {layer.name: layer.reason for layer in layers_of(model) if layer.reason and layer.name in forms}


def lowered(model: ModelProto, profile: str) -> ModelProto:
    """A generator with batch norms folded and every layer in the form of the profile; the same pictures.

    Raises GanletError for an unknown profile.
    """
    folded = fold_batch_norm(model)
    return rewritten(folded, forms_by(profile_named(profile), folded))
