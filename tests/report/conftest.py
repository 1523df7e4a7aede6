"""A whole run's folder made of coloured noise: what the report room reads, without training anything."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIZE_PX = 32


def around(value: float, spread: float) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread}


def whole_forecast() -> dict[str, Any]:
    """A forecast of training memory, as it stands in a report."""
    return {
        "stage": "teacher",
        "batch": 32,
        "place": "cpu",
        "peak_mib": 33.2,
        "peak_phase": "critic backward",
        "reserved_mib": 33.2,
        "parts": {"parameters": 6.0, "optimiser state": 12.0, "activations": 15.2},
        "phases": {"critic backward": 33.2, "generator forward": 30.0},
        "timeline": [[20.0, "critic forward"], [33.2, "critic backward"], [30.0, "generator forward"]],
        "context_mib": [0.0, 0.0],
        "workspace_mib": [0.0, 0.0],
        "card_mib": [33.2, 33.2],
    }


def whole_report() -> dict[str, Any]:
    """A passed run, with every key of the contract."""
    return {
        "schema": 1,
        "run": "kittens-quick",
        "verdict": "passed",
        "stages": {
            "teacher": {
                "family": "dcgan",
                "parameters": 1_070_000,
                "model_mb": 4.3,
                "training": {
                    "steps": 1500,
                    "images": 48_000,
                    "seconds": 110.0,
                    "peak_memory_mib": 36.1,
                    "predicted_memory_mib": 33.2,
                },
                "quality": {"fd_lite0_2k": around(41.27, 1.4), "kid_lite0_2k": around(0.0312, 0.0011)},
                "memory_forecast": whole_forecast(),
            },
            "student": {
                "family": "dcgan",
                "parameters": 274_300,
                "model_mb": 1.1,
                "training": {
                    "steps": 1200,
                    "images": 38_400,
                    "seconds": 71.5,
                    "peak_memory_mib": 21.9,
                    "predicted_memory_mib": None,
                },
                "quality": {"fd_lite0_2k": around(42.59, 1.5), "kid_lite0_2k": around(0.0329, 0.0012)},
                "to_teacher": {"fd_lite0_2k": around(8.83, 0.4), "kid_lite0_2k": around(0.0042, 0.0004)},
                "change_percent": {"value": 3.2, "low": 1.0, "high": 5.5},
            },
        },
        "artifacts": [
            {
                "path": "generator.onnx",
                "precision": "fp32",
                "model_mb": 1.12,
                "parity": {
                    "status": "passed",
                    "reason": "",
                    "max_abs": 2.4e-7,
                    "psnr_db": 141.3,
                    "batches": {"1": 1.2e-7, "4": 1.8e-7, "7": 2.1e-7, "64": 2.4e-7},
                },
                "quality": {"fd_lite0_2k": around(42.58, 1.5)},
                "latency_ms": {"p50": 1.23, "p95": 1.94},
                "peak_memory_mib": 121.7,
            }
        ],
        "budget": [
            {"name": "training memory", "unit": "MiB", "limit": 100.0, "measured": 36.1, "status": "passed"},
            {"name": "model", "unit": "MB", "limit": 1.5, "measured": 1.12, "status": "passed"},
            {"name": "latency", "unit": "ms", "limit": 20.0, "measured": 1.23, "status": "passed"},
        ],
        "checks": [
            {
                "name": "fidelity of student",
                "status": "passed",
                "measured": 3.2,
                "limit": 15.0,
                "unit": "%",
                "reason": "The distance to the data rose by 3.2 %.",
            },
            {
                "name": "parity of generator.onnx",
                "status": "passed",
                "measured": 2.4e-7,
                "limit": 1e-4,
                "unit": "",
                "reason": "",
            },
        ],
        "reference": {"kind": "held-out pictures", "count": 2000, "sha256": "ab" * 32},
        "provenance": {
            "recipe_sha256": "cd" * 32,
            "data_sha256": "ef" * 32,
            "seed": 0,
            "versions": {"ganlet": "0.1.0", "torch": "2.9.1", "onnxruntime": "1.23.2"},
            "machine": {"processor": "x86-64 processor", "cores": 2, "device": "cpu"},
            "credits": ["Kittens: David Revoy, CC-BY 4.0, by way of RoboHash"],
            "command": "ganlet run recipes/kittens-quick.toml",
        },
    }


def quantised_report() -> dict[str, Any]:
    """The same run with an int8 file beside generator.onnx."""
    report = whole_report()
    int8 = dict(report["artifacts"][0]) | {
        "path": "generator.int8.onnx",
        "precision": "int8",
        "model_mb": 0.29,
        "quality": {"fd_lite0_2k": around(42.91, 1.5)},
        "change_percent": {"value": 0.8, "low": 0.1, "high": 1.5},
        "latency_ms": {"p50": 0.71, "p95": 0.88},
        "provider": "CPUExecutionProvider",
    }
    int8["parity"] = int8["parity"] | {"max_abs": 0.31, "psnr_db": 40.7}
    report["artifacts"].append(int8)
    return report


def failed_report() -> dict[str, Any]:
    """The same run, but its student is too far from the data and its file too large."""
    report = whole_report()
    report["verdict"] = "failed"
    report["stages"]["student"]["change_percent"] = {"value": 21.4, "low": 17.9, "high": 24.8}
    report["checks"][0] |= {"status": "failed", "measured": 21.4, "reason": "The distance to the data rose by 21.4 %."}
    report["budget"][1] |= {"measured": 2.25, "status": "failed"}
    return report


def undecided_report() -> dict[str, Any]:
    """The same run, but too few samples to tell whether its student keeps to the limit; and it warns of collapse."""
    report = whole_report()
    report["verdict"] = "failed"
    report["stages"]["student"]["change_percent"] = {"value": 12.0, "low": 7.0, "high": 17.0}
    reason = "2,000 samples cannot tell a change of +12.0 % from the 15 % allowed, use at least 5,600"
    report["checks"][0] |= {"status": "undecided", "measured": 12.0, "low": 7.0, "high": 17.0, "reason": reason}
    report["warnings"] = ["student: the spread of its features is 40 % below its teacher's; look at its pictures."]
    change = {"effective_rank": {"value": -31.0, "low": -35.0, "high": -27.0}}
    report["variety"] = {
        "data": {"effective_rank": around(91.234, 2.0), "duplicate_rate": around(0.01, 0.004)},
        "teacher": {"effective_rank": around(80.0, 2.0), "latent_spread": around(0.21, 0.01)},
        "student": {"effective_rank": around(55.2, 2.0), "change_percent": change},
    }
    space = {"rate": around(0.061, 0.012), "copies": around(0.0, 0.0), "near": 0.05, "searched": 9600}
    report["memorisation"] = {"pixels": space, "features": space | {"searched": 4000}}
    report["stages"]["teacher"]["training"]["evaluation"] = {
        "distance": 51.25, "step": 1200, "samples": 1000, "stopped_early": True,
    }  # fmt: skip
    return report


def bare_report() -> dict[str, Any]:
    """A run of which only half is there: nobody verified it."""
    return {
        "schema": 1,
        "run": "half",
        "verdict": None,
        "stages": {
            "teacher": {"family": "dcgan", "parameters": 1_070_000, "model_mb": 4.3, "training": None, "quality": {}},
            "student": {"parameters": None, "quality": None, "change_percent": None},
        },
        "artifacts": [{"path": "generator.onnx", "precision": None, "parity": None}],
        "budget": [{"name": "model", "unit": "MB", "limit": 1.5, "measured": None, "status": "passed"}],
        "checks": [{"name": "fidelity of student", "status": "not_verified", "reason": "No held-out pictures."}],
        "reference": None,
        "provenance": None,
    }


def sheet(rows: int, columns: int, seed: int) -> Image.Image:
    """Blobs of colour on a grid: the same seed draws the same shapes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE_PX, 0:SIZE_PX] / SIZE_PX
    canvas = np.full((rows * (SIZE_PX + 2) + 2, columns * (SIZE_PX + 2) + 2, 3), 255, np.uint8)
    for index in range(rows * columns):
        centre, colour, ground = random.random(2), random.random(3), random.random(3)
        blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) * 18)[..., None]
        top, left = 2 + index // columns * (SIZE_PX + 2), 2 + index % columns * (SIZE_PX + 2)
        drawn = (blob * colour + (1 - blob) * ground) * 255
        canvas[top : top + SIZE_PX, left : left + SIZE_PX] = drawn.astype(np.uint8)
    return Image.fromarray(canvas)


def write_stage(folder: Path, seed: int, extra: Callable[[int], dict[str, float]]) -> None:
    (folder / "progress").mkdir(parents=True)
    sheet(6, 6, seed).save(folder / "progress" / "strip.png")
    random = np.random.default_rng(seed)
    lines = [
        {
            "step": step,
            "critic_loss": 1.3 + 0.2 * math.exp(-step / 300) + 0.05 * random.standard_normal(),
            "generator_loss": 0.9 + step / 3000 + 0.08 * random.standard_normal(),
            **extra(step),
        }
        for step in range(25, 1525, 25)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_run(run: Path, report: dict[str, Any]) -> Path:
    """A run's folder with everything that the page shows."""
    (run / "samples").mkdir(parents=True)
    (run / "report.json").write_text(json.dumps(report))
    (run / "recipe.toml").write_text('[run]\nname = "kittens-quick"\nseed = 0\n')
    (run / "manifest.json").write_text(json.dumps({"files": {"generator.onnx": {"bytes": 1, "sha256": "0f" * 32}}}))
    for name, seed in (("teacher", 1), ("student", 1), ("data", 2), ("generator.onnx", 1)):
        sheet(6, 6, seed).save(run / "samples" / f"{name}.png")
    write_stage(run / "teacher", 3, lambda step: {"score_real": step / 500, "score_fake": -step / 400})
    write_stage(run / "student", 3, lambda step: {"adversarial": 0.8, "pixel": 0.3 * math.exp(-step / 400) + 0.004})
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "kittens-quick", whole_report())


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    return lambda report: write_run(tmp_path / "made", report)


@pytest.fixture
def passed() -> dict[str, Any]:
    return whole_report()


@pytest.fixture
def failed() -> dict[str, Any]:
    return failed_report()


@pytest.fixture
def bare() -> dict[str, Any]:
    return bare_report()


@pytest.fixture
def undecided() -> dict[str, Any]:
    return undecided_report()


@pytest.fixture
def quantised() -> dict[str, Any]:
    return quantised_report()
