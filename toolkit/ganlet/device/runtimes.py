"""Which ONNX Runtime is installed, whether installations conflict, and loading it late.

Every ONNX Runtime distribution unpacks into the one folder `onnxruntime/`: the last one installed overwrites the
others, removing one breaks the rest, and `pip check` sees nothing. So more than one is a fault, whatever seems to work.
"""

import importlib
from importlib import metadata
from typing import Any

from ganlet.errors import GanletError

_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-training",
)


def installed_onnxruntimes() -> dict[str, str]:
    """The installed distributions that hold an `onnxruntime` folder: name -> version. Imports nothing."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def check_onnxruntime_conflict() -> None:
    """Raise GanletError when two ONNX Runtime distributions share the environment."""
    found = installed_onnxruntimes()
    if len(found) > 1:
        both = " and ".join(f"{name} {version}" for name, version in found.items())
        raise GanletError(
            f"Got {both} in one environment, expected one of them (they overwrite each other's files); run "
            f'`pip uninstall -y {" ".join(found)}`, then `pip install "ganlet[cpu]"` or `pip install "ganlet[gpu]"`.'
        )


def load_onnxruntime() -> Any:
    """Import and return the module `onnxruntime`.

    Raises GanletError when it is missing, damaged or installed twice.
    """
    check_onnxruntime_conflict()
    try:
        module = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise _damaged(str(error)) from error
        raise GanletError(
            'ONNX Runtime is not installed, and pictures are drawn with it; run `pip install "ganlet[cpu]"`.'
        ) from error
    except ImportError as error:
        raise _damaged(str(error)) from error
    # What a removed sibling distribution leaves behind imports as an empty namespace package.
    if not hasattr(module, "InferenceSession"):
        raise _damaged("it has no InferenceSession")
    return module


def _damaged(reason: str) -> GanletError:
    return GanletError(
        f"The installed ONNX Runtime cannot be imported ({reason}); run `pip uninstall -y onnxruntime "
        'onnxruntime-gpu`, then `pip install "ganlet[cpu]"`.'
    )
