"""What ONNX Runtime takes of memory by batch and by what it does with its arena: why the profiles are as they are.

python benchmarks/runtime_profiles.py

Each row is a fresh process that loads the generator and draws three times, on one thread. MiB are beyond the process
before it loads the model; "peak" is the highest, "after" what it holds after the last call.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ganlet.device.child import module_environment
from ganlet.device.footprint import peak_memory_mib
from ganlet.device.latents import latents
from ganlet.device.runtimes import load_onnxruntime
from ganlet.files import MIB

ROOT = Path(__file__).parents[1]
ARENAS = ("kept", "shrunk", "off")
BATCHES = (1, 16, 32)


def measure_here(path: str, arena: str, batch: int) -> dict[str, float]:
    """Draw in this process; a fresh one, or the figures mean nothing."""
    runtime = load_onnxruntime()
    before_mib = peak_memory_mib() or 0.0
    options, run_options = runtime.SessionOptions(), runtime.RunOptions()
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = arena != "off"
    if arena == "shrunk":
        run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    z = latents(0, 0, batch, session.get_inputs()[0].shape[1])
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        session.run(None, {"z": z}, run_options)
        seconds.append(time.perf_counter() - started)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "peak_mib": (peak_memory_mib() or 0.0) - before_mib,
        "after_mib": pages * os.sysconf("SC_PAGESIZE") / MIB - before_mib,
        "ms": min(seconds) * 1e3 / batch,
    }


def base_work_student(folder: Path) -> Path:
    """The base work's student with random weights: memory does not depend on them."""
    from ganlet.export.onnx_export import onnx_bytes
    from ganlet.models.dcgan import GeneratorConfig
    from ganlet.models.families import build_generator
    from ganlet.models.init import initialise

    generator = build_generator(
        GeneratorConfig(latent=100, widths=(512, 256, 128, 64), strides=(4, 2, 2, 2), kernels=(8, 4, 4, 4), channels=3)
    )
    initialise(generator, 0)
    path = folder / "student.onnx"
    path.write_bytes(onnx_bytes(generator, ""))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=3, metavar=("MODEL", "ARENA", "BATCH"), help="measure one row in this process")
    one = parser.parse_args().one
    if one:
        print(json.dumps(measure_here(one[0], one[1], int(one[2]))))
        return
    print("generator            batch  arena   peak MiB  after MiB  ms a picture")
    with tempfile.TemporaryDirectory() as folder:
        models = {"kittens, 0.8 MB": ROOT / "exported/kittens/generator.onnx"}
        models["base work, 39 MB"] = base_work_student(Path(folder))
        for name, model in models.items():
            for batch in BATCHES:
                for arena in ARENAS:
                    rows = [_row(model, arena, batch) for _ in range(3)]
                    peak, after, ms = (float(np.median([row[key] for row in rows])) for key in rows[0])
                    print(f"{name:<20} {batch:>5}  {arena:<7} {peak:>8.1f}  {after:>9.1f}  {ms:>12.2f}", flush=True)


def _row(model: Path, arena: str, batch: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(model), arena, str(batch)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, env=module_environment())
    row: dict[str, float] = json.loads(child.stdout)
    return row


if __name__ == "__main__":
    main()
