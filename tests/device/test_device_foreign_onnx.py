"""ONNX from elsewhere: what could read other files or keep the runtime busy is refused before the runtime sees it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from ganlet.device import OnnxRunner, onnx_file
from ganlet.device.feed import z_port
from ganlet.device.onnx_file import check_onnx_file
from ganlet.device.openvino_runner import OpenVinoRunner
from ganlet.errors import GanletError
from ganlet.metrics.onnx_net import OnnxNet

SECRET = np.arange(4, dtype=np.float32)


def pointing(location: str) -> onnx.ModelProto:
    """y = x + w, with w kept in the file at `location`."""
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside the model's folder, with a symbolic and a hard link to it inside."""
    path = tmp_path / "secret.bin"
    path.write_bytes(SECRET.tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "symbolic.bin").symlink_to(path)
    os.link(path, folder / "hard.bin")
    (folder / "own.bin").write_bytes(SECRET.tobytes())
    return path


def what_onnx_runtime_does(path: Path) -> str:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return f"refused: {error}"
    return "read" if np.array_equal(session.run(None, {"x": np.zeros(4, np.float32)})[0], SECRET) else "loaded"


@pytest.mark.parametrize(
    ("location", "alone"),
    [
        ("own.bin", "read"),
        ("hard.bin", "read"),  # the reason why no pointer at all is allowed: the runtime cannot see a hard link
        ("symbolic.bin", "refused"),
        ("../secret.bin", "refused"),
        ("absolute", "refused"),
    ],
)
def test_no_pointer_to_another_file_is_followed(location: str, alone: str, secret: Path) -> None:
    """Older runtimes than this one follow the last three as well (CVE-2026-27489, -34446, -34447 are onnx's own)."""
    path = secret.parent / "model" / "generator.onnx"
    onnx.save(pointing(str(secret) if location == "absolute" else location), path)
    assert what_onnx_runtime_does(path).startswith(alone)
    for load in (OnnxRunner, OnnxNet, check_onnx_file):
        with pytest.raises(GanletError, match="external data"):
            load(path)


def test_a_model_that_is_a_link_is_checked_like_any_other(generator: Path, secret: Path) -> None:
    folder = secret.parent / "model"
    (folder / "symbolic.onnx").symlink_to(generator)
    os.link(generator, folder / "hard.onnx")
    for name in ("symbolic.onnx", "hard.onnx"):
        assert OnnxRunner(folder / name, threads=1).ports == (z_port(8),)
    (folder / "broken.onnx").symlink_to(folder / "gone")
    (folder / "loop.onnx").symlink_to(folder / "loop.onnx")
    os.mkfifo(folder / "pipe.onnx")
    for name, words in (("broken.onnx", "does not exist"), ("loop.onnx", "loop.onnx"), ("pipe.onnx", "not a file")):
        with pytest.raises(GanletError, match=words):
            OnnxRunner(folder / name)


def calling(depth: int) -> onnx.ModelProto:
    """`depth` functions, each calling the next one twice: 2^(depth - 1) operators once they are written out."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    functions = []
    for level in range(depth):
        calls = [helper.make_node("Relu", ["a"], ["c"])]
        if level < depth - 1:
            calls = [
                helper.make_node(f"F{level + 1}", list(ends[0]), list(ends[1]), domain="f") for ends in ("ab", "bc")
            ]
        functions.append(helper.make_function("f", f"F{level}", ["a"], ["c"], calls, opsets))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("F0", ["x"], ["y"], domain="f")], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def test_functions_are_refused_since_the_runtime_writes_out_every_call(tmp_path: Path) -> None:
    path, written = tmp_path / "generator.onnx", []
    for depth in (4, 6):
        onnx.save(calling(depth), path)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(tmp_path / "written.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        written.append(len(onnx.load(tmp_path / "written.onnx").graph.node))
        for load in (OnnxRunner, OnnxNet):
            with pytest.raises(GanletError, match="inline_local_functions"):
                load(path)
    assert written == [2**3, 2**5]  # 30 such functions, 2 kB, would be half a billion
    inlined = onnx.inliner.inline_local_functions(onnx.load(path))  # the remedy that the sentence names
    onnx.save(inlined, path)
    check_onnx_file(path)


@pytest.mark.parametrize("load", [OnnxRunner, OpenVinoRunner, OnnxNet])
@pytest.mark.parametrize("place", ["axis", "key", "value", "node", "operator", "constant", "producer"])
def test_a_name_that_is_no_text_is_refused(
    place: str, load: Callable[[Path], object], tmp_path: Path, build_generator: Callable[..., onnx.ModelProto]
) -> None:
    """Runtimes hand names to Python, which raises UnicodeDecodeError at any of them."""
    model = build_generator(batch="NAME") if place == "axis" else build_generator()
    if place in ("key", "value"):
        model.metadata_props.add(key="NAME", value="NAME")
    elif place == "node":
        model.graph.node[0].name = "NAME"
    elif place == "operator":
        model.graph.node[0].op_type = "NAME"
    elif place == "constant":
        model.graph.initializer[0].name = "NAME"
    elif place == "producer":
        model.producer_name = "NAME"
    path = tmp_path / "generator.onnx"
    path.write_bytes(model.SerializeToString().replace(b"NAME", b"\xff\xfeA\xc3"))
    with pytest.raises(GanletError, match="no text"):
        load(path)


def test_more_nodes_than_any_generator_are_refused(tmp_path: Path, build_generator: Callable[..., Any]) -> None:
    model = build_generator()
    for number in range(onnx_file.MAX_NODES):
        model.graph.node.add(op_type="Relu", input=[f"r{number}"], output=[f"r{number + 1}"])
    onnx.save(model, tmp_path / "generator.onnx")
    with pytest.raises(GanletError, match="more than 20,000 nodes"):
        check_onnx_file(tmp_path / "generator.onnx")


@pytest.mark.parametrize("operator", ["Loop", "If", "Scan"])
def test_operators_with_a_graph_of_their_own_are_refused(
    operator: str, tmp_path: Path, build_generator: Callable[..., Any]
) -> None:
    """A Loop may have no end, and ONNX Runtime heeds no signal while it draws."""
    model = build_generator()
    body = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "body", [], [])
    model.graph.node.append(helper.make_node(operator, ["images"], ["other"], body=body))
    onnx.save(model, tmp_path / "generator.onnx")
    with pytest.raises(GanletError, match="without control flow"):
        check_onnx_file(tmp_path / "generator.onnx")


def test_operators_of_another_domain_are_a_sentence(tmp_path: Path, build_generator: Callable[..., Any]) -> None:
    model = build_generator()
    model.graph.node[0].domain = "com.example"
    model.opset_import.add(domain="com.example", version=1)
    onnx.save(model, tmp_path / "generator.onnx")
    with pytest.raises(GanletError, match=r"cannot load .*com\.example"):
        OnnxRunner(tmp_path / "generator.onnx")


def test_a_field_number_that_protobuf_reads_as_another_is_refused(tmp_path: Path) -> None:
    """A tag has 32 bits; what lies above is dropped by some parsers, and field 13 would be external data to them."""
    content = pointing("secret.bin").SerializeToString()
    at = content.index(b"\x6a") if content.count(b"\x6a") == 1 else content.index(b"\x6a\x16")
    hidden = bytes([0x6A | 0x80, 0x80, 0x80, 0x80, 0x10])  # 13 << 3 | 2, and bit 32
    path = tmp_path / "generator.onnx"
    path.write_bytes(content[:at] + hidden + content[at + 1 :])
    with pytest.raises(GanletError, match="not a whole ONNX model"):
        check_onnx_file(path)


def test_a_file_of_nothing_but_fields_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_FIELDS", 1000)
    (tmp_path / "generator.onnx").write_bytes(b"\x08\x09" * 1001)
    with pytest.raises(GanletError, match="more than 1,000 fields"):
        check_onnx_file(tmp_path / "generator.onnx")
    nested = b""
    for tag in [0x32, 0x2A, 0x0A] * 40 + [0x3A]:  # the graph's node's attribute's graph's node's ...
        length = bytes([len(nested) & 0x7F | 0x80, len(nested) >> 7])
        nested = bytes([tag]) + length + nested
    (tmp_path / "generator.onnx").write_bytes(nested)
    with pytest.raises(GanletError, match="nested too deeply"):
        check_onnx_file(tmp_path / "generator.onnx")


# ---------------------------------------------------------------- against protobuf itself


def holds(message: Any, wanted: Callable[[Any], bool]) -> bool:
    """Whether any message within `message` is `wanted`: by protobuf's own description, not by our table."""
    if wanted(message):
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            values = value if hasattr(value, "__len__") else [value]
            if any(holds(each, wanted) for each in values):
                return True
    return False


def points_elsewhere(message: Any) -> bool:
    return isinstance(message, TensorProto) and (len(message.external_data) > 0 or message.data_location != 0)


def models() -> list[bytes]:
    """Small models of every form that a tensor can hide in."""
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=pointing("s").graph.initializer[0])], "g", [], []
    )
    hidden = pointing("s")
    hidden.graph.initializer[0].ClearField("external_data")
    hidden.graph.initializer[0].ClearField("data_location")
    plain = hidden.SerializeToString()
    hidden.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
    sparse = pointing("s")
    sparse.graph.sparse_initializer.add().values.CopyFrom(sparse.graph.initializer.pop())
    training = helper.make_model(helper.make_graph([], "g", [], []))
    training.training_info.add().algorithm.CopyFrom(inner)
    return [plain, pointing("s").SerializeToString(), *(m.SerializeToString() for m in (hidden, sparse, training))]


MODELS = models()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_bytes_are_accepted_or_a_sentence_and_no_pointer_is_missed(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(MODELS)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        change = data.draw(st.sampled_from(["set", "cut", "insert", "double"]))
        if change == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del content[at : at + data.draw(st.integers(1, 8))]
        elif change == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            content[at:at] = content[at : at + 40]
        if not content:
            break
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        check_onnx_file(path)
    except GanletError:
        return
    try:
        parsed = onnx.ModelProto.FromString(bytes(content))
    except DecodeError:
        return  # a field that is of no use to us may be damaged: the runtime tells
    assert not holds(parsed, points_elsewhere)
    assert not parsed.functions


def test_the_models_above_are_what_they_should_be(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for index, content in enumerate(MODELS):
        path.write_bytes(content)
        assert holds(onnx.ModelProto.FromString(content), points_elsewhere) == (index > 0)
        if index == 0:
            check_onnx_file(path)
            continue
        with pytest.raises(GanletError, match="external data"):
            check_onnx_file(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=200))
def test_arbitrary_bytes_are_accepted_or_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    try:
        check_onnx_file(path)
    except GanletError as error:
        assert "\n" not in str(error)
