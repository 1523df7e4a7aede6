"""What a file says of itself: bounded before anything is allocated for it, and the same after a round trip."""

import json
from pathlib import Path

import numpy as np
import pytest

from ganlet.device.contract import Contract, TensorInfo, metadata_of, read_contract, schema_of
from ganlet.device.feed import Port, Ports, label_port, z_port
from ganlet.errors import GanletError

SAID = {"ganlet_schema": "1", "range": "-1,1"}


@pytest.mark.parametrize(
    ("latent", "side", "classes", "told"),
    [
        (2_000_000_000, 8, None, r"z float32 \(free, 2000000000\)"),
        (8, 2**17, None, "131072"),
        (8, 8, "9" * 5000, "classes '9999"),
    ],
)
def test_sizes_that_no_generator_has_are_refused(latent: int, side: int, classes: str | None, told: str) -> None:
    inputs = [TensorInfo("z", "float32", (None, latent)), *([TensorInfo("label", "int64", (None,))] if classes else [])]
    outputs = [TensorInfo("images", "float32", (None, 3, side, 8))]
    metadata = SAID | {"latent": str(latent)} | ({"classes": classes} if classes else {})
    with pytest.raises(GanletError, match=told):
        read_contract(Path("x.onnx"), inputs, outputs, metadata)


def read(ports: Ports, metadata: dict[str, str]) -> Contract:
    """The contract of a file with these inputs and this metadata, that draws 8 x 8 px."""
    inputs = [TensorInfo(port.name, np.dtype(port.dtype).name, (None, *port.shape)) for port in ports]
    return read_contract(Path("x.onnx"), inputs, [TensorInfo("images", "float32", (None, 1, 8, 8))], metadata)


CODE, PICTURE = Port("code", (3,)), Port("picture", (1, 8, 8))
NAMES = ("cat", "gato con botas", "кот", 'a "quoted" one')


@pytest.mark.parametrize(
    ("ports", "schema"),
    [
        ((z_port(5),), "1"),
        ((z_port(5), label_port(4)), "1"),
        ((z_port(5), label_port(4, NAMES)), "1"),
        ((label_port(4),), "1"),
        ((z_port(5), CODE), "2"),
        ((z_port(5), label_port(4, NAMES), CODE), "2"),
        ((PICTURE,), "2"),
    ],
)
def test_ports_round_trip_through_the_metadata(ports: Ports, schema: str) -> None:
    metadata = metadata_of(ports)
    assert schema_of(ports) == metadata["ganlet_schema"] == schema
    assert all(isinstance(text, str) for text in metadata.values())
    assert read(ports, metadata) == Contract(ports, (1, 8, 8))
    with pytest.raises(GanletError, match=r"not a generator this Ganlet can read.*expected \{'ganlet_schema'"):
        read(ports, metadata | {"ganlet_schema": "3" if schema == "2" else "2"})


def test_an_input_of_a_newer_version_is_named() -> None:
    inputs = [TensorInfo("z", "float32", (None, 5)), TensorInfo("style", "float32", (None, 2))]
    outputs = [TensorInfo("images", "float32", (None, 1, 8, 8))]
    with pytest.raises(GanletError, match=r"an input 'style', which this version of Ganlet does not know.*newer one"):
        read_contract(Path("x.onnx"), inputs, outputs, {"ganlet_schema": "3", "range": "-1,1"})
    with pytest.raises(GanletError, match="is not a Ganlet generator"):
        read_contract(Path("x.onnx"), inputs, outputs, {})  # no file of Ganlet's at all


def test_ports_in_another_order_are_refused() -> None:
    ports = (CODE, z_port(5))
    with pytest.raises(GanletError, match="is not a Ganlet generator"):
        read(ports, metadata_of(ports))


@pytest.mark.parametrize(
    "text",
    ["", "cat", "[", '["a", "b"]', '["a", "b", "c", "d", "e"]', '["a", "b", "c", 4]', '{"a": 1}', "4", "[" * 100_000],
)
def test_damaged_class_names_are_ignored(text: str) -> None:
    ports = (z_port(5), label_port(4, NAMES))
    assert read(ports, metadata_of(ports) | {"class_names": text}).ports == (z_port(5), label_port(4))


def test_class_names_are_a_list_in_json() -> None:
    assert json.loads(metadata_of((label_port(4, NAMES),))["class_names"]) == list(NAMES)
    assert "class_names" not in metadata_of((label_port(4),))


@pytest.mark.parametrize("classes", ["", "0", "-3", "three", "3.0"])
def test_a_label_needs_a_number_of_classes(classes: str) -> None:
    ports = (z_port(5), label_port(4))
    with pytest.raises(GanletError, match="and a number of classes"):
        read(ports, metadata_of(ports) | {"classes": classes})
