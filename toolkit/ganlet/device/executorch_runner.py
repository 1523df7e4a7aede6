"""A generator in an ExecuTorch program (.pte) whose layers run in XNNPACK: what `ganlet export --to executorch` makes.

Such a file is for phones, where the runtime is a small library of C++. On a desktop its Python package imports torch,
so this runner is for verification there, and takes the memory of torch; both are imported when it is made, not before.

The program's contract: `forward` takes one row of each port, in the order of `ganlet.device.feed.NAMES`, and gives
float32 (1, channels, height, width); the metadata of `ganlet.device.contract` are methods that take nothing and give a
string, and so is `ports`, the names of the inputs, without which there is `z` alone.
"""

import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device.contract import Contract, TensorInfo, read_contract
from ganlet.device.feed import Feed, check_feed
from ganlet.device.manifest import check_unchanged
from ganlet.device.profiles import choose_profile
from ganlet.device.runner import check_pictures
from ganlet.device.runtimes import load_executorch, quiet_stderr
from ganlet.errors import GanletError, words_of

NAME = "executorch"
PROVIDER = "ExecuTorch XNNPACK"
METADATA = ("ganlet_schema", "latent", "range", "recipe_sha256", "ports", "classes", "class_names")
_MAGIC, _BACKEND = b"ET12", b"XnnpackBackend"  # of the file, at byte 4; of the layers that are not portable kernels
_EXTENDED = b"eh00"  # extended header, at byte 8: its length (4 bytes), then three numbers of 8 bytes
_ELEMENTS = {6: "float32", 4: "int64"}  # ScalarType of ExecuTorch


class ExecuTorchRunner:
    """An ExecuTorch generator as a `Runner`. It draws one picture a call of the runtime, so none depends on others."""

    def __init__(
        self, path: Path | str, *, provider: str = "auto", threads: int | None = None, profile: str = "fast"
    ) -> None:
        """Check and load the program at `path`.

        Args: `provider` "auto" or "executorch"; `threads` of XNNPACK, which all programs of the process share, None for
        the profile's; `profile` one of `ganlet.device.profiles`.
        Raises GanletError when the file, the runtime or the provider is not what was asked for.
        """
        path = Path(path)
        if provider not in ("auto", NAME):
            raise GanletError(
                f"Got the provider {provider!r} for {path}; expected auto or {NAME}: a .pte runs nowhere else."
            )
        chosen = choose_profile(profile, threads)
        check_program_file(path)
        runtime = load_executorch()
        try:
            with quiet_stderr():
                if chosen.threads is not None:
                    # The module of the bindings, which the runtime has loaded; the setting has no public name yet.
                    sys.modules["executorch.extension.pybindings.portable_lib"]._unsafe_reset_threadpool(chosen.threads)
                self._program = runtime.Runtime.get().load_program(path)
                self._method = self._program.load_method("forward")
                self.metadata = {name: self._constant(name) for name in METADATA if name in self._program.method_names}
        except (RuntimeError, ValueError, KeyError) as error:
            raise GanletError(
                f"ExecuTorch cannot load {path} ({_first_line(error)}): the file is damaged, cut short or of another "
                "version; export it again with `ganlet export --to executorch`."
            ) from error
        self.name = path.name
        self.provider = PROVIDER
        contract = self._contract(path)
        self.ports, self.picture_shape = contract.ports, contract.picture_shape

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        """Draw the pictures of a feed, as `ganlet.device.runner.Runner` says."""
        count = check_feed(self.name, self.ports, feed)
        torch = sys.modules["torch"]  # which the runtime imports: this room imports it nowhere
        pictures = np.empty((count, *self.picture_shape), np.float32)
        columns = [np.ascontiguousarray(feed[port.name]) for port in self.ports]
        try:
            for index in range(count):
                row = [torch.from_numpy(column[index : index + 1]) for column in columns]
                pictures[index] = np.asarray(self._method.execute(row)[0])[0]
        except RuntimeError as error:
            raise GanletError(
                f"{self.name} failed to draw on {PROVIDER} ({_first_line(error)}); export it again with "
                "`ganlet export --to executorch`."
            ) from error
        check_pictures(self, pictures, count)
        return pictures

    def _constant(self, name: str) -> str:
        return str(self._program.load_method(name).execute([])[0])

    def _contract(self, path: Path) -> Contract:
        """The ports and the picture shape. Raises GanletError unless this is a Ganlet generator."""
        about = self._method.metadata
        entering = [about.input_tensor_meta(i) for i in range(about.num_inputs())]
        leaving = [about.output_tensor_meta(i) for i in range(about.num_outputs())]
        names = self.metadata.get("ports", "z").split(",")
        names += [f"input {number}" for number in range(len(names), len(entering))]
        inputs = [_info(name, end) for name, end in zip(names, entering, strict=False)]
        return read_contract(path, inputs, [_info("images", end) for end in leaving], self.metadata)


def _info(name: str, end: Any) -> TensorInfo:
    """What `contract` takes for a tensor with a free batch, of one whose batch is 1: the runner draws row by row."""
    first, *others = end.sizes() or (0,)
    return TensorInfo(name, _ELEMENTS.get(end.dtype(), str(end.dtype())), (None if first == 1 else first, *others))


def _first_line(error: Exception) -> str:
    return words_of(error)


def check_program_file(path: Path) -> None:
    """Check that `path` is one whole, unchanged ExecuTorch program for XNNPACK, before native code reads it.

    Raises GanletError when it is missing, no file, unlike its entry in a `manifest.json` beside it, or something else.
    """
    if not path.is_file():
        raise GanletError(f"{path} does not exist or is no file; check the path, or make it with `ganlet export`.")
    check_unchanged(path)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fault = _fault(data)
    except ValueError:  # an empty file cannot be mapped
        fault = "it is empty"
    except OSError as error:
        raise GanletError(f"Cannot read {path}: {error.strerror or error}; check its permissions.") from error
    if fault:
        raise GanletError(
            f"{path} is not a whole ExecuTorch program for XNNPACK ({fault}); copy it again, or export it again with "
            "`ganlet export --to executorch`."
        )


def _fault(data: mmap.mmap) -> str:
    """What is wrong with the bytes of a program, empty where nothing is."""
    if data[4:8] != _MAGIC or data[8:12] != _EXTENDED:
        return "it begins otherwise"
    length, program_bytes, first_segment, segment_bytes = (
        int.from_bytes(data[start:end], "little") for start, end in ((12, 16), (16, 24), (24, 32), (32, 40))
    )
    whole_bytes = max(program_bytes, first_segment + (segment_bytes if length >= 32 else 0))
    if len(data) < whole_bytes:
        return f"it has {len(data)} bytes of {whole_bytes}"
    return "" if data.find(_BACKEND) >= 0 else "no layer runs in XNNPACK"
