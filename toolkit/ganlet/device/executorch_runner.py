"""A generator in an ExecuTorch program (.pte) whose layers run in XNNPACK: what `ganlet export --to executorch` makes.

Such a file is for phones, where the runtime is a small library of C++. On a desktop its Python package imports torch,
so this runner is for verification there, and takes the memory of torch; both are imported when it is made, not before.

The program's contract: `forward` takes float32 (1, latent) and gives float32 (1, channels, height, width); the methods
`ganlet_schema` "1", `latent`, `range` "-1,1" and `recipe_sha256` take nothing and give a string.
"""

import mmap
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlet.device.manifest import check_unchanged
from ganlet.device.profiles import choose_profile
from ganlet.device.runner import check_inputs, check_pictures
from ganlet.device.runtimes import load_executorch, quiet_stderr
from ganlet.errors import GanletError, words_of

NAME = "executorch"
PROVIDER = "ExecuTorch XNNPACK"
METADATA = ("ganlet_schema", "latent", "range", "recipe_sha256")
_MAGIC, _BACKEND = b"ET12", b"XnnpackBackend"  # of the file, at byte 4; of the layers that are not portable kernels
_EXTENDED = b"eh00"  # extended header, at byte 8: its length (4 bytes), then three numbers of 8 bytes
_FLOAT32 = 6  # ScalarType of ExecuTorch


class ExecuTorchRunner:
    """An ExecuTorch generator as a `Runner`. It draws one picture a call of the runtime, so none depends on others."""

    classes: int | None = None

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
        self.latent_dim, self.picture_shape = self._contract(path)

    def __call__(self, z: NDArray[np.float32], label: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Draw pictures: z float32 (N, latent_dim) -> float32 (N, *picture_shape) in [-1, 1].

        Raises GanletError for inputs of another dtype or shape, for a label, when the runtime fails, and for NaN.
        """
        check_inputs(self, z, label)
        torch = sys.modules["torch"]  # which the runtime imports: this room imports it nowhere
        pictures = np.empty((len(z), *self.picture_shape), np.float32)
        try:
            for index, row in enumerate(np.ascontiguousarray(z)):
                pictures[index] = np.asarray(self._method.execute([torch.from_numpy(row[None])])[0])[0]
        except RuntimeError as error:
            raise GanletError(
                f"{self.name} failed to draw on {PROVIDER} ({_first_line(error)}); export it again with "
                "`ganlet export --to executorch`."
            ) from error
        check_pictures(self, pictures, len(z))
        return pictures

    def _constant(self, name: str) -> str:
        return str(self._program.load_method(name).execute([])[0])

    def _contract(self, path: Path) -> tuple[int, tuple[int, int, int]]:
        """Latent dimension and picture shape. Raises GanletError unless this is a Ganlet generator."""
        about = self._method.metadata
        ends = [about.input_tensor_meta(i) for i in range(about.num_inputs())]
        ends += [about.output_tensor_meta(i) for i in range(about.num_outputs())]
        shapes = [tuple(end.sizes()) for end in ends]
        latent = shapes[0][-1] if shapes and shapes[0] else 0
        expected = {"ganlet_schema": "1", "latent": str(latent), "range": "-1,1"}
        got = {key: self.metadata.get(key) for key in expected}
        fits = len(shapes) == 2 and shapes[0] == (1, latent) and len(shapes[1]) == 4 and shapes[1][0] == 1
        if not fits or any(end.dtype() != _FLOAT32 for end in ends) or got != expected:
            raise GanletError(
                f"{path} is not a Ganlet generator: got the shapes {shapes} and the metadata {got}; expected float32 "
                f"(1, latent) to (1, channels, height, width), and {expected}; export it with `ganlet export`."
            )
        _, channels, height, width = shapes[1]
        return latent, (channels, height, width)


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
