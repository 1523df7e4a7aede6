"""Kill a run ten times at random moments (SIGKILL), each time run the same command again, and compare what comes out.

    python benchmarks/kill_and_resume.py                                    # recipes/digits-smoke.toml
    python benchmarks/kill_and_resume.py recipes/kittens-quick.toml --kills 10

First the recipe runs undisturbed twice; the bytes of both generator.onnx must be equal. Then a third run is killed
after a random time, again and again; whenever it gets to its end, its generator.onnx is compared and another run is
begun, until all kills are spent. The moment of each kill is printed with the stage that it hit.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ganlet.files import sha256_file


def start(recipe: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "ganlet.cli", "run", str(recipe), "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]") -> None:
    _, err = process.communicate()
    if process.returncode not in (0, 1):  # 1 is a failed verdict, which says nothing of the bytes
        raise SystemExit(f"the run ended with exit code {process.returncode}:\n{err.decode()}")


def stage_of(out: Path) -> str:
    """The stage that a killed run was in, by what it had finished."""
    reached = "data"
    for name in ("teacher", "student"):
        if (out / name / "config.json").exists():
            reached = f"after {name}"
        elif (out / name).exists():
            reached = f"in {name}"
    for name in ("generator.onnx", "report.json"):
        if (out / name).exists():
            reached = f"after {name}"
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, nargs="?", default=Path("recipes/digits-smoke.toml"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        hashes = []
        for name in ("first", "second"):
            started = time.monotonic()
            finish(start(options.recipe, Path(folder) / name))
            seconds = time.monotonic() - started
            hashes.append(sha256_file(Path(folder) / name / "generator.onnx"))
            print(f"undisturbed, {name}: {seconds:.0f} s, generator.onnx {hashes[-1][:16]}", flush=True)
        kills, runs, equal = 0, 0, 0
        while kills < options.kills:
            out = Path(folder) / f"killed-{runs}"
            runs += 1
            while True:
                process = start(options.recipe, out)
                patience = moments.uniform(0.05, 0.5) * seconds if kills < options.kills else None
                try:
                    process.wait(patience)
                    finish(process)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    kills += 1
                    print(f"kill {kills}: after {patience:.1f} s, {stage_of(out)}", flush=True)
            digest = sha256_file(out / "generator.onnx")
            equal += digest == hashes[0]
            print(f"run {runs} came to its end: generator.onnx {digest[:16]}", flush=True)
    result = {"twice_equal": hashes[0] == hashes[1], "kills": kills, "runs": runs, "runs_equal": equal}
    print(json.dumps(result))
    raise SystemExit(0 if result["twice_equal"] and equal == runs else 1)


if __name__ == "__main__":
    main()
