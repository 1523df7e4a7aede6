"""What rebuilding the house must not change: weights after 50 steps of every kind of training, shipped files' pictures.

`unchanged.json` holds SHA-256 digests by machine (`machine_name`): sums of floats differ in their last bits between
processors and versions of torch. On a machine that is not in it the weights' norms are compared instead, which every
machine makes nearly the same. `python tests/test_unchanged.py` adds this machine's digests.
"""

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from torch.backends.cpu import get_cpu_capability

from ganlet.artifact import load_stage
from ganlet.device import Sampler
from ganlet.device.latents import labels, latents
from support import TINY

ROOT = Path(__file__).parents[1]
RECORDED = Path(__file__).with_name("unchanged.json")
STAGES = ("teacher", "transfer", "student", "pruned", "quantized")
TRAIN = {"images": 400, "batch": 8, "checkpoint_steps": 1000, "progress_steps": 1000}  # 50 steps
TEACHER: dict[str, Any] = TINY | {"run": {"name": "teacher", "seed": 3, "threads": 1, "device": "cpu"}}
TEACHER["teacher"] = TINY["teacher"] | {"train": TRAIN | {"augment": ["color", "translation"]}}
TEACHER["distill"] = TINY["distill"] | {"train": TRAIN | {"accumulate": 2}}
TEACHER["compress"] = [
    {"method": "prune", "ratio": 0.3, "round_to": 2, "tune": {"train": TRAIN}},
    {"method": "quantize", "least_psnr_db": 99.0, "tune": {"train": TRAIN}},
]
TEACHER["export"] = {"targets": ["onnx", "onnx-int8"]}
TRANSFER: dict[str, Any] = {key: TEACHER[key] for key in ("run", "data", "verify")} | {
    "transfer": {"freeze_generator": 1, "freeze_critic": 1, "loss": "wgan-gp", "train": TRAIN | {"n_critic": 1}}
}


def machine_name() -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    versions = " ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "onnxruntime"))
    return f"{cpu[1] if cpu else sys.platform}, {get_cpu_capability()}, {versions}"


def trained(folder: Path) -> dict[str, dict[str, Any]]:
    """Digest and norm of the weights of each stage after 50 steps, made by the commands that users run."""
    tables = {
        "teacher": TEACHER,
        "transfer": TRANSFER | {"transfer": TRANSFER["transfer"] | {"from": str(folder / "run")}},
    }
    for name, recipe in tables.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    for verb in ("train", "distill", "prune", "quantize", "transfer"):
        recipe = folder / f"{'transfer' if verb == 'transfer' else 'teacher'}.toml"
        out = folder / ("transferred" if verb == "transfer" else "run")
        command = [sys.executable, "-m", "ganlet", verb, str(recipe), "--run", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    made = {}
    for name in STAGES:
        tensors = load_stage(folder / ("transferred" if name == "transfer" else "run") / name).tensors()
        content = b"".join(key.encode() + tensors[key].numpy().tobytes() for key in sorted(tensors))
        norm = float(sum(tensor.double().square().sum() for tensor in tensors.values())) ** 0.5
        made[name] = {"sha256": hashlib.sha256(content).hexdigest(), "norm": norm}
    return made


def drawn() -> dict[str, str]:
    """Digests of the pictures 0 to 31 of seed 7 of the shipped files, as 8-bit pictures."""
    made = {}
    for path in sorted((ROOT / "exported" / "kittens").glob("*.onnx")):
        pictures = Sampler(path, provider="cpu", threads=1).images(0, 32, seed=7)
        made[path.name] = hashlib.sha256(pictures.tobytes()).hexdigest()
    return made


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text())
    return found


def test_what_is_drawn_of_a_seed_is_what_it_was() -> None:
    """Integers and float64 arithmetic alone: the same on every machine."""
    inputs = latents(7, 3, 5, 10).tobytes(), labels(7, 3, 5, 10).tobytes()
    assert [hashlib.sha256(content).hexdigest()[:16] for content in inputs] == ["df0039fe5030fbdc", "86ae317f5744c23c"]


@pytest.mark.slow
def test_weights_after_50_steps_are_what_they_were(tmp_path: Path, recorded: dict[str, Any]) -> None:
    made, known = trained(tmp_path), recorded["weights"].get(machine_name(), {})
    for name in STAGES:
        assert made[name]["norm"] == pytest.approx(recorded["norms"][name], rel=1e-3), name
    assert known in ({}, {name: made[name]["sha256"] for name in STAGES})


def test_shipped_files_draw_what_they_drew(recorded: dict[str, Any]) -> None:
    known = recorded["pictures"].get(machine_name())
    if known is None:
        pytest.skip(f"no digests of this machine ({machine_name()}); confirming compares with expected.npz everywhere")
    assert drawn() == known


def record(folder: Path) -> None:
    made = trained(folder)
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"norms": {}, "weights": {}, "pictures": {}}
    known["norms"] = known["norms"] or {name: made[name]["norm"] for name in STAGES}
    known["weights"][machine_name()] = {name: made[name]["sha256"] for name in STAGES}
    known["pictures"][machine_name()] = drawn()
    RECORDED.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        record(Path(place))
