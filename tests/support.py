"""What tests share besides fixtures."""

import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ganlet.export.web import GLUE, LOADER, WASM
from ganlet.files import sha256_file

Answer = tuple[int, str, str]
"""Of a command line: exit code, stdout, stderr."""


TINY: dict[str, Any] = {
    "run": {"name": "tiny", "seed": 3},
    "data": {"source": "digits", "size": 16, "channels": 1, "count": 400},
    "teacher": {
        "latent": 8,
        "widths": [12, 6],
        "critic": {"widths": [6, 8]},
        "train": {"images": 240, "batch": 8, "checkpoint_steps": 7, "progress_steps": 10, "log_steps": 5},
    },
    "distill": {
        "widths": [6, 4],
        "alpha": 0.1,
        "pixel": "l1",
        "features": 1.0,
        "critic": "teacher",
        "init": "teacher",
        "train": {"images": 240, "batch": 8, "checkpoint_steps": 7, "progress_steps": 10, "log_steps": 5},
    },
    "verify": {"samples": 80, "max_drop_percent": 1000.0},
    "budget": {"training_memory_mib": 64.0, "model_mb": 1.0, "inference_memory_mib": 1000.0, "latency_ms": 1000.0},
}
"""Tables of a tiny recipe, which hardly trains."""


class Silent:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.watched: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def watch(self, label: str, unit: str) -> Any:
        self.watched.append(label)
        return nullcontext(lambda done, total: None)


def zip_of(folder: Path, path: Path, prefix: str = "") -> Path:
    """An archive of the PNG files of a folder."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def fake_package(folder: Path) -> dict[str, str]:
    """Make an npm package onnxruntime-web of version 9.8.7 of three small files; their SHA-256 by name."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "onnxruntime-web", "version": "9.8.7"}')
    for name in (LOADER, GLUE, WASM):
        (folder / "dist" / name).write_text(f"the content of {name}")
    return {name: sha256_file(folder / "dist" / name) for name in (LOADER, GLUE, WASM)}


def expect_refused(answer: Answer, *words: str) -> None:
    """One sentence on stderr that holds `words`, exit code 2, nothing on stdout."""
    code, out, err = answer
    assert code == 2, answer
    faults = [line for line in err.splitlines() if line.startswith("ganlet: ")]
    assert len(faults) == 1 and "Traceback" not in err and not out, answer
    for word in words:
        assert word in err, answer


def seeded_inception(seed: int = 0) -> Any:
    """State dict with the names and shapes of pytorch-fid's weights, scaled so that features stay of order one."""
    import torch
    from pytorch_fid import inception

    with pytest.MonkeyPatch.context() as patch:  # its own constructor, without the download
        patch.setattr(inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *args, **kwargs: None)
        net = inception.fid_inception_v3()
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.7, 1.3, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
        elif isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(0, 0.02, generator=generator)
    return net.state_dict()
