"""The driver: asked in a child, whatever it does there; its calls against a library that only plays it."""

# ruff: noqa: N802 - the driver's own names

import ctypes
import sys
from pathlib import Path
from typing import Any

import pytest

from ganlet.device import cuda
from ganlet.device.cuda import Card, CudaError, Driver, ask_driver, probe


def put(pointer: Any, value: int) -> None:
    """Write through what was given as byref(number), as C would."""
    pointer._obj.value = value


class Library:
    """A driver with two cards and memory as a dict; `broken` names a call that fails with `code`."""

    def __init__(self, broken: str = "", code: int = 999) -> None:
        self.broken, self.code, self.cards = broken, code, [(b"NVIDIA GeForce GTX 1660 Ti", 7, 5), (b"Other", 12, 0)]
        self.memory: dict[int, bytearray] = {}

    def __getattr__(self, name: str) -> Any:
        if name == self.broken:
            return lambda *_: self.code
        return lambda *arguments: int(getattr(self, f"play_{name}")(*arguments) or 0)

    def play_cuInit(self, flags: int) -> None: ...

    def play_cuGetErrorName(self, code: int, text: Any) -> None:
        text._obj.value = {100: b"CUDA_ERROR_NO_DEVICE", 2: b"CUDA_ERROR_OUT_OF_MEMORY"}.get(code)

    def play_cuDriverGetVersion(self, number: Any) -> None:
        put(number, 13010)

    def play_cuDeviceGetCount(self, number: Any) -> None:
        put(number, len(self.cards))

    def play_cuDeviceGet(self, device: Any, ordinal: int) -> None:
        put(device, ordinal)

    def play_cuDeviceGetName(self, buffer: Any, length: int, device: Any) -> None:
        buffer.value = self.cards[device.value][0]

    def play_cuDeviceTotalMem_v2(self, total: Any, device: Any) -> None:
        put(total, 6144 << 20)

    def play_cuDeviceGetAttribute(self, number: Any, attribute: int, device: Any) -> None:
        put(number, self.cards[device.value][{75: 1, 76: 2}[attribute]])

    def play_cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> None:
        put(context, 11)

    def play_cuCtxSetCurrent(self, context: Any) -> None:
        assert context.value == 11

    def play_cuStreamCreate(self, stream: Any, flags: int) -> None:
        put(stream, 22)

    def play_cuStreamSynchronize(self, stream: Any) -> None:
        assert stream.value == 22

    def play_cuMemAlloc_v2(self, address: Any, size: Any) -> None:
        put(address, 2**40 + len(self.memory))
        self.memory[address._obj.value] = bytearray(size.value)

    def play_cuMemcpyHtoD_v2(self, address: Any, content: bytes, size: Any) -> None:
        self.memory[address.value][: size.value] = content[: size.value]

    def play_cuMemcpyDtoH_v2(self, content: Any, address: Any, size: Any) -> None:
        ctypes.memmove(content, bytes(self.memory[address.value][: size.value]), size.value)

    def play_cuMemGetInfo_v2(self, free: Any, total: Any) -> None:
        put(free, (1000 << 20) - sum(map(len, self.memory.values())))
        put(total, 1000 << 20)


def test_a_driver_tells_its_version_and_cards() -> None:
    assert probe(Library()) == {
        "cuda_version": "13.1",
        "cards": [["NVIDIA GeForce GTX 1660 Ti", "sm75", 6144], ["Other", "sm120", 6144]],
    }


def test_memory_goes_there_and_back() -> None:
    driver = Driver(Library())
    stream = driver.use()
    before = driver.free_bytes()
    address = driver.allocate(8)
    assert before - driver.free_bytes() == 8
    driver.to_card(address, b"12345678")
    driver.wait(stream)
    assert driver.from_card(address, 5) == b"12345"


@pytest.mark.parametrize(
    ("library", "words"),
    [
        (Library("cuInit", 100), "does not start: cuInit failed with CUDA_ERROR_NO_DEVICE"),
        (Library("cuDriverGetVersion"), "cuDriverGetVersion failed with error 999"),
        (object(), "no NVIDIA driver: 'object' object has no attribute 'cuInit'"),
    ],
)
def test_a_driver_that_does_not_work_says_why(library: Any, words: str) -> None:
    assert words in probe(library)["reason"]


def test_no_card_is_a_reason() -> None:
    library = Library()
    library.cards = []
    assert probe(library) == {"reason": "the NVIDIA driver sees no card"}


def test_out_of_memory_is_told_apart() -> None:
    with pytest.raises(CudaError) as told:
        Driver(Library("cuMemAlloc_v2", 2)).allocate(1)
    assert told.value.out_of_memory and not CudaError("cuInit", 999, "x").out_of_memory


def test_a_missing_library_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "LIBRARY", "libnowhere.so.1")
    assert probe()["reason"].startswith("no NVIDIA driver: libnowhere.so.1")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('print(\'{"reason": "no NVIDIA driver: x"}\')', "no NVIDIA driver: x"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "exit code -9"),
        ("print('hello')", "exit code 0 and no answer"),
        ("", "exit code 0 and no answer"),
    ],
)
def test_whatever_the_child_does_there_is_a_reason(code: str, words: str) -> None:
    state = ask_driver([sys.executable, "-c", code])
    assert not state.ready and words in state.reason and state.cards == ()


def test_a_child_that_hangs_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "PROBE_TIMEOUT_S", 0.5)
    assert "did not answer" in ask_driver([sys.executable, "-c", "import time; time.sleep(30)"]).reason


def test_a_child_that_answers_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "says.py"
    path.write_text('print("{\\"cuda_version\\": \\"13.0\\", \\"cards\\": [[\\"A card\\", \\"sm86\\", 12288]]}")')
    state = ask_driver([sys.executable, str(path)])
    assert state.ready and state.cards == (Card("A card", "sm86", 12288),) and state.cuda_version == "13.0"


def test_this_machine_answers_with_cards_or_a_reason() -> None:
    state = cuda.driver_state()
    assert state.ready == bool(state.cards) and state.ready != bool(state.reason)
    assert cuda.driver_state() is state
