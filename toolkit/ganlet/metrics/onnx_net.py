"""Any ONNX model as a feature net: one input of pictures, one output of features.

`python -m ganlet.metrics.onnx_net feature-net PATH` is the child of `ganlet.device.trial` for such a file.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device import trial
from ganlet.device.runtimes import load_onnxruntime
from ganlet.errors import GanletError, words_of
from ganlet.files import is_utf8, sha256_file
from ganlet.metrics.checks import require_pictures
from ganlet.metrics.resize import resize_clean

INPUT_NAMES = ("images", "image", "pictures", "input", "x", "pixel_values")
RANGES = {"0,1": (1 / 255, 0.0), "-1,1": (2 / 255, -1.0), "0,255": (1.0, 0.0)}  # value = scale * grey level + offset
TYPES = ("tensor(float)", "tensor(uint8)")
SILENT = 4
NET = "feature-net"  # what its trial in a child process goes by
FREE_SIDE_PX = 64  # of the picture in that trial, where the net takes any size


class OnnxNet:
    """The features (n, d) that an ONNX model computes of pictures.

    The model has one input called one of `INPUT_NAMES`, float32 or uint8, (batch, 3, height, width) or (batch, height,
    width, 3), or 1 channel for grey, with a free batch, and its first output is float32 (batch, d). Pictures are
    resized antialiased to the input's height and width where these are fixed. Values lie in [0, 1] unless the model's
    metadata `ganlet_range` says "-1,1" or "0,255"; uint8 always is 0 to 255. Raises GanletError for any other model.
    The name of the net is the file's, in a-z, 0-9 and -.
    """

    batch = 32  # the results do not depend on it

    def __init__(self, path: Path) -> None:
        runtime = load_onnxruntime()
        trial.examine(path, NET, "ganlet.metrics.onnx_net")
        self.name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "onnx"
        if self.name.startswith("inception") or self.name == "lite0":
            self.name = f"onnx-{self.name}"  # these names are taken
        self._session = _session(runtime, path)
        self._input, self._axes, self.size_px = _picture_input(path, self._session)
        self.dim = _features_output(path, self._session)
        grey_levels = self._input.type == "tensor(uint8)"
        span = "0,255" if grey_levels else self._session.get_modelmeta().custom_metadata_map.get("ganlet_range", "0,1")
        if span not in RANGES:
            raise GanletError(
                f"{path} wants values in {span!r}; expected ganlet_range to be one of {', '.join(RANGES)}."
            )
        self._scale, self._offset = RANGES[span]
        size = (
            "as they are"
            if self.size_px is None
            else f"bicubic antialiased to {self.size_px[1]}x{self.size_px[0]} (Pillow)"
        )
        self.protocol = f"onnx model {sha256_file(path)}; {size}; values {span}; {self._axes}"

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, d) float32 of `pictures` uint8 (n, 1 or 3, height, width), in batches.

        Raises GanletError for another dtype or shape, and when the runtime fails or gives another shape.
        """
        require_pictures(pictures)
        found = np.empty((len(pictures), self.dim), dtype=np.float32)
        for start in range(0, len(pictures), self.batch):
            feed = {self._input.name: self._prepared(pictures[start : start + self.batch])}
            try:
                features = self._session.run(None, feed)[0]
            except Exception as error:  # ONNX Runtime's exceptions share no base class
                raise GanletError(
                    f"The feature net {self.name} failed ({_first_line(error)}); check the model."
                ) from error
            if features.shape != found[start : start + self.batch].shape:
                raise GanletError(
                    f"The feature net {self.name} gave {features.shape} for {len(feed[self._input.name])} pictures; "
                    f"expected ({len(feed[self._input.name])}, {self.dim})."
                )
            found[start : start + self.batch] = features
        return found

    def tensors(self) -> Iterable[Any]:
        """Nothing: ONNX Runtime's memory is not torch's."""
        return ()

    def _prepared(self, pictures: NDArray[np.uint8]) -> NDArray[Any]:
        channels = 1 if self._axes.endswith("grey") else 3
        if pictures.shape[1] > channels:
            raise GanletError(f"The feature net {self.name} takes grey pictures, got colour; use another net.")
        height, width = self.size_px or pictures.shape[2:]
        values = resize_clean(np.ascontiguousarray(pictures), height, width)
        values = np.broadcast_to(values, (len(values), channels, height, width))
        if self._input.type == "tensor(uint8)":
            values = np.rint(values).clip(0, 255).astype(np.uint8)
        else:
            values = (values * np.float32(self._scale) + np.float32(self._offset)).astype(np.float32)
        return np.ascontiguousarray(values.transpose(0, 2, 3, 1) if self._axes.startswith("nhwc") else values)


def _session(runtime: Any, path: Path) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        model = str(path) if is_utf8(path) else path.read_bytes()
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise GanletError(
            f"ONNX Runtime {runtime.__version__} cannot load the feature net {path} ({_first_line(error)}); check the "
            "model."
        ) from error


def _picture_input(path: Path, session: Any) -> tuple[Any, str, tuple[int, int] | None]:
    """The input, its layout ("nchw", "nhwc", " grey" after it for one channel), and (height, width) where fixed."""
    inputs = session.get_inputs()
    got = ", ".join(f"{node.name} {node.type}{node.shape}" for node in inputs)
    fault = GanletError(
        f"The feature net {path} has the inputs {got}; expected one input called {', '.join(INPUT_NAMES)}, float or "
        "uint8 (batch, 3, height, width) or (batch, height, width, 3) with a free batch; rename it or export it again."
    )
    if len(inputs) != 1 or inputs[0].name not in INPUT_NAMES or inputs[0].type not in TYPES:
        raise fault
    shape = inputs[0].shape or []
    if len(shape) != 4 or isinstance(shape[0], int):
        raise fault
    for layout, channels, sides in (("nchw", shape[1], shape[2:]), ("nhwc", shape[3], shape[1:3])):
        if channels in (1, 3):
            axes = layout if channels == 3 else f"{layout} grey"
            fixed = all(isinstance(side, int) for side in sides)
            return inputs[0], axes, (int(sides[0]), int(sides[1])) if fixed else None
    raise fault


def _features_output(path: Path, session: Any) -> int:
    output = session.get_outputs()[0]
    shape = output.shape or []
    if output.type != "tensor(float)" or len(shape) != 2 or not isinstance(shape[1], int) or shape[1] < 1:
        raise GanletError(
            f"The feature net {path} gives {output.name} {output.type}{shape}; expected float features (batch, d) with "
            "a fixed d; pool over space and flatten before the output."
        )
    return int(shape[1])


def _first_line(error: Exception) -> str:
    return words_of(error)


def main(path: Path) -> None:
    """The child of a trial: the features of one grey picture."""

    def look() -> None:
        net = OnnxNet(path)
        net.features(np.full((1, 1, *(net.size_px or (FREE_SIDE_PX, FREE_SIDE_PX))), 128, np.uint8))

    trial.trust(path, NET)
    trial.answer(load_onnxruntime, look, path)


if __name__ == "__main__":
    main(Path(sys.argv[2]))
