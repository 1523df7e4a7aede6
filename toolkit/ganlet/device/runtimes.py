"""Which runtimes are installed, whether installations conflict, and loading them late.

Every ONNX Runtime distribution unpacks into the one folder `onnxruntime/`: the last one installed overwrites the
others, removing one breaks the rest, and `pip check` sees nothing. So more than one is a fault, whatever seems to work.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from ganlet.errors import GanletError, words_of

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
    """Import and return the module `onnxruntime`, which reports nothing to its maker.

    Raises GanletError when it is missing, damaged or installed twice.
    """
    check_onnxruntime_conflict()
    try:
        module = importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise _damaged(words_of(error)) from error
        raise GanletError(
            'ONNX Runtime is not installed, and pictures are drawn with it; run `pip install "ganlet[cpu]"`.'
        ) from error
    except ImportError as error:
        raise _damaged(words_of(error)) from error
    # What a removed sibling distribution leaves behind imports as an empty namespace package.
    if not hasattr(module, "InferenceSession"):
        raise _damaged("it has no InferenceSession")
    # Where the caller imported it before ganlet, it has not read the switch that ganlet/__init__.py sets.
    if os.environ.get("ORT_DISABLE_TELEMETRY") == "1" and hasattr(module, "disable_telemetry_events"):
        module.disable_telemetry_events()
    return module


def load_openvino() -> Any:
    """Import and return the module `openvino`, which reports nothing to its maker.

    It reports its import and every conversion where `openvino_telemetry` is there: that is made to look missing for the
    rest of the process. Raises GanletError when OpenVINO is missing or damaged.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return _load("openvino", "OpenVINO", "openvino")


def load_executorch() -> Any:
    """Import and return the module `executorch.runtime`; on a desktop it imports torch, a phone's runtime does not.

    Raises GanletError when it is missing or damaged.
    """
    # It tells of the processor's files that it did not find, and that its interface may change.
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _load("executorch.runtime", "ExecuTorch", "executorch")


@contextlib.contextmanager
def quiet_stderr() -> Iterator[Callable[[], str]]:
    """Keep what native code writes to standard error off the terminal; yields a function that tells what it wrote.

    A failure raises all the same.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:

        def written() -> str:
            sys.stderr.flush()
            return os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")

        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _load(module: str, name: str, extra: str) -> Any:
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise _broken(name, package, extra, error) from error
        raise GanletError(f'{name} is not installed; run `pip install "ganlet[{extra}]"`.') from error
    except (ImportError, OSError) as error:  # OSError: a library of another version of torch
        raise _broken(name, package, extra, error) from error


def _broken(name: str, package: str, extra: str, error: Exception) -> GanletError:
    return GanletError(
        f"The installed {name} cannot be imported ({words_of(error)}); run `pip uninstall -y {package}`, then "
        f'`pip install "ganlet[{extra}]"`.'
    )


def _damaged(reason: str) -> GanletError:
    return GanletError(
        f"The installed ONNX Runtime cannot be imported ({reason}); run `pip uninstall -y onnxruntime "
        'onnxruntime-gpu`, then `pip install "ganlet[cpu]"`.'
    )
