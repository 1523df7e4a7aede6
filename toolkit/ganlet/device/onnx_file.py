"""What is checked of an ONNX file before any runtime opens it: presence, size, integrity, and that it stands alone.

An ONNX tensor may point at another file ("external data"). ONNX Runtime follows such a pointer by itself - relative to
the model's folder, or to the current folder for a model given as bytes - so a model from elsewhere could read other
files. Ganlet exports one whole file, hence every pointer is refused. The `onnx` package is too heavy for a device, so
the few fields that matter are found by walking the protobuf wire format (protobuf.dev/programming-guides/encoding);
payloads are skipped, not read, and the file is mapped, not copied: it never counts twice in the process's memory.

A model may also define functions, which call each other. ONNX Runtime writes out every call: n functions of two calls
each become 2^n nodes, from a file of a kilobyte. A Loop may have no end, and runtimes heed no signal while they draw.
A hundred thousand nodes keep a runtime's optimiser busy for minutes. Names are handed to Python as text and need not be
any. Ganlet's exports have none of these, hence they are refused too.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

from ganlet.device.manifest import check_unchanged
from ganlet.errors import GanletError

MAX_MODEL_BYTES = 2 * 10**9  # protobuf itself ends at 2^31 - 1 bytes
MAX_FIELDS = 500_000  # a generator has hundreds; a file of nothing but fields would be walked for an hour
MAX_NODES = 20_000  # a generator has fewer than a hundred, the largest feature nets a few thousand
MAX_TEXT_BYTES = 2**20  # of one name or note

# Where a TensorProto or a text can hide: message -> field number -> message (onnx.proto, IR version 13).
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse", 14: "annotation", 16: "entry"}
    | dict.fromkeys((11, 12, 13), "value"),
    "node": {5: "attribute", 9: "entry"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "entry"},
    "type": {1: "tensor_type"},
    "tensor_type": {2: "shape"},
    "shape": {1: "dim"},
    "annotation": {2: "entry"},
    "tensor": {16: "entry"},
    "dim": {},
    "opset": {},
    "entry": {},
}
# Fields that hold text: message -> field numbers.
_TEXTS: dict[str, frozenset[int]] = {
    "model": frozenset({2, 3, 4, 6}),
    "graph": frozenset({2, 10}),
    "node": frozenset({1, 2, 3, 4, 6, 7, 8}),
    "attribute": frozenset({1, 13, 21}),
    "tensor": frozenset({8, 12}),
    "value": frozenset({1, 3}),
    "type": frozenset({6}),
    "dim": frozenset({2, 3}),
    "annotation": frozenset({1}),
    "opset": frozenset({1}),
    "entry": frozenset({1, 2}),
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # fields of TensorProto
_MAX_DEPTH = 100  # protobuf's own limit
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class _Damaged(Exception):
    """The bytes are no protobuf message."""


class _TooMuch(Exception):
    """The file has more of something than a runtime can be burdened with."""


@dataclass
class _Found:
    fields: int = 0
    nodes: int = 0
    subgraphs: bool = False
    graph: bool = False
    external: bool = False
    functions: bool = False


def check_onnx_file(path: Path) -> bool:
    """Check that `path` is one whole, unchanged ONNX file of plain operators; returns whether a manifest lists it.

    Raises GanletError when it is missing, no file, empty, over 2 GB, unlike its entry in a `manifest.json` beside it,
    no ONNX model, or holds external data, functions, graphs in operators, too many nodes, or names that are no text.
    """
    if not path.exists():
        raise GanletError(f"{path} does not exist; check the path, or make it with `ganlet export`.")
    if not path.is_file():
        raise GanletError(f"{path} is not a file, expected an .onnx file; give the path of the file itself.")
    try:
        model_bytes = path.stat().st_size
        if model_bytes == 0:
            raise GanletError(f"{path} is empty, expected an ONNX model; export it again with `ganlet export`.")
        if model_bytes > MAX_MODEL_BYTES:
            raise GanletError(
                f"{path} has {model_bytes / 1e6:.0f} MB, expected at most {MAX_MODEL_BYTES / 1e6:.0f} MB; "
                "export a smaller generator."
            )
        is_listed = check_unchanged(path)
        found = _Found()
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _walk(data, 0, len(data), "model", 0, found)
    except OSError as error:
        raise GanletError(f"Cannot read {path}: {error.strerror or error}; check its permissions.") from error
    except _TooMuch as error:
        raise GanletError(
            f"{path} has {error}, which would keep a runtime busy for minutes; expected a generator or a feature net, "
            "which has a few hundred nodes with short names."
        ) from None
    except _Damaged as error:
        raise _not_onnx(path, str(error)) from error
    _require_harmless(path, found)
    if not found.graph:
        raise _not_onnx(path, "it holds no graph")
    return is_listed


def _require_harmless(path: Path, found: _Found) -> None:
    if found.external:
        raise GanletError(
            f"{path} keeps weights in another file (ONNX external data), expected one whole file; export it again with "
            "`ganlet export`, or save it with `onnx.save(onnx.load(path), path)`."
        )
    if found.functions:
        raise GanletError(
            f"{path} defines functions of its own, and a kilobyte of those can keep ONNX Runtime busy for hours; "
            "expected plain operators: inline them with `onnx.inliner.inline_local_functions` if you trust the file."
        )
    if found.subgraphs:
        raise GanletError(
            f"{path} has operators with a graph of their own (Loop, If, Scan), which may run without end; expected "
            "plain operators: export the network without control flow."
        )


def _not_onnx(path: Path, reason: str) -> GanletError:
    """The one sentence for a file that is cut short, damaged, or something else altogether."""
    return GanletError(
        f"{path} is not a whole ONNX model ({reason}): it is damaged, cut short or of another kind; copy it again or "
        "export it again with `ganlet export`."
    )


def _walk(data: mmap.mmap, position: int, end: int, message: str, depth: int, found: _Found) -> None:
    """Walk one message and note in `found` what it holds."""
    if depth > _MAX_DEPTH:
        raise _Damaged("it is nested too deeply")
    while position < end:
        found.fields += 1
        if found.fields > MAX_FIELDS:
            raise _Damaged(f"it has more than {MAX_FIELDS:,} fields")
        tag, position = _varint(data, position, end)
        # Protobuf keeps 32 bits of a tag: a longer one could name another field to the runtime than it does here.
        if not 8 <= tag < 2**32:
            raise _Damaged("it is no protobuf message")
        field, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, position = _varint(data, position, end)
            found.external |= message == "tensor" and field == _DATA_LOCATION and value != 0
            continue
        start, position = _payload(data, position, end, wire_type)
        if wire_type != _LENGTH:
            continue
        if field in _TEXTS.get(message, ()):
            _require_text(data, start, position)
        found.external |= message == "tensor" and field == _EXTERNAL_DATA
        child = _CHILDREN[message].get(field)
        found.graph |= message == "model" and child == "graph"
        found.functions |= child == "function"
        found.subgraphs |= message == "attribute" and child == "graph"
        found.nodes += child == "node"
        if found.nodes > MAX_NODES:
            raise _TooMuch(f"more than {MAX_NODES:,} nodes")
        if child is not None:
            _walk(data, start, position, child, depth + 1, found)


def _require_text(data: mmap.mmap, start: int, end: int) -> None:
    if end - start > MAX_TEXT_BYTES:
        raise _TooMuch(f"a name or note of {end - start:,} bytes")
    try:
        data[start:end].decode("utf-8")
    except UnicodeDecodeError:
        raise _Damaged("a name or note in it is no text") from None


def _payload(data: mmap.mmap, position: int, end: int, wire_type: int) -> tuple[int, int]:
    """First and one past the last byte of a field that is no varint."""
    if wire_type == _LENGTH:
        payload_bytes, position = _varint(data, position, end)
    elif wire_type in (_FIXED32, _FIXED64):
        payload_bytes = 4 if wire_type == _FIXED32 else 8
    else:
        raise _Damaged("it is no protobuf message")
    if position + payload_bytes > end:
        raise _Damaged("it ends in the middle of a field")
    return position, position + payload_bytes


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """A base-128 number, low bits first, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _Damaged("it ends in the middle of a field")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Damaged("it is no protobuf message")
