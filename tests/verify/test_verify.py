"""Verification: a sound run passes, a spoilt one fails, and what cannot be judged is refused."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ganlet.artifact import Stage, load_stage
from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.commands.run import verify
from ganlet.device.feed import Feed
from ganlet.device.footprint import Footprint
from ganlet.device.latents import latents
from ganlet.errors import GanletError
from ganlet.files import read_json, write_json
from ganlet.recipe import Budget, Recipe, load_recipe
from ganlet.verify.budget import check_budget
from ganlet.verify.checks import at_most
from ganlet.verify.fidelity import choose_reference, measure_fidelity
from ganlet.verify.parity import check_parity
from ganlet.verify.torch_runner import TorchRunner
from ganlet.verify.verdict import _of_other_pictures
from support import Silent

FOOTPRINT = Footprint(1, 50, None, 3.0, 4.0, 300.0, 10.0, 90.0, 60.0, "CPUExecutionProvider")


class Offset:
    """A runner whose pictures are another's plus a constant."""

    provider = "CPUExecutionProvider"
    name = "shifted"

    def __init__(self, runner: Any, offset: float, scale: float = 1.0) -> None:
        self.runner, self.offset, self.scale = runner, offset, scale
        self.ports, self.picture_shape = runner.ports, runner.picture_shape

    def __call__(self, feed: Feed) -> np.ndarray:
        return (self.runner(feed) * self.scale + self.offset).astype(np.float32)


@pytest.fixture
def copy_of_run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "tiny"))


def place_of(run: Path, recipe: Recipe | None = None) -> OpenRun:
    recipe = recipe or load_recipe(run / "recipe.toml")
    return OpenRun(recipe, run, open_pictures(recipe, Silent()), Silent())


def test_at_most() -> None:
    assert at_most("a", 2.0, 2.0, "MB", "").status == "passed"
    assert at_most("a", 2.0001, 2.0, "MB", "").status == "failed"
    assert at_most("a", None, 2.0, "MB", "why").status == "not_verified"


def test_parity_of_a_known_difference(finished_run: Path) -> None:
    runner = TorchRunner.of_stage(load_stage(finished_run / "student"))
    parity = check_parity(Offset(runner, 1e-3), runner, limit=1e-4, seed=0)
    assert parity.status == "failed" and parity.max_abs == pytest.approx(1e-3, rel=1e-3)
    assert parity.psnr_db == pytest.approx(10 * math.log10(4 / 1e-6), abs=0.01)
    assert set(parity.batches) == {"1", "4", "7", "64"}
    same = check_parity(runner, runner, limit=1e-4, seed=0)
    assert same.status == "passed" and same.max_abs == 0 and same.psnr_db is None


def test_budget_takes_each_limit_from_the_recipe() -> None:
    budget = Budget(training_memory_mib=50, model_mb=1.0, latency_ms=2.0)
    checks = check_budget(budget, training_peaks_mib=[20.0, 60.0], model_mb=0.5, footprint=FOOTPRINT)
    assert {check.name: (check.measured, check.status) for check in checks} == {
        "training memory": (60.0, "failed"),
        "model": (0.5, "passed"),
        "latency": (3.0, "failed"),
    }
    (imported,) = check_budget(Budget(training_memory_mib=50), training_peaks_mib=[], model_mb=0.5, footprint=FOOTPRINT)
    assert imported.status == "not_verified" and "no stage of this run was trained here" in imported.reason


def test_the_report_keeps_its_contract(finished_run: Path) -> None:
    report = read_json(finished_run / "report.json")
    assert report["schema"] == 1 and report["run"] == "tiny" and report["verdict"] == "failed"  # next to untrained
    assert list(report["stages"]) == ["teacher", "student"]
    teacher, student = report["stages"].values()
    training = {"steps", "images", "seconds", "peak_memory_mib", "predicted_memory_mib"}
    beside = {"reserved_memory_mib", "driver_memory_mib", "process_memory_mib"}
    assert set(teacher["training"]) == training | beside
    assert set(teacher["quality"]) == {"fd_lite0_80", "kid_lite0_80"} == set(student["to_teacher"])
    for figure in [*teacher["quality"].values(), *student["quality"].values(), *student["to_teacher"].values()]:
        assert figure["low"] <= figure["value"] <= figure["high"]
    (artifact,) = report["artifacts"]
    assert artifact["path"] == "generator.onnx" and artifact["precision"] == "fp32"
    assert artifact["model_mb"] == (finished_run / "generator.onnx").stat().st_size / 1e6
    assert artifact["parity"]["status"] == "passed" and artifact["parity"]["max_abs"] <= 1e-4
    assert artifact["latency_ms"]["p50"] <= artifact["latency_ms"]["p95"]
    assert {row["name"] for row in report["budget"]} == {"training memory", "model", "inference memory", "latency"}
    change = 100 * (student["quality"]["fd_lite0_80"]["value"] / teacher["quality"]["fd_lite0_80"]["value"] - 1)
    assert student["change_percent"]["value"] == pytest.approx(change)
    assert report["reference"] == report["reference"] | {"kind": "held-out pictures", "count": 80}


def test_the_exported_file_itself_is_judged(copy_of_run: Path) -> None:
    """A grey export: the file is replaced, with its manifest, by one that draws nothing; only the file must fail."""
    import onnx
    from onnx import numpy_helper

    path = copy_of_run / "generator.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(values), tensor.name))
    path.write_bytes(model.SerializeToString(deterministic=True))
    from ganlet.artifact import describe_file

    manifest = read_json(copy_of_run / "manifest.json")
    manifest["files"]["generator.onnx"] |= describe_file(path)
    write_json(copy_of_run / "manifest.json", manifest)
    before = read_json(copy_of_run / "report.json")
    report = verify(place_of(copy_of_run))
    status = {check["name"]: check["status"] for check in report["checks"]}
    assert status["parity of generator.onnx"] == "failed" and report["verdict"] == "failed"
    grey, sound = report["artifacts"][0]["quality"]["fd_lite0_80"], before["artifacts"][0]["quality"]["fd_lite0_80"]
    assert abs(grey["value"] / sound["value"] - 1) > 0.01
    assert report["stages"]["student"]["quality"] == before["stages"]["student"]["quality"]


def test_verification_is_skipped_only_while_nothing_changes(copy_of_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(copy_of_run)
    before = read_json(copy_of_run / "report.json")
    assert verify(place) == before and "skipped" in place.observer.said[-1]  # type: ignore[attr-defined]
    monkeypatch.setattr("os.cpu_count", lambda: 1234)  # as if the folder had been copied to another machine
    assert verify(place)["provenance"]["machine"]["cores"] == 1234
    recipe = place.recipe.model_copy(update={"budget": Budget(model_mb=0.0001)})
    report = verify(place_of(copy_of_run, recipe))
    assert report["verdict"] == "failed" and report["budget"][0]["status"] == "failed"


def test_an_export_of_other_weights_is_refused(copy_of_run: Path) -> None:
    manifest = read_json(copy_of_run / "manifest.json")
    manifest["files"]["generator.onnx"]["made_from"]["weights_sha256"] = "0" * 64
    write_json(copy_of_run / "manifest.json", manifest)
    (copy_of_run / "report.json").unlink()
    with pytest.raises(GanletError, match="was not made from any stage"):
        verify(place_of(copy_of_run))


def test_damaged_pictures_for_the_device_stop_it_before_anything_is_measured(
    copy_of_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy_of_run / "expected.npz").write_bytes(b"cut short")
    before = (copy_of_run / "report.json").read_bytes()
    monkeypatch.setattr("ganlet.verify.verdict.measure_fidelity", lambda *_, **__: pytest.fail("it measured first"))
    with pytest.raises(GanletError, match=r"expected\.npz"):
        verify(place_of(copy_of_run))  # that report does not stand for other pictures
    assert (copy_of_run / "report.json").read_bytes() == before


def test_a_missing_export_says_how_to_make_it(copy_of_run: Path) -> None:
    (copy_of_run / "generator.onnx").unlink()
    with pytest.raises(GanletError, match="ganlet export"):
        verify(place_of(copy_of_run))


def test_reference_never_holds_training_pictures(finished_run: Path) -> None:
    place = place_of(finished_run)
    train, held = place.pictures.split(0.2, 0)
    reference = choose_reference(place.pictures, 0.2, 0, 60)
    assert reference.kind == "held-out pictures" and len(reference.indices) == 60
    assert not set(reference.indices) & set(train) and set(reference.indices) <= set(held)
    trained_on = set(place.batches(place.recipe.teacher.train).indices_at(0))  # type: ignore[union-attr]
    assert trained_on <= set(train)
    assert choose_reference(place.pictures, 0.0, 0, 60).kind == "training pictures"


def test_fidelity_tells_a_spoilt_student_from_a_sound_one(finished_run: Path) -> None:
    place = place_of(finished_run)
    teacher = TorchRunner.of_stage(load_stage(finished_run / "teacher"))
    runners = {"teacher": teacher, "same": Offset(teacher, 0.0), "faint": Offset(teacher, 0.0, scale=0.2)}
    reference = choose_reference(place.pictures, 0.2, 0, 80)
    seen: list[tuple[int, int]] = []
    found = measure_fidelity(
        runners, reference, net_name="lite0", samples=80, seed=0, progress=lambda d, t: seen.append((d, t))
    )
    assert found.change_percent["same"].value == pytest.approx(0, abs=1e-6)
    assert found.to_teacher["same"].fd.value == pytest.approx(0, abs=1e-3)
    assert found.to_teacher["faint"].fd.value > 10 * abs(found.to_teacher["same"].fd.value) + 1
    assert seen[-1] == (320, 320)


def test_torch_runner_is_deterministic_in_eval_mode(finished_run: Path) -> None:
    runner = TorchRunner.of_stage(load_stage(finished_run / "teacher"))
    z = latents(0, 0, 6, 8)
    np.testing.assert_allclose(runner({"z": z})[2:3], runner({"z": z[2:3]}), atol=1e-6)
    with pytest.raises(GanletError, match=r"got float64 \(6, 8\) for z; expected float32"):
        runner({"z": z.astype(np.float64)})


def test_a_student_of_another_run_is_compared_with_its_teacher(
    finished_run: Path, tmp_path: Path, make_recipe: Callable[..., Recipe]
) -> None:
    from ganlet.commands.run import run_recipe

    recipe = make_recipe(teacher=None, distill__from=str(finished_run / "teacher"))
    report = run_recipe(recipe, tmp_path / "run", Silent())
    assert list(report["stages"]) == ["teacher", "student"]
    assert report["stages"]["teacher"]["run"] == str(finished_run / "teacher")
    assert "change_percent" in report["stages"]["student"]
    stage: Stage = load_stage(tmp_path / "run" / "student")
    assert (
        stage.config["provenance"]["made_from"]["weights_sha256"] == load_stage(finished_run / "teacher").weights_sha256
    )


def test_a_teacher_of_other_pictures_is_no_yardstick(tmp_path: Path) -> None:
    def stage(data_sha256: str | None) -> Stage:
        return Stage(tmp_path, {"provenance": {} if data_sha256 is None else {"data_sha256": data_sha256}})

    pictures = SimpleNamespace(sha256="monsters")
    for teacher, warned in (("kittens", True), ("monsters", False), (None, False)):
        found = _of_other_pictures({"teacher": stage(teacher), "student": stage("monsters")}, pictures)
        assert bool(found) == warned and all("look at its own distance" in warning for warning in found)
    assert _of_other_pictures({"teacher": stage("kittens")}, pictures) == []
