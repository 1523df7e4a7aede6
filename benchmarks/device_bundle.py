"""What the on-device part weighs: megabytes installed, seconds to the first picture, memory while drawing.

    python benchmarks/device_bundle.py                 # seven rounds; a fresh virtual environment, a minute to install

A virtual environment without pip gets Ganlet with the extra `cpu` and nothing else, so that all there is of it is the
bundle. A generator of 3 MB (64 x 64) is exported here, where torch is, and drawn from there, in fresh processes that
take turns. Seconds are by the clock from the start of the process to its end; processor seconds beside them, which
other work on the machine disturbs less: where the clock is far above them, the machine was busy. Memory is the largest
resident set of the whole process (VmHWM, so Linux only).
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ganlet.artifact import add_to_manifest
from ganlet.device.expected import EXPECTED, write_expected
from ganlet.export.onnx_export import onnx_bytes
from ganlet.files import MB
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.init import initialise
from ganlet.verify.torch_runner import TorchRunner

ROOT = Path(__file__).parents[1]
TARGETS = {"installed_mb": 200.0, "installed_compiled_mb": 200.0, "first_picture_s": 1.5, "peak_memory_mib": 150.0}
SIZES = """
import json
from importlib import metadata
from pathlib import Path
sizes = {}
for distribution in metadata.distributions():
    files = [Path(distribution.locate_file(file)) for file in distribution.files or []]
    sizes[distribution.name] = sum(file.stat().st_size for file in files if file.is_file())
print(json.dumps(sizes))
"""
API = "import sys; from ganlet.device import Sampler; Sampler(sys.argv[1]).images(start=0, count=1, seed=0)"
PEAK = "from ganlet.device.footprint import peak_memory_mib; print('peak', peak_memory_mib())"


@dataclass
class Timed:
    """Rounds of one command: seconds by the clock, and of the processor."""

    words: list[str]
    clock_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)

    def round(self, environment: dict[str, str]) -> None:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(self.words, check=True, capture_output=True, env=environment)
        self.clock_s.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def line(self, name: str) -> str:
        return (
            f"{name:34} {min(self.clock_s):6.2f} {statistics.median(self.clock_s):6.2f} "
            f"{min(self.processor_s):6.2f} {statistics.median(self.processor_s):6.2f}"
        )


def export(run: Path) -> Path:
    """A generator of about 3 MB with its manifest and expected pictures. Its weights are random: only cost matters."""
    config = GeneratorConfig(
        latent=100, widths=(184, 104, 64, 32), strides=(2,) * 4, kernels=(4,) * 4, channels=3, norm="batch"
    )
    generator = build_generator(config)
    initialise(generator, 0)
    path = run / "generator.onnx"
    made_from = {"stage": "student", "weights_sha256": ""}
    with torch.inference_mode():
        write_expected(run / EXPECTED, TorchRunner(generator, "torch"), weights_sha256="", recipe_sha256="")
    path.write_bytes(onnx_bytes(generator, ""))
    add_to_manifest(run, path.name, precision="fp32", made_from=made_from)
    add_to_manifest(run, EXPECTED, made_from=made_from)
    return path


def install(folder: Path) -> Path:
    """The interpreter of a fresh environment with ganlet[cpu] from a copy of this tree, without compiled modules."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "toolkit", source / "toolkit", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    words = ["-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", f"{source}[cpu]"]
    subprocess.run([sys.executable, *words], check=True, stderr=subprocess.DEVNULL)
    return python


def folder_mb(folder: Path) -> float:
    """The sum of the lengths of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / MB


def peak_mib(python: Path, code: str, words: list[str], environment: dict[str, str]) -> float:
    command = [str(python), "-c", f"{code}\n{PEAK}", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.split()[-1])


def imports(python: Path, model: Path, environment: dict[str, str]) -> list[tuple[float, str]]:
    """Milliseconds that each top-level package takes to import, its own and what it imports, largest first."""
    command = [str(python), "-X", "importtime", "-c", API, str(model)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stderr
    rows = [
        line.removeprefix("import time:").split("|") for line in told.splitlines() if line.startswith("import time:")
    ]
    found = [(int(all_us) / 1e3, name.strip()) for _, all_us, name in rows[1:] if "." not in name]
    return sorted(found, reverse=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OMP_"))}
    environment["ORT_DISABLE_TELEMETRY"] = "1"  # also where the runtime is imported without ganlet
    result: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = export(folder)
        python = install(folder)
        say(f"{platform.platform()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
        sizes(folder, python, model, environment, result)
        times(folder, python, model, environment, rounds, result)
        say()
        say(f"largest imports of the Python API, ms: {imports_text(imports(python, model, environment))}")
        memory(folder, python, model, environment, result)
        told = subprocess.run(
            [str(python.parent / "ganlet"), "verify", "--artifact", str(model)],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
        say(f"\nganlet verify --artifact, without torch: {told.stdout.splitlines()[-1]}")
    met = {key: result[key] < limit for key, limit in TARGETS.items()}
    for key, limit in TARGETS.items():
        say(f"{key:22} {result[key]:7.2f}, target under {limit:g}: {'met' if met[key] else 'missed'}")
    print(json.dumps({key: round(value, 3) for key, value in result.items()} | {"met": all(met.values())}))
    return 0


def say(text: str = "") -> None:
    print(text, flush=True)


def sizes(folder: Path, python: Path, model: Path, environment: dict[str, str], result: dict[str, float]) -> None:
    """MB of the environment as installed, once it has drawn, and as pip leaves it unless told --no-compile."""
    result["installed_mb"] = folder_mb(folder / "venv")
    told = subprocess.run([str(python), "-c", SIZES], check=True, capture_output=True, text=True, env=environment)
    each = sorted(((size / MB, name) for name, size in json.loads(told.stdout).items()), reverse=True)
    draw = [str(python.parent / "ganlet"), "sample", str(model), "-n", "1", "--out", str(folder / "drawn")]
    subprocess.run(draw, check=True, capture_output=True, env=environment)
    result["installed_after_a_picture_mb"] = folder_mb(folder / "venv")
    compiled = folder / "compiled"
    shutil.copytree(folder / "venv" / "lib", compiled)
    subprocess.run([str(python), "-m", "compileall", "-qq", str(compiled)], check=False, env=environment)
    result["installed_compiled_mb"] = folder_mb(compiled)
    say(f"installed by pip --no-compile: {result['installed_mb']:.1f} MB, of which MB")
    say("  " + ", ".join(f"{name} {size:.1f}" for size, name in each if size >= 1))
    say(f"after its first picture: {result['installed_after_a_picture_mb']:.1f} MB (modules that it used are compiled)")
    say(f"installed by pip without --no-compile: {result['installed_compiled_mb']:.1f} MB (every module is compiled)")


def times(
    folder: Path,
    python: Path,
    model: Path,
    environment: dict[str, str],
    rounds: int,
    result: dict[str, float],
) -> None:
    """From the start of a process to its end, in turns; all modules that are used are compiled by now."""
    draw = [str(python.parent / "ganlet"), "sample", str(model), "-n", "1", "--out", str(folder / "drawn")]
    cases = {
        "python -c pass": Timed([str(python), "-c", "pass"]),
        "import numpy": Timed([str(python), "-c", "import numpy"]),
        "import onnxruntime": Timed([str(python), "-c", "import onnxruntime"]),
        "one picture by the Python API": Timed([str(python), "-c", API, str(model)]),
        "one picture by ganlet sample": Timed(draw),
    }
    for _ in range(rounds):
        for case in cases.values():
            case.round(environment)
    say()
    say(f"{f'{rounds} rounds':34} {'clock s':>13} {'processor s':>13}")
    say(f"{'':34} {'min':>6} {'median':>6} {'min':>6} {'median':>6}")
    for name, case in cases.items():
        say(case.line(name))
    result["first_picture_s"] = statistics.median(case.clock_s)
    result["first_picture_min_s"] = min(case.clock_s)
    result["first_picture_processor_s"] = statistics.median(case.processor_s)


def memory(folder: Path, python: Path, model: Path, environment: dict[str, str], result: dict[str, float]) -> None:
    """Of the whole process; "runtime alone" is numpy and ONNX Runtime before a model is loaded."""
    words = ["sample", str(model), "-n", "1", "--out", str(folder / "drawn")]
    command_line = "import sys; from ganlet.cli import app; app(sys.argv[1:], standalone_mode=False)"
    alone = peak_mib(python, "import onnxruntime", [], environment)
    api = peak_mib(python, API, [str(model)], environment)
    result["peak_memory_mib"] = peak_mib(python, command_line, words, environment)
    many = peak_mib(python, command_line, [*words[:-3], "64", *words[-2:]], environment)
    say(
        f"\nmemory of a generator of {model.stat().st_size / MB:.2f} MB, MiB: runtime alone {alone:.0f}, one picture by"
    )
    say(f"the Python API {api:.0f}, by ganlet sample {result['peak_memory_mib']:.0f}, 64 pictures {many:.0f}")


def imports_text(found: list[tuple[float, str]]) -> str:
    return ", ".join(f"{name} {ms:.0f}" for ms, name in found[:8])


if __name__ == "__main__":
    sys.exit(main())
