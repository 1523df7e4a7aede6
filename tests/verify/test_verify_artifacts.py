"""Several exported files of one run: each has its own row and its own checks, and a spoilt one fails alone."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ganlet.artifact import describe_file, load_stage
from ganlet.commands.export import export_recipe
from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.commands.run import verify
from ganlet.device.feed import Feed, latent_dim
from ganlet.errors import GanletError
from ganlet.files import read_json, write_json
from ganlet.metrics import Interval
from ganlet.recipe import Export, Recipe, Verify, load_recipe
from ganlet.verify.artifacts import artifact_checks, artifact_names, parity_limits
from ganlet.verify.checks import at_least
from ganlet.verify.parity import check_parity
from ganlet.verify.torch_runner import TorchRunner
from support import Silent


class Other:
    """A runner whose pictures are made of another's by a function."""

    provider, name = "CPUExecutionProvider", "other"

    def __init__(self, runner: Any, change: Any) -> None:
        self.runner, self.change = runner, change
        self.ports, self.picture_shape = runner.ports, runner.picture_shape

    def __call__(self, feed: Feed) -> np.ndarray:
        return self.change(self.runner(feed)).astype(np.float32)


@pytest.fixture
def network(finished_run: Path) -> TorchRunner:
    return TorchRunner.of_stage(load_stage(finished_run / "student"))


def spoil(run: Path, name: str) -> None:
    """Turn the last layer's weights of RUN/NAME upside down, and list the file as if it had been made so."""
    model = onnx.load(run / name)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "final.0.weight")
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    (run / name).write_bytes(model.SerializeToString())
    manifest = read_json(run / "manifest.json")
    manifest["files"][name] |= describe_file(run / name)
    write_json(run / "manifest.json", manifest)


def wanting(recipe: Recipe, *targets: str, **limits: float) -> Recipe:
    verify = recipe.verify.model_copy(update=limits)
    return recipe.model_copy(update={"export": Export(targets=targets), "verify": verify})  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_file_that_the_recipe_asks_for_is_judged(decent_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(decent_run, tmp_path / "run"))
    recipe = wanting(load_recipe(run / "recipe.toml"), "onnx", "onnx-fp16", "onnx-int8")
    place = OpenRun(recipe, run, open_pictures(recipe, Silent()), Silent())
    with pytest.raises(GanletError, match=r"no generator\.fp16\.onnx; make it with .*--to onnx --precision fp16"):
        verify(place)
    export_recipe(recipe, load_stage(run / "student"), run, Silent())
    report = verify(place)
    assert report["verdict"] == "passed"
    plain, fp16, int8 = report["artifacts"]
    assert [row["precision"] for row in report["artifacts"]] == ["fp32", "fp16", "int8"]
    assert "change_percent" not in plain
    for row in (fp16, int8):
        assert row["model_mb"] == (run / row["path"]).stat().st_size / 1e6
        distances = [artifact["quality"]["fd_lite0_80"]["value"] for artifact in (row, plain)]
        assert row["change_percent"]["value"] == pytest.approx(100 * (distances[0] / distances[1] - 1), abs=1e-6)
        assert row["latency_ms"]["p50"] > 0 and row["peak_memory_mib"] > 0 and row["parity"]["explained"] > 0.9
    assert [check["name"] for check in report["checks"] if "int8" in check["name"]] == [
        "variety of generator.int8.onnx",
        "distance of generator.int8.onnx to the data",
        "PSNR of generator.int8.onnx",
        "distance of generator.int8.onnx against generator.onnx",
        "fidelity of generator.int8.onnx",
    ]
    assert (run / "samples" / "generator.int8.onnx.png").is_file()
    assert "latent_spread" in report["variety"]["generator.fp16.onnx"]
    assert "latent_spread" not in report["variety"]["generator.int8.onnx"]
    assert not any("--artifact" in warning for warning in report["warnings"])
    assert verify(place) == report and "skipped" in place.observer.said[-1]  # type: ignore[attr-defined]

    spoil(run, "generator.int8.onnx")
    after = verify(place)
    failed = [check["name"] for check in after["checks"] if check["status"] != "passed"]
    assert after["verdict"] == "failed" and "PSNR of generator.int8.onnx" in failed
    assert all("int8" in name for name in failed)
    (refused,) = [warning for warning in after["warnings"] if "--artifact" in warning]
    assert refused.startswith("generator.int8.onnx: `ganlet verify --artifact` refuses it on this machine: PSNR")
    assert "of 38 dB" in refused
    assert after["artifacts"][0]["quality"] == plain["quality"]


def test_the_files_are_those_of_the_targets(finished_run: Path) -> None:
    recipe = load_recipe(finished_run / "recipe.toml")
    assert artifact_names(wanting(recipe, "web")) == ["generator.onnx"]
    assert artifact_names(wanting(recipe, "onnx-int8", "onnx", "trt-rtx", "onnx-int8")) == [
        "generator.onnx",
        "generator.int8.onnx",
    ]


def test_parity_is_judged_by_the_pictures_as_a_whole_in_int8(network: TorchRunner) -> None:
    noise = np.random.default_rng(0)
    shaken = Other(network, lambda images: images + 0.02 * noise.standard_normal(images.shape))
    found = check_parity(shaken, network, seed=0, least_psnr_db=38.0)
    # 4 / 0.02^2 is 40 dB; a pixel in thousands is off by four times as much, which fp32 would not be forgiven.
    assert found.psnr_db == pytest.approx(40, abs=0.2) and found.max_abs > 0.05 and found.status == "passed"
    assert check_parity(shaken, network, seed=0, limit=1e-4).status == "failed"
    assert check_parity(shaken, network, seed=0, limit=1.0, least_psnr_db=41.0).status == "failed"
    verify = Verify()
    assert parity_limits("fp32", verify) == (verify.parity_max_abs, None)
    assert parity_limits("int8", verify) == (None, verify.parity_int8_psnr_db)
    assert parity_limits("fp16", verify) == (verify.parity_fp16_max_abs, verify.parity_fp16_psnr_db)


def test_every_picture_counts_the_same_in_the_ratio(network: TorchRunner) -> None:
    """An error in the one picture that is drawn alone is one of 76."""
    first = Other(network, lambda images: images + (0.1 if len(images) == 1 else 0.0))
    assert check_parity(first, network, seed=0).psnr_db == pytest.approx(10 * math.log10(4 / (0.01 / 76)), abs=0.01)


def test_one_picture_for_all_explains_nothing(network: TorchRunner) -> None:
    assert check_parity(network, network, seed=0).explained == 1.0
    mean = network({"z": np.zeros((1, latent_dim(network.ports)), np.float32)})
    for constant in (0.0, 1.0, mean):
        grey = Other(network, lambda images, constant=constant: images * 0 + constant)
        assert check_parity(grey, network, seed=0).explained < 0.2


@pytest.mark.parametrize(("low", "high", "status"), [(-1, 4, "passed"), (6, 9, "failed"), (2, 8, "undecided")])
def test_what_a_precision_costs_is_a_statement_about_its_interval(
    finished_run: Path, network: TorchRunner, low: float, high: float, status: str
) -> None:
    recipe = wanting(load_recipe(finished_run / "recipe.toml"), "onnx-int8", quantised_max_drop_percent=5.0)
    artifact = SimpleNamespace(name="generator.int8.onnx", precision="int8")
    change = Interval((low + high) / 2, low, high)
    parity = check_parity(network, network, seed=0)
    found = SimpleNamespace(artifact=artifact, parity=parity, change_percent=change)
    likeness, cost = artifact_checks(found, recipe)  # type: ignore[arg-type]
    assert cost.status == status and cost.limit == 5.0 and "generator.onnx's on the same 80 latents" in cost.reason
    assert likeness.status == "passed" and likeness.measured is None  # equal to the bit


def test_at_least() -> None:
    assert at_least("a", 38.0, 38.0, "dB", "").status == "passed"
    assert at_least("a", 37.9, 38.0, "dB", "").status == "failed"
    assert at_least("a", 37.9, 38.0, "dB", "why").reason == "at least 38 dB expected; why"
