"""What `ganlet export` made stays as it was asked for when `ganlet run` comes again, or is made again in the same way.

The students are a finished run's own, and the same with other weights.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from ganlet.artifact import (
    CONFIG,
    GENERATOR,
    Stage,
    add_to_manifest,
    describe_file,
    load_stage,
    manifest_entry,
    read_tensors,
    write_tensors,
)
from ganlet.commands import export
from ganlet.commands.export import ExportOptions, export_recipe, export_source
from ganlet.commands.export.earlier import earlier_exports
from ganlet.export import web
from ganlet.export.web import WASM
from ganlet.files import read_json, write_json
from ganlet.recipe import Recipe, load_recipe
from support import Answer, Silent, fake_package


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An npm package of three small files, in a table that knows it beside the real one."""
    folder = tmp_path / "npm"
    known = fake_package(folder)
    monkeypatch.setattr(web, "RUNTIMES", web.RUNTIMES | {"9.8.7": known})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def with_other_weights(run: Path) -> Stage:
    """The run's student, trained to other weights."""
    stage = load_stage(run / "student")
    path = stage.folder / GENERATOR
    write_tensors(path, {name: value * 1.01 for name, value in read_tensors(path).items()})
    config = read_json(stage.folder / CONFIG)
    config["files"][GENERATOR] = describe_file(path)
    write_json(stage.folder / CONFIG, config)
    return load_stage(stage.folder)


def again(run: Path, *overrides: str) -> list[str]:
    """What `ganlet run` says while it exports."""
    observer = Silent()
    export_recipe(load_recipe(run / "recipe.toml", overrides), load_stage(run / "student"), run, observer)
    return observer.said


@pytest.mark.parametrize("targets", ['["onnx"]', '["onnx", "web"]'])
def test_a_page_with_its_runtime_keeps_it_though_the_package_is_gone(run: Path, package: Path, targets: str) -> None:
    export_source(run, "web", ExportOptions(wasm=package), Silent())
    shutil.rmtree(package)
    before = contents(run / "web")
    said = again(run, f"export.targets={targets}")
    assert contents(run / "web") == before and WASM in before
    assert any("index.html" in text and ("it stays" in text or "complete, skipped" in text) for text in said)

    with_other_weights(run)
    again(run, f"export.targets={targets}")
    after = contents(run / "web")
    assert after.keys() == before.keys() and after[WASM] == before[WASM]
    assert after["generator.onnx"] == (run / "generator.onnx").read_bytes() != before["generator.onnx"]
    assert b"cdn.jsdelivr.net" not in after["index.html"]


def test_copies_that_were_damaged_are_told_and_the_page_is_left(run: Path, package: Path) -> None:
    export_source(run, "web", ExportOptions(wasm=package), Silent())
    (run / "web" / WASM).write_text("something else")
    with_other_weights(run)
    before = contents(run / "web")
    (told,) = [text for text in again(run) if text.startswith("warning: ")]
    assert "index.html is still of the earlier model" in told and "--to web --wasm DIR" in told
    assert contents(run / "web") == before


def test_a_page_that_the_network_serves_stays_so_and_an_explicit_export_changes_it(run: Path, package: Path) -> None:
    export_source(run, "web", ExportOptions(wasm=package), Silent())
    export_source(run, "web", ExportOptions(), Silent())
    assert WASM not in contents(run / "web")
    again(run, 'export.targets=["onnx", "web"]')
    assert WASM not in contents(run / "web")


def test_the_precision_of_a_page_stays(run: Path) -> None:
    export_source(run, "web", ExportOptions(precision="fp16"), Silent())
    with_other_weights(run)
    again(run, 'export.targets=["onnx", "web"]')
    assert manifest_entry(run, "web/generator.onnx")["precision"] == "fp16"
    assert (run / "web" / "generator.onnx").read_bytes() == (run / "generator.fp16.onnx").read_bytes()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (ExportOptions(precision="fp16"), "generator.fp16.onnx"),
        (ExportOptions(precision="int8", profile="trt-int8"), "generator.trt-int8.onnx"),
        (ExportOptions(profile="sm75"), "generator.sm75.onnx"),
    ],
)
def test_a_variant_that_no_recipe_names_stays_or_is_made_again_in_its_way(
    run: Path, options: ExportOptions, name: str
) -> None:
    export_source(run, "onnx", options, Silent())
    before = (run / name).read_bytes()
    assert any(f"{name} was asked for before and is made of the same model, it stays" in text for text in again(run))
    assert (run / name).read_bytes() == before

    stage = with_other_weights(run)
    assert any(f"{name} was asked for before and its model has changed" in text for text in again(run))
    entry = manifest_entry(run, name)
    assert (run / name).read_bytes() != before and onnx.load(run / name).graph.node
    assert entry["made_from"]["weights_sha256"] == stage.weights_sha256
    assert entry["precision"] == options.precision and entry["profile"] == (options.profile or "cpu-fp32")


def test_what_was_deleted_is_not_made_again(run: Path) -> None:
    export_source(run, "onnx", ExportOptions(precision="fp16"), Silent())
    (run / "generator.fp16.onnx").unlink()
    with_other_weights(run)
    again(run)
    assert not (run / "generator.fp16.onnx").exists()


@pytest.fixture
def engine(run: Path) -> Path:
    """An engine as the manifest lists it; the file itself is not looked at here."""
    path = run / "engines" / "sm75+sm86.engine"
    path.parent.mkdir()
    path.write_bytes(b"plan")
    add_to_manifest(
        run,
        "engines/sm75+sm86.engine",
        precision="fp32",
        runtime="tensorrt_rtx",
        targets=["sm75", "sm86"],
        profile={"min": 1, "opt": 4, "max": 8},
        workspace_mib=256,
        made_from={"onnx": "generator.onnx", "sha256": describe_file(run / "generator.onnx")["sha256"]},
    )
    return path


def test_an_engine_is_made_again_for_the_cards_and_batches_that_it_was_for(
    run: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ExportOptions] = []

    def build(stage: Stage, folder: Path, options: ExportOptions, observer: Any) -> list[Path]:
        asked.append(options)
        return [engine]

    monkeypatch.setitem(export.TARGETS, "trt-rtx", build)
    assert any("sm75+sm86.engine was asked for before" in text and "it stays" in text for text in again(run))
    assert not asked
    with_other_weights(run)
    again(run)
    (options,) = asked
    assert (options.gpus, options.opt_batch, options.max_batch, options.workspace_mib) == (("sm75", "sm86"), 4, 8, 256)


def test_what_cannot_be_made_again_here_is_told_and_nothing_else_is_lost(
    run: Path, engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganlet.commands.export import engines

    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with_other_weights(run)
    (told,) = [text for text in again(run) if text.startswith("warning: ")]
    assert "sm75+sm86.engine is still of the earlier model" in told and "not installed here" in told
    assert engine.read_bytes() == b"plan"


def test_the_manifest_of_the_shipped_options(run: Path, engine: Path) -> None:
    export_source(run, "onnx", ExportOptions(precision="int8"), Silent())
    export_source(run, "web", ExportOptions(precision="int8"), Silent())
    found = [
        (earlier.path.name, earlier.to, earlier.options.precision, earlier.current) for earlier in earlier_exports(run)
    ]
    assert found == [
        ("generator.int8.onnx", "onnx", "int8", True),
        ("generator.onnx", "onnx", "fp32", True),
        ("sm75+sm86.engine", "trt-rtx", "fp32", True),
        ("index.html", "web", "int8", True),
    ]


def test_a_target_speaks_only_of_its_own_file(run: Path, ganlet: Callable[..., Answer], tiny: Recipe) -> None:
    code, _, err = ganlet("export", run, "--to", "web")
    assert code == 0 and "generator.onnx is complete, skipped" not in err and "index.html" in err
    code, _, err = ganlet("export", run, "--to", "web")
    assert code == 0 and "index.html is complete, skipped" in err
    assert "generator.onnx is complete, skipped" not in err
