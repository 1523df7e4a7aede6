"""The few calls of the CUDA driver API that an engine needs, by ctypes, and whether there is a driver at all.

`python -m ganlet.device.cuda` prints one JSON line: the driver's version and the cards, or {"reason": why none}.
A broken driver can take down the process that calls it, so `driver_state` asks in a child. Not verified past the
refusals: no NVIDIA card has run this yet. Source of names and numbers: the CUDA driver API reference.
"""

import ctypes
import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from ganlet.device.child import module_command, module_environment

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
PROBE_TIMEOUT_S = 60
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY


@dataclass(frozen=True)
class Card:
    """An NVIDIA card as the driver tells of it; `target` is TensorRT's word for its compute capability: sm75."""

    name: str
    target: str
    memory_mib: int


@dataclass(frozen=True)
class DriverState:
    """Whether an engine could run here: `ready`, the driver's CUDA version and the cards; else the reason."""

    ready: bool
    reason: str
    cuda_version: str
    cards: tuple[Card, ...]


class CudaError(Exception):
    """A call of the driver that failed: its name and the driver's name for the error."""

    def __init__(self, call: str, code: int, name: str) -> None:
        super().__init__(f"{call} failed with {name}")
        self.out_of_memory = code == _OUT_OF_MEMORY


class Driver:
    """The driver's library. Raises OSError where there is none, CudaError where it does not start."""

    def __init__(self, library: Any = None) -> None:
        self._library = _open() if library is None else library
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        code = int(getattr(self._library, name)(*arguments))
        if code != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(code, ctypes.byref(text))
            raise CudaError(name, code, text.value.decode() if text.value else f"error {code}")

    def cuda_version(self) -> str:
        """The newest CUDA that the driver knows, such as 13.0."""
        number = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def cards(self) -> list[Card]:
        count = ctypes.c_int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        return [self._card(ordinal) for ordinal in range(count.value)]

    def _card(self, ordinal: int) -> Card:
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, len(name), device)
        total = ctypes.c_size_t()
        self.call("cuDeviceTotalMem_v2", ctypes.byref(total), device)
        capability = [ctypes.c_int(), ctypes.c_int()]
        for number, attribute in zip(capability, (_MAJOR, _MINOR), strict=True):
            self.call("cuDeviceGetAttribute", ctypes.byref(number), attribute, device)
        target = f"sm{capability[0].value}{capability[1].value}"
        return Card(name.value.decode(errors="replace"), target, total.value >> 20)

    def use(self, ordinal: int = 0) -> int:
        """Make a card's primary context, which TensorRT uses too, the current one; returns a stream."""
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.call("cuStreamCreate", ctypes.byref(stream), 0)
        return int(stream.value or 0)

    def allocate(self, size_bytes: int) -> int:
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size_bytes))
        return int(address.value)

    def to_card(self, address: int, content: bytes) -> None:
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), content, ctypes.c_size_t(len(content)))

    def from_card(self, address: int, size_bytes: int) -> bytes:
        content = ctypes.create_string_buffer(size_bytes)
        self.call("cuMemcpyDtoH_v2", content, ctypes.c_uint64(address), ctypes.c_size_t(size_bytes))
        return content.raw

    def wait(self, stream: int) -> None:
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return int(free.value)


def _open() -> Any:
    kind = getattr(ctypes, "WinDLL", ctypes.CDLL)  # on Windows the driver's functions clean up the stack themselves
    return kind(LIBRARY)


def probe(library: Any = None) -> dict[str, Any]:
    """What the driver says, in this process: {"cuda_version", "cards"}, or {"reason"}."""
    try:
        driver = Driver(library)
        cards = driver.cards()
        version = driver.cuda_version()
    except (OSError, AttributeError) as error:
        return {"reason": f"no NVIDIA driver: {error}"}
    except CudaError as error:
        return {"reason": f"the NVIDIA driver does not start: {error}"}
    if not cards:
        return {"reason": "the NVIDIA driver sees no card"}
    return {"cuda_version": version, "cards": [[card.name, card.target, card.memory_mib] for card in cards]}


@functools.cache
def driver_state() -> DriverState:
    """Ask the driver in a child process, once."""
    return ask_driver(module_command("ganlet.device.cuda"))


def ask_driver(command: list[str]) -> DriverState:
    """Run the probe; a child that dies, hangs or babbles is a driver that is not ready."""
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            env=module_environment(),
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        said = json.loads((child.stdout.strip().splitlines() or [""])[-1])
    except subprocess.TimeoutExpired:
        said = {"reason": f"the NVIDIA driver did not answer within {PROBE_TIMEOUT_S} s"}
    except ValueError:
        said = {"reason": f"asking the NVIDIA driver ended with exit code {child.returncode} and no answer"}
    if "reason" in said:
        return DriverState(False, str(said["reason"]), "", ())
    return DriverState(True, "", str(said["cuda_version"]), tuple(Card(*card) for card in said["cards"]))


if __name__ == "__main__":
    print(json.dumps(probe()))
