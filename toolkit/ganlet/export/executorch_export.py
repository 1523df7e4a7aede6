"""The generator as an ExecuTorch program (.pte) whose layers run in XNNPACK, fp32 or int8: for phones.

One picture a call: that is what a phone draws, and the program then plans memory for one. What the file holds stands in
`ganlet.device.executorch_runner`.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlet.artifact import Stage, add_to_manifest, versions
from ganlet.device.contract import metadata_of
from ganlet.errors import GanletError
from ganlet.export.onnx_export import without_spectral_norm
from ganlet.files import write_bytes
from ganlet.models.base import Generator
from ganlet.models.ports import seeded_feed, zeros
from ganlet.training.load import load_generator

FILES = {"fp32": "generator.pte", "int8": "generator.int8.pte"}
CALIBRATION_SEED, CALIBRATION_LATENTS = 2**32, 32  # a seed that nothing else draws with


def export_executorch(stage: Stage, run: Path, precision: str) -> Path:
    """Write RUN/generator.pte or RUN/generator.int8.pte from a stage's generator and list it in the manifest.

    The same weights give the same bytes. Raises GanletError for another precision, and without the extra `executorch`.
    """
    require_executorch(precision)
    generator = load_generator(stage)
    config, recipe_sha256 = generator.config, stage.config["provenance"].get("recipe_sha256", "")
    program, outside = executorch_bytes(generator, recipe_sha256, precision)
    path = run / FILES[precision]
    write_bytes(path, program)
    add_to_manifest(
        run,
        path.name,
        precision=precision,
        inputs={port.name: {"shape": [1, *port.shape], "dtype": np.dtype(port.dtype).name} for port in generator.ports},
        outputs={"images": {"shape": [1, config.channels, config.size_px, config.size_px], "dtype": "float32"}},
        backend="XNNPACK",
        outside_backend=outside,
        **stage.as_source(),
        versions=versions() | _versions(),
    )
    return path


def require_executorch(precision: str) -> None:
    """Raise GanletError for a precision that this target has not, and where ExecuTorch is missing."""
    if precision not in FILES:
        raise GanletError(f"--to executorch --precision {precision} cannot be made; expected {' or '.join(FILES)}.")
    missing = [name for name in ("executorch", "torchao") if find_spec(name) is None]
    if missing:
        raise GanletError(
            f"--to executorch needs {', '.join(missing)}, not installed here; run "
            '`pip install "ganlet[train,cpu,executorch]"` first.'
        )


def executorch_bytes(generator: Generator, recipe_sha256: str, precision: str) -> tuple[bytes, list[str]]:
    """The program's content, and the operators in it that portable kernels run because XNNPACK has none.

    Inputs: one row of each port, in order; output float32 (1, channels, size, size). int8: weights per channel,
    activations per tensor, from feeds that nothing else draws.
    """
    network = copy.deepcopy(generator).eval()
    without_spectral_norm(network)
    example = tuple(zeros(network.ports, 1).values())
    metadata = metadata_of(network.ports) | {"recipe_sha256": recipe_sha256}
    if len(example) > 1:
        metadata["ports"] = ",".join(port.name for port in network.ports)
    with _quiet(), torch.no_grad():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        traced: Any = network if precision == "fp32" else _quantised(network, example)
        edge = to_edge_transform_and_lower(
            torch.export.export(traced, example), partitioner=[XnnpackPartitioner()], constant_methods=metadata
        )
        program = edge.to_executorch()
        nodes = [node for node in program.exported_program().graph.nodes if node.op == "call_function"]
    names = [str(getattr(node.target, "__name__", node.target)) for node in nodes]
    return bytes(program.buffer), [name for name in names if name not in ("executorch_call_delegate", "getitem")]


def _quantised(network: Generator, example: tuple[torch.Tensor, ...]) -> Any:
    """The network with int8 weights and activations, in the form that XNNPACK's partitioner knows."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(network, example).module(), quantiser)
    for index in range(CALIBRATION_LATENTS):
        prepared(*seeded_feed(network.ports, CALIBRATION_SEED, index, 1).values())
    return convert_pt2e(prepared)


def _versions() -> dict[str, str]:
    return {name: installed.version(name) for name in ("executorch", "torchao")}


@contextmanager
def _quiet() -> Iterator[None]:
    """ExecuTorch and torchao warn of their own insides; an error still raises."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
