"""`ganlet export --precision --profile --tune`: what is written, skipped, refused and told in the manifest."""

import getpass
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import ModelProto, numpy_helper

import ganlet
from ganlet.artifact import load_stage, manifest_entry
from ganlet.commands import export
from ganlet.commands.export import ExportOptions, export_recipe, export_source
from ganlet.errors import GanletError
from ganlet.export import layers_of, variants
from ganlet.export.tune import Trial, tuned_forms
from ganlet.export.variants import export_variant, variant_name
from ganlet.recipe import Recipe, Verify
from support import Answer, Silent, expect_refused


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_names() -> None:
    named = {
        (): "generator.onnx",
        ("fp32", "cpu-fp32"): "generator.onnx",
        ("fp32", "sm75"): "generator.sm75.onnx",
        ("fp32", None, True): "generator.tuned.onnx",
        ("fp16",): "generator.fp16.onnx",
        ("fp16", "sm75"): "generator.fp16.sm75.onnx",
        ("int8", "cpu-int8"): "generator.int8.onnx",
        ("int8", "trt-int8"): "generator.trt-int8.onnx",
        ("int8", None, True): "generator.int8.tuned.onnx",
        ("int8", "trt-int8", True): "generator.trt-int8.tuned.onnx",
        ("fp32", "trt-int8"): "generator.fp32.trt-int8.onnx",  # its forms alone: not to be taken for an int8 file
        ("fp32", "cpu-int8"): "generator.fp32.cpu-int8.onnx",
        ("fp16", "trt-int8"): "generator.fp16.trt-int8.onnx",
    }
    for how, name in named.items():
        assert variant_name(*(how or ("fp32",))) == name
    with pytest.raises(GanletError, match="no precision 'int4'; expected one of fp32, fp16, int8"):
        variant_name("int4")
    with pytest.raises(GanletError, match="no profile 'int8'"):
        variant_name("int8", "int8")


@pytest.mark.parametrize("how", [("fp16",), ("int8",), ("int8", "trt-int8"), ("fp32", "sm75")])
def test_the_manifest_tells_how_a_variant_was_made(run: Path, how: tuple[str, ...]) -> None:
    stage = load_stage(run / "student")
    path = export_variant(run, stage, *how)
    model, entry = onnx.load(path), manifest_entry(run, path.name)
    onnx.checker.check_model(model, full_check=True)
    metadata = {pair.key: pair.value for pair in model.metadata_props}
    plain = {pair.key: pair.value for pair in onnx.load(run / "generator.onnx").metadata_props}
    assert metadata == plain | {"precision": how[0]}
    assert (entry["opset"], entry["ir_version"]) == (model.opset_import[0].version, model.ir_version)
    original = manifest_entry(run, "generator.onnx")
    assert {key: entry[key] for key in ("inputs", "outputs", "made_from", "recipe_sha256", "opset")} == {
        key: original[key] for key in ("inputs", "outputs", "made_from", "recipe_sha256", "opset")
    }
    assert list(entry["layers"]) == ["layer1.0", "layer2.0", "final.0"] and entry["precision"] == how[0]
    assert ("calibration" in entry) == (how[0] == "int8")


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_in_another_process_and_folder(run: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ganlet.artifact import load_stage;"
        "from ganlet.export.variants import export_variant; run = Path(sys.argv[1]);"
        "[export_variant(run, load_stage(run / 'student'), *how.split()) for how in sys.argv[2:]]"
    )
    ways = ["fp16", "int8", "int8 trt-int8"]
    elsewhere = Path(shutil.copytree(run, tmp_path / "else" / "where"))
    for way in ways:
        export_variant(run, load_stage(run / "student"), *way.split())
    environment = {**os.environ, "PYTHONHASHSEED": "2", "PYTHONPATH": str(Path(ganlet.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code, str(elsewhere), *ways], check=True, env=environment, cwd=elsewhere)
    for way in ways:
        name = variant_name(*way.split())
        content = (run / name).read_bytes()
        assert (elsewhere / name).read_bytes() == content
        for leak in (str(tmp_path), tempfile.gettempdir(), "site-packages", f"/{getpass.getuser()}/"):
            assert leak.encode() not in content


def test_what_is_there_and_made_of_the_same_is_skipped(run: Path, make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(export={"targets": ["onnx", "onnx-fp16", "onnx-int8"]})
    stage, seen = load_stage(run / "student"), Silent()
    first = export_recipe(recipe, stage, run, seen)
    assert [path.name for path in first] == ["generator.onnx", "generator.fp16.onnx", "generator.int8.onnx"]
    stamps = [path.stat().st_mtime_ns for path in first]
    again = Silent()
    assert export_recipe(recipe, stage, run, again) == first
    assert [path.stat().st_mtime_ns for path in first] == stamps
    assert sum("is complete, skipped" in said for said in again.said) == 3
    first[2].write_bytes(first[2].read_bytes()[:-1])  # cut short: made again
    last = Silent()
    export_recipe(recipe, stage, run, last)
    assert sum("is complete, skipped" in said for said in last.said) == 2
    assert any("int8.onnx, PSNR" in said for said in last.said)


@pytest.mark.parametrize(("factor", "told"), [(0.0, "drew .* of what varies"), (float("nan"), "NaN or infinite")])
def test_a_grey_export_is_refused_and_removed(
    run: Path, monkeypatch: pytest.MonkeyPatch, factor: float, told: str
) -> None:
    finished = variants.finished

    def spoilt(model: ModelProto, more: Any) -> ModelProto:
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == "final.0.weight")
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * factor, weight.name))
        return finished(model, more)

    monkeypatch.setattr(variants, "finished", spoilt)
    with pytest.raises(GanletError, match=told):
        export_source(run, "onnx", ExportOptions(precision="int8"), Silent())
    assert not (run / "generator.int8.onnx").exists() and not manifest_entry(run, "generator.int8.onnx")


def test_a_plain_file_that_draws_something_else_is_removed_and_never_called_complete(run: Path) -> None:
    (run / "generator.onnx").unlink()
    nothing_is_so_near = ExportOptions(limits=Verify(parity_max_abs=1e-12))
    for _ in range(2):
        with pytest.raises(GanletError, match=r"drew something else than the student.*was removed"):
            export.TARGETS["onnx"](load_stage(run / "student"), run, nothing_is_so_near, Silent())
        assert not (run / "generator.onnx").exists() and not manifest_entry(run, "generator.onnx")


@pytest.mark.parametrize(
    ("to", "words", "told"),
    [
        ("onnx", ["--gpu", "gtx-1660-ti"], "--gpu"),
        ("web", ["--tune"], "--tune"),
        ("trt-rtx", ["--wasm", "folder"], "--wasm"),
        ("executorch", ["--max-batch", "8", "--profile", "sm75"], "--profile and --max-batch"),
    ],
)
def test_a_choice_that_the_target_does_not_have_is_refused(
    ganlet: Callable[..., Answer], run: Path, to: str, words: list[str], told: str
) -> None:
    expect_refused(ganlet("export", run, "--to", to, *words), f"--to {to} has no use for {told}", "leave")


def test_what_misses_the_limit_of_the_recipe_is_said(run: Path) -> None:
    seen = Silent()
    how = ExportOptions(precision="int8", limits=Verify(parity_int8_psnr_db=200.0))
    export.TARGETS["onnx"](load_stage(run / "student"), run, how, seen)
    assert (run / "generator.int8.onnx").is_file()
    assert "at least 200 dB: it will not pass" in seen.said[-1]


def test_the_command_line_writes_a_variant_and_refuses_nonsense(ganlet: Callable[..., Answer], run: Path) -> None:
    code, out, _ = ganlet("export", run, "--precision", "int8", "--profile", "trt-int8")
    assert code == 0 and out.strip() == str(run / "generator.trt-int8.onnx")
    expect_refused(ganlet("export", run, "--profile", "gpu"), "no profile 'gpu'", "cpu-int8")
    expect_refused(ganlet("export", run, "--precision", "int9"), "no precision 'int9'", "fp16")


# ---------------------------------------------------------------- tuning


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_tuning_keeps_what_is_faster_layer_by_layer(run: Path) -> None:
    """By a clock of our own: a Conv is half as slow as a ConvTranspose, but in the last layer slower."""
    model = onnx.load(run / "generator.onnx")

    def cost(made: ModelProto) -> float:
        slow_end = 5.0 * (kinds(made)[-1] in ("Slice", "Transpose"))
        costs = {"ConvTranspose": 2.0, "Conv": 1.0, "Transpose": 0.5}
        return sum(cost * kinds(made).count(kind) for kind, cost in costs.items()) + slow_end

    start = {layer.name: layer.forms[0] for layer in layers_of(model)}
    build = lambda forms: variants.made_in(model, "fp32", "cpu-fp32", forms)  # noqa: E731
    forms, trials = tuned_forms(model, start, build, lambda candidate, current: cost(candidate) / cost(current))
    assert forms == {"layer1.0": "gemm", "layer2.0": "shuffled", "final.0": "transposed"}
    assert [(trial.layer, trial.form, trial.chosen) for trial in trials] == [
        ("layer1.0", "conv1x1", False),
        ("layer1.0", "gemm", True),
        ("layer2.0", "shuffled", True),
        ("layer2.0", "interleaved", False),
        ("final.0", "shuffled", False),
        ("final.0", "interleaved", False),
    ]
    assert trials[0] == Trial("layer1.0", "conv1x1", pytest.approx(5 / 6), False)
    unmoved, _ = tuned_forms(model, start, build, lambda candidate, current: 0.99)  # noise is no gain
    assert unmoved == start


def test_a_form_that_is_only_sometimes_faster_is_not_chosen(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of 0.9 and 1.05 have a median of 0.9; that of another hour may well be 1.05."""
    from ganlet.export import tune

    model = onnx.load(run / "generator.onnx")
    monkeypatch.setattr(tune, "_session", lambda model: None)
    monkeypatch.setattr(tune, "_order", lambda index: (0, 1))

    def is_chosen(slow_rounds: int) -> bool:
        rounds_ms = [(1.05 if index < slow_rounds else 0.9, 1.0) for index in range(tune.ROUNDS)]
        calls_ms = iter([1.0] * 6 + [elapsed for pair in rounds_ms for elapsed in pair])  # 6 decide how many calls
        monkeypatch.setattr(tune, "_elapsed_ms", lambda *_: next(calls_ms))
        return tune.time_ratio(model, model) < tune.GAIN

    assert not is_chosen(slow_rounds=5)
    assert is_chosen(slow_rounds=2)


def test_a_tuned_file_tells_what_was_tried(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganlet.export import tune

    monkeypatch.setattr(tune, "ROUNDS", 2)
    monkeypatch.setattr(tune, "LEAST_MS", 0.1)
    (path,) = export_source(run, "onnx", ExportOptions(precision="int8", tune=True), Silent())
    entry = manifest_entry(run, path.name)
    assert path.name == "generator.int8.tuned.onnx" and entry["tuned"] is True
    assert {row["layer"] for row in entry["tuning"]} >= {"layer1.0", "final.0"}
    assert all(row["time_ratio"] > 0 for row in entry["tuning"])
    chosen = {row["layer"]: row["form"] for row in entry["tuning"] if row["chosen"]}
    assert all(entry["layers"][layer] == form for layer, form in chosen.items())
