"""What a model costs to run: latency, rate and memory, measured in a process of its own.

`python -m ganlet.device.footprint MODEL --batch 1 --runs 50` prints one JSON line. `measure` starts that process: a
peak of memory belongs to a whole process, so the caller's own work would hide the model's.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganlet.device.child import module_command, module_environment
from ganlet.device.feed import example_feed
from ganlet.device.open import examine, load_library, open_runner
from ganlet.device.runner import Runner
from ganlet.errors import GanletError, words_of
from ganlet.files import MIB

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Footprint:
    """Milliseconds a call of `batch` pictures, and MiB of resident memory.

    `peak_memory_mib` is the peak of the whole process, `baseline_memory_mib` its peak once numpy and the runtime's
    library are imported and before the model is loaded; both None where the system does not tell (Windows). `load_ms`
    includes the check of the file's hash.
    """

    batch: int
    runs: int
    threads: int | None
    latency_p50_ms: float
    latency_p95_ms: float
    pictures_per_second: float
    load_ms: float
    peak_memory_mib: float | None
    baseline_memory_mib: float | None
    provider: str

    @property
    def model_memory_mib(self) -> float | None:
        """What the model itself adds: peak minus baseline."""
        if self.peak_memory_mib is None or self.baseline_memory_mib is None:
            return None
        return self.peak_memory_mib - self.baseline_memory_mib


def measure(
    path: Path,
    *,
    batch: int = 1,
    runs: int = 50,
    warmup: int = 5,
    threads: int | None = None,
    provider: str = "auto",
) -> Footprint:
    """Measure the generator at `path` in a fresh process.

    Args: `batch` pictures a call, `runs` timed calls after `warmup` untimed ones; the others as `open_runner`.
    Raises GanletError with the sentence of the child when it could not load or run the model, or when it died.
    """
    _check(batch, runs, warmup)
    command = module_command("ganlet.device.footprint", str(Path(path).absolute()), "--batch", str(batch))
    command += ["--runs", str(runs), "--warmup", str(warmup), "--provider", provider]
    command += [] if threads is None else ["--threads", str(threads)]
    child = subprocess.run(command, capture_output=True, text=True, env=module_environment(), check=False)
    lines = child.stdout.strip().splitlines()
    try:
        result = json.loads(lines[-1]) if lines else {}
    except ValueError:
        result = {}
    if "error" in result:
        raise GanletError(result["error"])
    if child.returncode != 0 or not result:
        reason = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise GanletError(
            f"Measuring {path} ended {_ending(child.returncode)} and no result ({words_of(reason)}); "
            f"{'try a smaller batch' if batch > 1 else 'close other programs, or export it again'}."
        )
    return Footprint(**result)


def _ending(code: int) -> str:
    """How a process ended, by its exit code."""
    signal = f" (signal {-code}{', as when memory runs out' * (code == -9)})" if code < 0 else ""
    return f"with exit code {code}{signal}"


def measure_here(path: Path, batch: int, runs: int, warmup: int, threads: int | None, provider: str) -> Footprint:
    """The measurement itself, in this process: memory figures mean something only if it is a fresh one."""
    _check(batch, runs, warmup)
    load_library(path, provider)
    examine(path, provider)
    baseline_mib = peak_memory_mib()
    started = time.perf_counter()
    runner = open_runner(path, provider=provider, threads=threads)
    load_ms = (time.perf_counter() - started) * 1e3
    call = one_call(runner, batch)
    for _ in range(warmup):
        call()
    latency_ms = np.empty(runs)
    for index in range(runs):
        started = time.perf_counter()
        call()
        latency_ms[index] = (time.perf_counter() - started) * 1e3
    return Footprint(
        batch=batch,
        runs=runs,
        threads=threads,
        latency_p50_ms=float(np.percentile(latency_ms, 50)),
        latency_p95_ms=float(np.percentile(latency_ms, 95)),
        pictures_per_second=float(batch * 1e3 / latency_ms.mean()),
        load_ms=load_ms,
        peak_memory_mib=peak_memory_mib(),
        baseline_memory_mib=baseline_mib,
        provider=runner.provider,
    )


def peak_memory_mib() -> float | None:
    """The largest resident memory this process ever had, in MiB; None where the system does not tell.

    Linux: VmHWM, which starts anew when a program is executed. ru_maxrss does not: it survives exec, so that the child
    of a large process would report its parent's peak.
    """
    if _STATUS.is_file():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / MIB
        return None
    if sys.platform == "win32":
        return None
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak * 1024 / MIB  # macOS counts bytes, the others KiB


def one_call(runner: Runner, batch: int) -> Callable[[], object]:
    """A call of `runner` for `batch` pictures, always of the same feed."""
    feed = example_feed(runner.ports, batch)
    return lambda: runner(feed)


def _check(batch: int, runs: int, warmup: int) -> None:
    if batch < 1 or runs < 1 or warmup < 0:
        raise GanletError(
            f"Got batch {batch}, {runs} runs and {warmup} warm-up runs; expected 1 or more, 1 or more, and 0 or more."
        )


def main(arguments: list[str] | None = None) -> int:
    """Print one JSON line: the footprint, or {"error": sentence} with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m ganlet.device.footprint", description=measure.__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--provider", default="auto")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    try:
        print(json.dumps(asdict(measure_here(**options))))
    except GanletError as error:
        print(json.dumps({"error": str(error)}))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
