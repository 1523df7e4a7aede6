"""What the machine can do, under conditions made up here."""

import io
import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from rich.console import Console

from ganlet.commands import doctor
from ganlet.commands.doctor import Finding, examine, table
from ganlet.device import probe, runtimes
from ganlet.device.cuda import Card, DriverState
from ganlet.limits import DEVICE, PROCESSORS, MemoryLimit, ProcessorLimit
from support import Answer

NO_DRIVER = DriverState(False, "no NVIDIA driver: libcuda.so.1", "", ())
CARDS = DriverState(True, "", "13.0", (Card("GTX 1660 Ti", "sm75", 5931), Card("RTX 4090", "sm89", 24210)))
NAMES = [
    *("machine", "memory", "processors", "disk", "sample", "  on cpu", "openvino", "executorch", "driver"),
    *("graphics card", "tensorrt"),
    *("train", "fid", "versions"),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No child is started but where a test says so: the probes have tests of their own."""
    monkeypatch.setattr(doctor, "driver_state", lambda: NO_DRIVER)
    answers(monkeypatch, {})


def answers(monkeypatch: pytest.MonkeyPatch, faults: dict[str, str], listed: str = "CPUExecutionProvider") -> None:
    def ask(name: str) -> tuple[str, str]:
        return (faults[name], "") if name in faults else ("", listed if name == probe.LIST else "works")

    monkeypatch.setattr(probe, "ask", ask)


def findings() -> dict[str, Finding]:
    return {finding.name: finding for finding in examine()}


def test_this_machine_can_do_what_these_tests_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with real probes, in real processes
    found = findings()
    assert [name for name in found if not name.startswith("  on ") or name == "  on cpu"] == NAMES
    assert {found[name].status for name in ("machine", "disk", "sample", "  on cpu", "train", "versions")} == {"ready"}
    assert torch.__version__.split("+")[0] in found["train"].detail
    assert f"Python {sys.version.split()[0]}" in found["machine"].detail
    assert found["driver"].status == found["graphics card"].status
    assert found["disk"].as_json() == {"name": "disk", "status": "ready", "detail": found["disk"].detail}


def test_the_limit_that_holds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    held = MemoryLimit("the limit of this container (memory.max of cgroup v2)", 600 << 20, 1 << 30)
    monkeypatch.setattr(doctor, "memory_limit", lambda: held)
    quota = ProcessorLimit("the quota of this container (cpu.max of cgroup v2)", 1)
    monkeypatch.setattr(doctor, "processor_limit", lambda: quota)
    memory, processors = doctor._limits()
    assert memory.detail == "600 of 1,024 MiB free below the limit of this container (memory.max of cgroup v2)"
    assert processors.detail == "1, as many as the quota of this container (cpu.max of cgroup v2) allows"
    monkeypatch.setattr(doctor, "memory_limit", lambda: MemoryLimit(DEVICE, 600 << 20, 1 << 30))
    monkeypatch.setattr(doctor, "processor_limit", lambda: ProcessorLimit(PROCESSORS, 8))
    assert [found.detail for found in doctor._limits()] == ["600 of 1,024 MiB free", "8 may be used"]
    monkeypatch.setattr(doctor, "memory_limit", lambda: None)
    assert [found.name for found in doctor._limits()] == ["processors"]


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise runtimes.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(runtimes.metadata, "version", version)


def test_both_runtimes_are_a_conflict_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"onnxruntime": "1.22.0", "onnxruntime-gpu": "1.21.0"})
    monkeypatch.setattr(probe, "ask", lambda name: (probe.answer(name)["fault"], ""))  # the same, without a child
    (found,) = doctor._sampling()
    assert found.status == "conflict"
    assert "onnxruntime 1.22.0 and onnxruntime-gpu 1.21.0" in found.detail
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.detail


def test_one_runtime_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"onnxruntime-gpu": "1.21.0"})
    assert doctor._sampling()[0] == Finding("sample", "ready", "onnxruntime-gpu 1.21.0")
    installed(monkeypatch, {})
    (found,) = doctor._sampling()
    assert found.status == "missing" and 'pip install "ganlet[cpu]"' in found.detail


def test_every_listed_provider_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = "TensorrtExecutionProvider CUDAExecutionProvider FooExecutionProvider AzureExecutionProvider"
    answers(monkeypatch, {"CUDAExecutionProvider": "libcublas.so.13 is missing"}, f"{listed} CPUExecutionProvider")
    found = {finding.name: finding for finding in doctor._sampling()}
    assert list(found) == ["sample", "  on tensorrt", "  on cuda", "  on Foo", "  on cpu"]
    assert found["  on cuda"].status == "missing" and "libcublas.so.13 is missing" in found["  on cuda"].detail
    assert {finding.status for name, finding in found.items() if name != "  on cuda"} == {"ready"}


def test_a_runtime_that_crashes_is_a_conflict_and_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    died = "its process ended with exit code -4 and no answer"
    answers(monkeypatch, {probe.LIST: died, "openvino": died})
    known = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: name == "openvino" or known(name))
    found = findings()
    assert found["sample"] == Finding("sample", "conflict", died)
    assert found["openvino"].status == "conflict" and 'reinstall "ganlet[openvino]"' in found["openvino"].detail
    answers(monkeypatch, {"CPUExecutionProvider": died})
    found = findings()
    assert found["  on cpu"].status == "conflict" and 'reinstall "ganlet[cpu]"' in found["  on cpu"].detail


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    known = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in missing else known(name))


def test_missing_runtimes_name_their_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "openvino", "executorch", "torchao")
    monkeypatch.setattr(doctor, "installed_tensorrts", dict)
    found = findings()
    for name in ("openvino", "executorch", "tensorrt"):
        extra = "trt" if name == "tensorrt" else name
        assert found[name].status == "missing" and f'pip install "ganlet[{extra}]"' in found[name].detail, found[name]


def test_the_original_fid_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchvision", "pytorch_fid")
    found = findings()["fid"]
    assert found.status == "missing" and "torchvision, pytorch_fid" in found.detail and "ganlet[fid]" in found.detail
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    assert doctor._original_fid().status == "ready"


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch", "scipy")
    monkeypatch.setattr(doctor, "driver_state", lambda: CARDS)
    found = findings()
    assert found["train"] == Finding("train", "missing", 'no torch, scipy: pip install "ganlet[train]"')
    assert "torch is not installed" in found["graphics card"].detail
    assert found["sample"].status == "ready"  # sampling needs no torch


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_every_part_of_the_training_extra_is_looked_for(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    without(monkeypatch, package)
    found = findings()["train"]
    assert found.status == "missing" and package in found.detail


def test_cards_are_named_and_torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "driver_state", lambda: CARDS)
    cards = "GTX 1660 Ti (sm75, 5,931 MiB), RTX 4090 (sm89, 24,210 MiB)"
    monkeypatch.setattr(doctor, "_TORCH_CARDS", "print(2)")
    found = findings()
    assert found["driver"] == Finding("driver", "ready", "NVIDIA, up to CUDA 13.0")
    assert found["graphics card"] == Finding("graphics card", "ready", f"{cards}; torch trains on it")
    assert "needs a driver" not in found["tensorrt"].detail
    for says in ("print(0)", "raise OSError", "print('x')"):  # a build of torch without CUDA, a broken one
        monkeypatch.setattr(doctor, "_TORCH_CARDS", says)
        card = findings()["graphics card"]
        assert card.status == "missing" and cards in card.detail and "cannot use it" in card.detail


def test_without_a_driver_torch_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: pytest.fail("a child was started"))
    found = findings()
    assert found["driver"].status == found["graphics card"].status == "missing"
    assert "libcuda.so.1" in found["driver"].detail and "needs a driver" in found["tensorrt"].detail


def test_conflicts_of_versions_end_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, ganlet: Callable[..., Answer]
) -> None:
    monkeypatch.setattr(doctor, "find_conflicts", lambda: ["onnx 1.20 is installed", "torchvision does not work"])
    code, out, _ = ganlet("doctor", "--json")
    said = json.loads(out.splitlines()[-1])
    assert code == 2 and said["conflicts"] == ["versions", "versions"]
    monkeypatch.setattr(doctor, "find_conflicts", list)
    code, out, _ = ganlet("doctor", "--json")
    said = json.loads(out.splitlines()[-1])
    assert code == 0 and said["conflicts"] == [] and [row["name"] for row in said["findings"]] == NAMES


def test_the_table_of_80_columns_holds_every_word_of_every_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {})
    without(monkeypatch, "torch")
    monkeypatch.setattr(doctor, "find_conflicts", lambda: ["x" * 100, "[bold]brackets are no markup"])
    found = examine()
    stream = io.StringIO()
    Console(file=stream, width=80).print(table(found))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in stream.getvalue()
    flowed = "".join("".join(line[2:].split()) for line in lines)
    for finding in found:
        assert "".join(finding.detail.split()) in flowed.replace(finding.name.strip() + finding.status, ""), finding
    assert "[bold]" in flowed and 'pipinstall"ganlet[cpu]"' in flowed


def test_it_is_small() -> None:
    # What a device has no memory for is not loaded into the doctor's own process: runtimes are asked in children.
    code = "import sys, ganlet.commands.doctor as d; d.probe.ask = lambda name: ('', 'CPUExecutionProvider');"
    code += " d.examine(); print(*{name.split('.')[0] for name in sys.modules})"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "openvino", "onnxruntime", "executorch"} & set(child.stdout.split())
