"""A benchmark's child: something is made ready once, then timed in the rounds that the parent asks for.

`python -m ganlet.device.rounds ARTIFACT --batch 1` loads a generator, `--matmul 1024` two matrices. One JSON object a
line, both ways: first comes {"ready": {...}}; to every request {"calls": N, "seconds": S} the answer is {"latency_ms":
[...], "peak_memory_mib": ...}, of N calls or as many as fit in S seconds. {"error": sentence} may come at any time, and
is the last. Between rounds the process waits for its standard input, and it ends with it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ganlet.device.footprint import one_call, peak_memory_mib
from ganlet.device.open import examine, open_runner
from ganlet.errors import GanletError

LEAST_CALLS = 3  # of a round, however slow a call is
WARM_UP_CALLS = 3  # after loading; one more begins every round, since others have had the caches meanwhile
Call = Callable[[], object]
Ready = dict[str, Any]


def runner_call(path: Path, batch: int, provider: str, threads: int | None) -> tuple[Call, Ready]:
    """One call of `batch` pictures of the artifact at `path`, and what is known of it: provider, load_ms, metadata."""
    examine(path, provider)
    started = time.perf_counter()
    runner = open_runner(path, provider=provider, threads=threads)
    load_ms = (time.perf_counter() - started) * 1e3
    metadata = getattr(runner, "metadata", {})  # of the formats that have room for it
    return one_call(runner, batch), {"provider": runner.provider, "load_ms": load_ms, "metadata": metadata}


def matmul_call(side: int) -> tuple[Call, Ready]:
    """One product of two float32 matrices (side, side) by numpy: 2 side^3 operations."""
    a, b = np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)
    return lambda: a @ b, {"provider": f"numpy {np.__version__}"}


def serve(make_ready: Callable[[], tuple[Call, Ready]], requests: TextIO, answers: TextIO) -> int:
    """Time what `make_ready` makes, in rounds, until the requests end. Returns 0, or 2 after an error was answered."""

    def answer(**content: Any) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        call, ready = make_ready()
        for _ in range(WARM_UP_CALLS):
            call()
        answer(ready=ready)
        for line in requests:
            wanted = json.loads(line)
            latency_ms = timed_round(call, int(wanted["calls"]), float(wanted["seconds"]))
            answer(latency_ms=latency_ms, peak_memory_mib=peak_memory_mib())
    except GanletError as error:
        answer(error=str(error))
        return 2
    except Exception as error:  # runtimes share no base class, and the parent wants a sentence, not a traceback
        words = (str(error).strip().splitlines() or [""])[0][:200]
        answer(error=f"It failed with {type(error).__name__} ({words}).")
        return 2
    return 0


def timed_round(call: Call, calls: int, seconds: float) -> list[float]:
    """Milliseconds of each of `calls` calls, or of as many as fit in `seconds`, but never fewer than three."""
    call()
    latency_ms: list[float] = []
    began = time.perf_counter()
    while len(latency_ms) < calls:
        started = time.perf_counter()
        if len(latency_ms) >= LEAST_CALLS and started - began >= seconds:
            break
        call()
        latency_ms.append((time.perf_counter() - started) * 1e3)
    return latency_ms


def own_output() -> TextIO:
    """Standard output for answers alone: what runtimes print by themselves goes to standard error from here on."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ganlet.device.rounds", description=serve.__doc__)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--matmul", type=int, metavar="SIDE")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--provider", default="auto")
    told = parser.parse_args(arguments)
    if told.matmul:
        return serve(lambda: matmul_call(told.matmul), sys.stdin, own_output())
    return serve(lambda: runner_call(told.path, told.batch, told.provider, told.threads), sys.stdin, own_output())


if __name__ == "__main__":
    sys.exit(main())
