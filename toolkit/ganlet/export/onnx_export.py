"""The generator as one ONNX file: eval mode, the latent as input, dynamic batch, nothing of this machine inside."""

import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto
from torch import nn
from torch.nn.utils import parametrize

from ganlet.artifact import Stage, add_to_manifest, versions
from ganlet.device.contract import metadata_of
from ganlet.errors import GanletError, words_of
from ganlet.export.flop import METADATA_KEY, flop_per_picture
from ganlet.files import write_bytes
from ganlet.models.base import Generator
from ganlet.models.ports import zeros
from ganlet.training.load import load_generator

OPSET = 20
OUTPUT = "images"
CLASSES = ("classes", "class_names")
KEPT = {"ganlet_schema", "latent", "range", "recipe_sha256", "classes", "class_names", METADATA_KEY}
"""The metadata that a device reads: of a model that another is made of, this goes on (the useful work is the same)."""


def export_onnx(stage: Stage, run: Path) -> Path:
    """Write RUN/generator.onnx from a stage's generator (its averaged weights) and list it in the manifest.

    The same weights give the same bytes. Raises GanletError when the result does not pass `onnx.checker`.
    """
    generator = load_generator(stage)
    path = run / "generator.onnx"
    content = onnx_bytes(generator, stage.config["provenance"].get("recipe_sha256", ""))
    write_bytes(path, content)
    add_to_manifest(
        run,
        path.name,
        precision="fp32",
        **onnx_facts(onnx.load_from_string(content)),
        **stage.as_source(),
        recipe_sha256=stage.config["provenance"].get("recipe_sha256", ""),
        versions=versions(),
    )
    return path


def onnx_bytes(generator: Generator, recipe_sha256: str) -> bytes:
    """The ONNX file's content: inputs are the generator's ports, the output is images (batch, channels, size, size)."""
    without_spectral_norm(generator.eval())
    example = zeros(generator.ports, 2)
    batch = {0: torch.export.Dim("batch", min=1, max=65536)}
    with _quiet():
        program = torch.onnx.export(
            generator,
            kwargs=example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(example),
            output_names=[OUTPUT],
            dynamic_shapes=dict.fromkeys(example, batch),
        )
    if program is None:
        raise GanletError("torch exported nothing; expected an ONNX program, update torch and onnxscript.")
    model = program.model_proto
    metadata = {
        **metadata_of(generator.ports),
        "recipe_sha256": recipe_sha256,
        METADATA_KEY: str(flop_per_picture(model)),
    }
    return bytes(finished(model, metadata).SerializeToString(deterministic=True))


def finished(model: ModelProto, more: Mapping[str, str]) -> ModelProto:
    """The model as it is written: nothing of this machine, its metadata and `more`, and the checker has seen it.

    Raises GanletError when it does not pass `onnx.checker`.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key in KEPT} | dict(more)
    forget_machine(model)
    onnx.helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GanletError(
            f"The exported model does not pass onnx.checker ({words_of(error)}); report it with your recipe."
        ) from error
    return model


def onnx_facts(model: ModelProto) -> dict[str, Any]:
    """What the manifest tells of an ONNX file besides its bytes: opset, IR version, inputs, outputs, classes, and a
    schema other than the first.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return {
        "opset": opset,
        "ir_version": model.ir_version,
        "inputs": {value.name: _port(value) for value in model.graph.input},
        "outputs": {value.name: _port(value) for value in model.graph.output},
        **({"ganlet_schema": schema} if (schema := metadata.get("ganlet_schema", "1")) != "1" else {}),
        **{key: int(metadata[key]) if key == "classes" else metadata[key] for key in CLASSES if key in metadata},
    }


def _port(value: onnx.ValueInfoProto) -> dict[str, Any]:
    kind = value.type.tensor_type
    axes = [axis.dim_param if axis.HasField("dim_param") else axis.dim_value for axis in kind.shape.dim]
    return {"shape": axes, "dtype": onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name}


def without_spectral_norm(network: nn.Module) -> None:
    """Replace every spectrally normalised weight by its value, in place: eval mode gives the same pictures."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def forget_machine(model: Any) -> None:
    """Clear what the exporter notes of the exporting machine: stack traces with absolute paths, in every part."""
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    parts = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for function in model.functions:
        parts += [function, *function.node, *function.value_info]
    for part in parts:
        part.ClearField("metadata_props")
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter prints its progress; an error still raises."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
