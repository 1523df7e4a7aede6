"""A generator in an ONNX file (`ganlet.device.contract`), run by OpenVINO on the processor.

The package itself, provider `openvino`; ONNX Runtime's plugin of that name goes by `OpenVINOExecutionProvider`.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device import trial
from ganlet.device.contract import Contract, TensorInfo, read_contract
from ganlet.device.feed import Feed, check_feed
from ganlet.device.profiles import choose_profile
from ganlet.device.runner import check_pictures
from ganlet.device.runtimes import load_openvino
from ganlet.device.trial import OPENVINO
from ganlet.errors import GanletError, words_of
from ganlet.files import is_utf8

NAME = "openvino"
_ELEMENTS = {"f32": "float32", "i64": "int64"}


class OpenVinoRunner:
    """An ONNX generator, fp32 or int8 Q/DQ, as a `Runner`. Its last bits depend on the number of rows of a call."""

    def __init__(
        self, path: Path | str, *, provider: str = NAME, threads: int | None = None, profile: str = "fast"
    ) -> None:
        """Check, load and compile the model at `path`, for the processor.

        Args: `provider` "openvino"; `threads` None for the profile's; `profile` one of `ganlet.device.profiles`.
        Raises GanletError when the file, the runtime or the provider is not what was asked for.
        """
        path = Path(path)
        if provider != NAME:
            raise GanletError(f"Got the provider {provider!r} for OpenVINO; expected {NAME}.")
        chosen = choose_profile(profile, threads)
        runtime = load_openvino()
        trial.examine(path, OPENVINO)
        try:
            model = runtime.Core().read_model(path if is_utf8(path) else path.read_bytes())
            contract, self.metadata = _contract(path, model)
            compiled = runtime.Core().compile_model(model, "CPU", _options(chosen.threads))
            self._request = compiled.create_infer_request()
        except GanletError:
            raise
        except Exception as error:  # RuntimeError mostly, MemoryError where that ends, UnicodeDecodeError of names
            raise GanletError(
                f"OpenVINO {runtime.__version__} cannot load {path} ({_reason(error)}): the file is damaged, or has "
                "operators that it lacks; export it again with `ganlet export`, or leave --provider out."
            ) from error
        self.name = path.name
        self.provider = f"OpenVINO {' '.join(compiled.get_property('EXECUTION_DEVICES'))}"
        self.ports, self.picture_shape = contract.ports, contract.picture_shape

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        """Draw the pictures of a feed, as `ganlet.device.runner.Runner` says."""
        count = check_feed(self.name, self.ports, feed)
        try:
            self._request.infer(feed)
        except Exception as error:  # as above
            raise GanletError(
                f"{self.name} failed to draw {count} pictures on {self.provider} ({_reason(error)}); "
                f"{'try a smaller batch, or ' * (count > 1)}leave --provider out."
            ) from error
        # A copy: the request owns the tensor and writes its next pictures into it.
        pictures = np.array(self._request.get_output_tensor(0).data)
        check_pictures(self, pictures, count)
        return pictures


def _options(threads: int | None) -> dict[str, Any]:
    # f32: left to itself OpenVINO computes in bf16 or fp16 where the processor can.
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    return options if threads is None else options | {"INFERENCE_NUM_THREADS": threads}


def _contract(path: Path, model: Any) -> tuple[Contract, dict[str, str]]:
    """The contract and the metadata of a model that OpenVINO has read."""
    metadata = {}
    if "framework" in model.get_rt_info():
        metadata = {key: str(value.value) for key, value in model.get_rt_info()["framework"].items()}
    return read_contract(path, [*map(_port, model.inputs)], [*map(_port, model.outputs)], metadata), metadata


def _port(node: Any) -> TensorInfo:
    element = node.element_type.get_type_name()
    shape = (None if axis.is_dynamic else axis.get_length() for axis in node.partial_shape)
    return TensorInfo(node.any_name, _ELEMENTS.get(element, element), tuple(shape))


def _reason(error: Exception) -> str:
    """The last line of OpenVINO's words; the first ones say where in its source it happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return words_of(lines[-1] if lines else error)
